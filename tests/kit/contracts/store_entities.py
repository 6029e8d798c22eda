"""The store contract: versions of entities. Of concurrent writes, the log decides which is accepted."""

from random import Random

import pytest
from msgspec.structs import replace

from airy import topics
from airy.model.entity import CustomSource, Tag, User
from airy.model.fold_entity import ABSENT, BASE_HEADER
from airy.store.api import Store
from tests.kit.builders import START_MS, api_token, channel, tag, template, webhook
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Entity, Log, cut
from tests.kit.store import SEEDS, all_changes, digest_of

NAME = tag()
FIRST = START_MS


def renamed(name: str, at_ms: int) -> Tag:
    return replace(NAME, name=name, updated_at_ms=at_ms)


class EntitiesContract(StoreBasics):
    """Versions of entities."""

    async def version(self, store: Store) -> tuple[str, int] | None:
        found = await store.tag(NAME.id)
        return None if found is None else (found.name, found.updated_at_ms)

    async def accepted(self, store: Store, *write_ids: str) -> list[bool]:
        return [await store.entity_accepted(topics.TAGS, NAME.id, write_id) for write_id in write_ids]

    async def test_of_two_writes_on_one_version_the_first_in_the_log_is_accepted(self) -> None:
        log = Log()
        log.written(renamed("one", FIRST), base=ABSENT, write_id="create")
        log.written(renamed("two", FIRST + 5), base=FIRST, write_id="first")
        log.written(renamed("three", FIRST + 9), base=FIRST, write_id="second")
        async with self.opened() as store:
            await self.filled(store, log)
            assert await self.version(store) == ("two", FIRST + 5)
            assert await self.accepted(store, "create", "first", "second", "never") == [True, True, False, False]

    async def test_a_rejected_write_makes_no_change_and_a_later_one_on_the_current_version_is_accepted(self) -> None:
        log = Log()
        log.written(renamed("one", FIRST), base=ABSENT, write_id="a")
        log.written(renamed("two", FIRST + 1), base=ABSENT, write_id="b")
        log.written(renamed("three", FIRST + 2), base=FIRST, write_id="c")
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert (applied.changes, applied.unprocessable) == (2, [])
            changes = [stored.change for stored in await all_changes(store, topics.TAGS.topic_partitions)]
            assert [change.sequence for change in changes] == [FIRST, FIRST + 2]
            assert await self.version(store) == ("three", FIRST + 2)

    @pytest.mark.parametrize(
        "entity", [channel(), tag(), template(), webhook(), api_token()], ids=lambda one: type(one).__name__
    )
    async def test_every_kind_of_entity_has_versions(self, entity: Entity) -> None:
        log = Log()
        topic = next(topic for topic in topics.FOLDED if topic.value_type is type(entity))
        log.written(replace(entity, updated_at_ms=FIRST), base=ABSENT, write_id="create")
        log.written(replace(entity, updated_at_ms=FIRST + 7), base=ABSENT, write_id="create again")
        log.deleted(topic, entity.id, base=FIRST + 7, write_id="delete another version")
        async with self.opened() as store:
            await self.filled(store, log)
            writes = ("create", "create again", "delete another version")
            found = [await store.entity_accepted(topic, entity.id, write) for write in writes]
            assert found == [True, False, False]

    async def test_a_deletion_on_an_older_version_is_rejected(self) -> None:
        log = Log()
        log.written(renamed("one", FIRST), base=ABSENT, write_id="a")
        log.written(renamed("two", FIRST + 1), base=FIRST, write_id="b")
        log.deleted(topics.TAGS, NAME.id, base=FIRST, write_id="stale")
        async with self.opened() as store:
            await self.filled(store, log)
            assert await self.version(store) == ("two", FIRST + 1)
            await store.apply([log.deleted(topics.TAGS, NAME.id, base=FIRST + 1, write_id="delete")])
            assert await self.version(store) is None
            assert await self.accepted(store, "stale", "delete") == [False, True]

    async def test_a_version_does_not_come_back_after_a_deletion(self) -> None:
        """Also if the clock of the writer does: a write on the deleted entity stays rejected."""
        log = Log()
        log.written(renamed("one", FIRST), base=ABSENT, write_id="a")
        log.deleted(topics.TAGS, NAME.id, base=FIRST, write_id="b")
        log.written(renamed("again", FIRST), base=ABSENT, write_id="c")
        log.written(renamed("stale", FIRST + 9), base=FIRST, write_id="d")
        async with self.opened() as store:
            await self.filled(store, log)
            assert await self.accepted(store, "a", "b", "c", "d") == [True, True, True, False]
            found = await self.version(store)
            assert found is not None
            assert found[0] == "again"
            assert found[1] > FIRST

    async def test_a_record_without_base_is_accepted_on_any_version(self) -> None:
        log = Log()
        log.written(renamed("one", FIRST + 10), base=ABSENT, write_id="a")
        log.append(renamed("two", FIRST))
        log.written(renamed("three", FIRST + 20), base=FIRST + 10, write_id="b")
        async with self.opened() as store:
            await self.filled(store, log)
            assert await self.version(store) == ("two", FIRST + 11)
            assert await self.accepted(store, "b") == [False]
            await store.apply([log.remove(topics.TAGS, NAME.id)])
            assert await self.version(store) is None

    async def test_a_duplicate_of_a_write_has_no_effect(self) -> None:
        log = Log()
        once = log.written(renamed("one", FIRST), base=ABSENT, write_id="a")
        log.append_record(topics.TAGS.record(NAME.id, renamed("one", FIRST), headers=once.headers))
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert applied.changes == 1
            assert await self.version(store) == ("one", FIRST)
            assert await self.accepted(store, "a") == [True]

    @pytest.mark.parametrize("base", [b"", b"-1", b"one", b"\xff"])
    async def test_a_base_that_is_no_version_is_reported(self, base: bytes) -> None:
        log = Log()
        log.append_record(topics.TAGS.record(NAME.id, NAME, headers=((BASE_HEADER, base),)))
        async with self.opened() as store:
            ((_, reason),) = (await store.apply(log.records)).unprocessable
            assert "base" in reason
            assert await store.tags() == []

    async def test_api_tokens_are_found_by_id_and_listed(self) -> None:
        log, tokens = Log(), [api_token("reports"), api_token("crm")]
        log.append(*tokens)
        async with self.opened() as store:
            await self.filled(store, log)
            assert await store.api_tokens() == sorted(tokens, key=lambda token: token.id)
            assert await store.api_token(tokens[1].id.upper()) == tokens[1]
            assert await store.api_token(tag().id) is None

    async def test_custom_sources_are_found_by_id_and_listed(self) -> None:
        log, sources = Log(), [CustomSource(id="crm bridge", name="CRM"), CustomSource(id="Erp", tokens=("sealed",))]
        log.append(*sources)
        async with self.opened() as store:
            await self.filled(store, log)
            found = await store.custom_sources()
            assert {each.id: (each.name, each.tokens) for each in found} == {
                "crm bridge": ("CRM", ()),
                "Erp": (None, ("sealed",)),
            }
            one = await store.custom_source("Erp")
            assert one is not None
            assert one.tokens == ("sealed",)
            assert await store.custom_source("erp") is None

    async def test_users_are_found_by_id_and_listed_in_pages(self) -> None:
        log, names = Log(), ["x:1", "x:2", "x:3", "x:4", "b3f2c1aa-0000-4000-8000-000000000001"]
        log.append(*(User(id=name, updated_at_ms=FIRST) for name in reversed(names)))
        async with self.opened() as store:
            await self.filled(store, log)
            found = await store.user("X:2")
            assert found is not None and found.id == "x:2"
            assert await store.user("x:9") is None
            first = await store.users(cursor=None, page_size=2)
            assert [user.id for user in first.items] == names[:2]
            assert (first.previous_cursor, first.next_cursor, first.total) == (None, "x:3", 5)
            last = await store.users(cursor=names[4], page_size=2)
            assert [user.id for user in last.items] == names[4:]
            assert (last.previous_cursor, last.next_cursor) == ("x:3", None)
            between = await store.users(cursor="x:15", page_size=None)
            assert [user.id for user in between.items] == names[1:]
            assert between.previous_cursor == "x:1"

    async def test_a_rejected_write_of_a_channel_leaves_it_connected(self) -> None:
        log, page = Log(), channel()
        log.written(page, base=ABSENT, write_id="connect")
        log.written(replace(page, connected=False, updated_at_ms=FIRST + 1), base=ABSENT, write_id="stale")
        async with self.opened() as store:
            await self.filled(store, log)
            assert await store.channels() == [page]
            assert (await store.counts())["channels"] == 1

    @pytest.mark.parametrize("number", SEEDS)
    async def test_batches_do_not_change_which_writes_are_accepted(self, number: int) -> None:
        random = Random(number)
        log, versions, expected = Log(), [ABSENT], dict[str, bool]()
        current = last = ABSENT
        for count in range(60):
            base = random.choice([current, current, random.choice(versions)])
            at_ms = max(FIRST + random.randrange(40), base + 1)
            delete = current != ABSENT and random.random() < 0.2
            if delete:
                log.deleted(topics.TAGS, NAME.id, base=base, write_id=f"w{count}")
            else:
                log.written(renamed(f"n{count}", at_ms), base=base, write_id=f"w{count}")
            expected[f"w{count}"] = base == current
            if base == current:
                last = max(0 if delete else at_ms, last + 1)
                current = ABSENT if delete else last
                versions.append(current)
        async with self.opened() as whole, self.opened() as parts:
            await whole.apply(log.records)
            for batch in cut(log.records, random, longest=7):
                await parts.apply(batch)
            assert dict(zip(expected, await self.accepted(whole, *expected), strict=True)) == expected
            assert await digest_of(whole) == await digest_of(parts)

    async def test_versions_survive_a_restart(self) -> None:
        if not self.persistent:
            pytest.skip("the store keeps nothing after close")
        log = Log()
        log.written(renamed("one", FIRST), base=ABSENT, write_id="a")
        log.deleted(topics.TAGS, NAME.id, base=FIRST, write_id="b")
        async with self.opened() as store:
            await self.filled(store, log)
            before = await digest_of(store)
            await store.close()
            await store.open()
            assert await digest_of(store) == before
            assert await self.accepted(store, "a", "b") == [True, True]
            await store.apply([log.written(renamed("stale", FIRST + 1), base=FIRST, write_id="c")])
            assert await self.version(store) is None

"""What every store knows of deliveries that were given up. The oracle is a dictionary: the record of each key."""

from collections.abc import Sequence
from random import Random
from typing import cast

import pytest

from airy import topics
from airy.errors import Refused
from airy.model.dead import DeadDelivery
from airy.store.api import Store
from tests.kit.builders import dead
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Log, cut
from tests.kit.store import SEEDS, digest_of

START = (-1, "")


def history(seed: int, *, records: int = 120) -> tuple[Log, dict[str, DeadDelivery]]:
    """Burials, wishes to replay, repeats and tombstones, known ones and others; and what is left of them."""
    random, log, left = Random(seed), Log(gap=seed % 3), dict[str, DeadDelivery]()
    for _ in range(records):
        wish = None if random.random() < 0.7 else random.randrange(50)
        one = dead(
            random.randrange(12), f"hook {random.randrange(3)}", died_at_ms=random.randrange(40), replayed_at_ms=wish
        )
        if random.random() < 0.35:
            log.remove(topics.DEAD_DELIVERIES, one.id)
            left.pop(one.id, None)
        else:
            log.append(one)
            left[one.id] = one
    return log, left


def newest(left: dict[str, DeadDelivery]) -> list[DeadDelivery]:
    """Of each delivery, newest first."""
    found = {one.delivery_id: one for one in sorted(left.values(), key=_age)}
    return sorted(found.values(), key=_age, reverse=True)


def _age(one: DeadDelivery) -> tuple[int, str]:
    return one.died_at_ms, one.id


async def listed(store: Store, webhook_id: str | None = None, *, size: int = 500) -> list[DeadDelivery]:
    """Page by page, and back again."""
    found: list[DeadDelivery] = []
    cursor: str | None = None
    begins: list[str | None] = []
    while True:
        page = await store.dead_deliveries(webhook_id=webhook_id, cursor=cursor, page_size=size)
        found += cast("Sequence[DeadDelivery]", page.items)
        if cursor is None:
            assert page.previous_cursor is None
        elif len(begins) > 1:
            assert page.previous_cursor == begins[-1]
        begins.append(cursor)
        if page.next_cursor is None:
            assert page.total == len(found)
            return found
        assert len(page.items) == size
        cursor = page.next_cursor


class DeadContract(StoreBasics):
    @pytest.mark.parametrize("number", SEEDS)
    async def test_what_is_known_of_the_dead_is_what_the_records_say(self, number: int) -> None:
        log, left = history(number)
        async with self.opened() as store:
            for batch in cut(log.records, Random(number)):
                assert (await store.apply(batch)).bad == []
            latest = newest(left)
            expected = [one for one in latest if one.replayed_at_ms is None]
            assert len(expected) > 5
            assert await listed(store) == await listed(store, size=3) == expected
            assert (await store.counts())["webhooks_dead"] == len(expected)
            for name in ("hook 0", "hook 1", "hook 2", "hook 3"):
                of = [one for one in expected if one.webhook_id == name]
                assert await listed(store, name) == await listed(store, name, size=2) == of
            for delivery_id in {one.delivery_id for one in left.values()} | {"nobody's"}:
                of = sorted((one for one in left.values() if one.delivery_id == delivery_id), key=_age, reverse=True)
                assert await store.burials(delivery_id) == of
            wished = sorted((one.replayed_at_ms, one.id, one) for one in latest if one.replayed_at_ms is not None)
            assert await store.replays(after=START, replays_max=500) == [one for *_, one in wished]
            at_ms, id_, first = wished[0]
            assert await store.replays(after=START, replays_max=1) == [first]
            assert await store.replays(after=(at_ms, id_), replays_max=500) == [one for *_, one in wished[1:]]

    @pytest.mark.parametrize("number", SEEDS)
    async def test_whoever_is_old_is_beyond_a_time_or_a_number(self, number: int) -> None:
        log, left = history(number)
        ages = sorted(left.values(), key=_age)
        async with self.opened() as store:
            await self.filled(store, log)
            for keep_max, before_ms in ((0, 0), (7, 0), (500, 0), (500, 20), (7, 20), (30, 5)):
                beyond = len(ages) - keep_max
                old = [one.id for nth, one in enumerate(ages) if nth < beyond or one.died_at_ms < before_ms]
                assert await store.old_burials(keep_max=keep_max, before_ms=before_ms, burials_max=500) == old
                assert await store.old_burials(keep_max=keep_max, before_ms=before_ms, burials_max=3) == old[:3]

    async def test_any_cut_and_any_order_among_partitions_gives_the_same_dead(self) -> None:
        log, _ = history(5)
        seen = set()
        for number in range(6):
            async with self.opened() as store:
                for batch in cut(log.interleaved(Random(number)), Random(number), longest=1 + number * 10):
                    await store.apply(batch)
                    await store.apply(batch)
                seen.add((await digest_of(store), (await store.counts())["webhooks_dead"]))
        assert len(seen) == 1

    async def test_the_digest_tells_the_dead_apart(self) -> None:
        seen = set()
        for one in (dead(1), dead(2), dead(1, died_at_ms=2), dead(1, reason="other"), dead(1, replayed_at_ms=9)):
            log = Log()
            log.append(one)
            async with self.opened() as store:
                await self.filled(store, log)
                seen.add(await store.digest())
                await store.apply([log.remove(topics.DEAD_DELIVERIES, one.id)])
                seen.add(await store.digest())
        assert len(seen) == 6

    async def test_a_closed_store_knows_its_dead_again_and_a_wiped_one_none(self) -> None:
        log, _ = history(6)
        async with self.opened() as store:
            await self.filled(store, log)
            before = await listed(store), await store.counts()
            if self.persistent:
                await store.close()
                await store.open()
            assert (await listed(store), await store.counts()) == before
            await store.wipe()
            assert (await listed(store), (await store.counts())["webhooks_dead"]) == ([], 0)
            await self.filled(store, log)
            assert (await listed(store), await store.counts()) == before

    async def test_a_page_begins_where_its_cursor_is_even_if_that_is_gone(self) -> None:
        log = Log()
        log.append(*(dead(number, died_at_ms=number) for number in range(5)))
        async with self.opened() as store:
            await self.filled(store, log)
            page = await store.dead_deliveries(cursor=None, page_size=2)
            await store.apply([log.remove(topics.DEAD_DELIVERIES, dead(2, died_at_ms=2).id)])
            rest = await store.dead_deliveries(cursor=page.next_cursor, page_size=2)
            assert rest.items == [dead(1, died_at_ms=1), dead(0, died_at_ms=0)]
            for cursor in ("x", "7", "k!"):
                with pytest.raises(Refused) as refused:
                    await store.dead_deliveries(cursor=cursor, page_size=2)
                assert refused.value.field == "cursor"

    async def test_a_burial_under_another_key_and_bytes_that_are_none_are_reported(self) -> None:
        log = Log()
        wrong = [
            log.emit(topics.DEAD_DELIVERIES.emit("another", dead(1))),
            log.raw(topics.DEAD_DELIVERIES, dead(1).id, b'{"delivery_id":"x"}'),
        ]
        log.append(dead(2))
        async with self.opened() as store:
            applied = await store.apply(log.records)
            assert [record for record, _ in applied.bad] == wrong
            assert await listed(store) == [dead(2)]

    async def test_the_bytes_of_a_body_are_kept(self) -> None:
        body = b'{"a" : 1,  "\\u00e4":"\xc3\xa4\xf0\x9f\x8d\x9e", "z":[1.0e2 ]}'
        log, one = Log(), dead(1, body=body)
        log.append(one)
        async with self.opened() as store:
            await self.filled(store, log)
            (found,) = await store.burials(one.delivery_id)
            assert bytes(found.body) == body

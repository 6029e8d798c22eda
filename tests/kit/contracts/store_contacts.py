"""The store contract: contacts, those that appear by themselves and those that clients write."""

from itertools import pairwise
from random import Random

import pytest

from airy import topics
from airy.errors import Refused
from airy.model import ids
from airy.model.contact import KEY, Contact, ContactsWritten, ContactWrite
from airy.store.api import Store
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.contracts.store_basics import StoreBasics
from tests.kit.log import Log, cut
from tests.kit.store import SEEDS, digest_of

INES = ids.derive("contact", "ines")
JANE = ids.derive("contact", "jane")
FIRST = START_MS
ASA = "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}sa"


def own_id(chat: Chat) -> str:
    return ids.contact_id(chat.conversation_id)


def written(contact_id: str, *chats: Chat, base: int = 0, name: str | None = None) -> ContactWrite:
    conversations = {chat.conversation_id: "facebook" for chat in chats}
    return ContactWrite(
        id=contact_id, base=base, contact=Contact(id=contact_id, display_name=name, conversations=conversations)
    )


async def names(store: Store) -> list[str | None]:
    return [view.display_name for view in (await store.contacts(cursor=None, page_size=500)).items]


async def of(store: Store, chat: Chat) -> str | None:
    view = await store.contact_of(chat.conversation_id)
    return None if view is None else view.contact.id


async def accepted(store: Store, *write_ids: str) -> list[bool]:
    return [await store.entity_accepted(topics.CONTACTS, KEY, write_id) for write_id in write_ids]


class ContactsContract(StoreBasics):
    async def test_a_conversation_with_a_message_has_a_contact_that_follows_its_name(self) -> None:
        """CON-1, K1."""
        chat, log = Chat(1), Log()
        log.append(chat.noted(), chat.received("hello"))
        async with self.opened() as store:
            await store.apply(log.records[:1])
            assert (await store.contact_of(chat.conversation_id), await store.contact(own_id(chat))) == (None, None)
            await store.apply(log.records[1:])
            view = await store.contact(own_id(chat).upper())
            assert view is not None
            assert view.contact.conversations == {chat.conversation_id: "facebook"}
            assert (view.display_name, view.is_named) == (f"Facebook {chat.conversation_id[31:]}", False)
            assert (view.version, view.is_written) == (0, False)
            await store.apply(log.append(channel(), chat.profile("Ines")))
            assert await names(store) == ["Ines"]
            assert await of(store, chat) == own_id(chat)
            assert (await store.counts())["contacts"] == 1

    async def test_contacts_are_listed_by_name_and_those_without_one_last(self) -> None:
        log = Log()
        for number, name in enumerate(("Zoe", "ada", "Ada", ASA)):
            log.append(Chat(number).received("hello"), Chat(number).profile(name))
        log.contacts(written(INES), written(JANE, name="Jane"), at_ms=FIRST)
        async with self.opened() as store:
            await self.filled(store, log)
            assert await names(store) == [
                "Ada",
                "Jane",
                "Zoe",
                "ada",
                ASA,
                None,
            ]

    @pytest.mark.parametrize("size", [1, 2, 5, 500])
    async def test_pages_of_contacts_follow_each_other_without_gap_or_repeat(self, size: int) -> None:
        log = Log()
        for number in range(9):
            log.append(Chat(number).received("hello"), Chat(number).profile(f"Name {number % 3}"))
        log.contacts(written(INES), written(JANE), at_ms=FIRST)
        async with self.opened() as store:
            await self.filled(store, log)
            whole = (await store.contacts(cursor=None, page_size=500)).items
            assert len(whole) == 11
            pages = [await store.contacts(cursor=None, page_size=size)]
            while pages[-1].next_cursor:
                pages.append(await store.contacts(cursor=pages[-1].next_cursor, page_size=size))
            assert [view for page in pages for view in page.items] == whole
            assert {page.total for page in pages} == {11}
            assert pages[0].previous_cursor is None
            for before, after in pairwise(pages):
                assert await store.contacts(cursor=after.previous_cursor, page_size=size) == before

    @pytest.mark.parametrize("cursor", ["x", "k", "c", "cAA", "1"])
    async def test_a_bad_cursor_of_contacts_is_refused(self, cursor: str) -> None:
        async with self.opened() as store:
            with pytest.raises(Refused):
                await store.contacts(cursor=cursor, page_size=1)

    async def test_a_linked_conversation_has_no_contact_of_its_own_until_it_is_unlinked(self) -> None:
        chat, log = Chat(1), Log()
        log.append(chat.received("hello"), chat.profile("Ines"))
        log.contacts(written(INES, chat), at_ms=FIRST)
        async with self.opened() as store:
            await self.filled(store, log)
            assert await of(store, chat) == INES
            assert await store.contact(own_id(chat)) is None
            assert await names(store) == ["Ines"]
            await store.apply([log.contacts(written(INES, base=FIRST), write_id="unlink")])
            assert await of(store, chat) == own_id(chat)
            assert await names(store) == ["Ines", None]
            assert (await store.counts())["contacts"] == 2

    async def test_one_record_changes_all_its_contacts_or_none(self) -> None:
        """On an older version, or with a conversation that another contact links."""
        first, second, log = Chat(1), Chat(2), Log()
        log.contacts(written(INES, first, name="Ines"), write_id="a", at_ms=FIRST)
        log.contacts(written(JANE, name="Jane"), written(INES, name="stale"), write_id="b", at_ms=FIRST)
        log.contacts(written(JANE, second, first, name="Jane"), write_id="c", at_ms=FIRST)
        log.contacts(written(JANE, first), written(own_id(first), first), write_id="d", at_ms=FIRST)
        log.contacts(write_id="nothing")
        log.contacts(written(JANE, first, name="Jane"), written(INES, base=FIRST), write_id="moved")
        async with self.opened() as store:
            await self.filled(store, log)
            found = await accepted(store, "a", "b", "c", "d", "nothing", "moved")
            assert found == [True, False, False, False, False, True]
            assert await names(store) == ["Jane", None]
            ines, jane = await store.contact(INES), await store.contact(JANE)
            assert ines is not None
            assert jane is not None
            assert (ines.version, ines.contact.conversations) == (FIRST + 1, {})
            assert list(jane.contact.conversations) == [first.conversation_id]

    async def test_a_merge_leaves_one_contact_with_both_conversations_also_after_a_rebuild(self) -> None:
        first, second, log = Chat(1), Chat(2), Log()
        log.append(first.received("hello"), second.received("hello"), second.profile("Ines"))
        merged = written(own_id(first), first, second)
        log.contacts(merged, ContactWrite(id=own_id(second), base=0), at_ms=FIRST)
        log.append(second.received("more"))
        async with self.opened() as store:
            for _ in range(2):
                await self.filled(store, log)
                assert await names(store) == ["Ines"]
                assert [await of(store, chat) for chat in (first, second)] == [own_id(first)] * 2
                assert await store.contact_version(own_id(second)) == FIRST
                digest = await store.digest()
                await store.wipe()
            await self.filled(store, log)
            assert await store.digest() == digest

    async def test_a_deleted_contact_stays_away_until_its_conversation_has_a_message_the_deletion_does_not_cover(
        self,
    ) -> None:
        chat, log = Chat(1), Log()
        log.append(chat.received("one"), chat.received("two"), chat.profile("Ines"))
        log.contacts(written(own_id(chat), chat, name="Mine"), at_ms=FIRST)
        gone = ContactWrite(id=own_id(chat), base=FIRST)
        log.contacts(gone, covered={chat.conversation_id: 2}, write_id="gone")
        async with self.opened() as store:
            await self.filled(store, log)
            assert (await names(store), await of(store, chat)) == ([], None)
            assert await store.contact_version(own_id(chat)) == FIRST + 1
            await store.apply(log.append(chat.profile("Jane"), chat.tag_added("a")))
            assert await names(store) == []
            await store.apply(log.append(chat.received("three")))
            view = await store.contact(own_id(chat))
            assert view is not None
            assert (view.display_name, view.version, view.is_written) == ("Jane", FIRST + 1, False)
            stale = written(own_id(chat), chat, base=FIRST, name="stale")
            await store.apply([log.contacts(stale, write_id="stale")])
            assert await accepted(store, "gone", "stale") == [True, False]

    async def test_a_link_ends_what_a_deletion_said_of_the_conversation(self) -> None:
        chat, log = Chat(1), Log()
        log.append(chat.received("hello"))
        log.contacts(ContactWrite(id=own_id(chat), base=0), covered={chat.conversation_id: 1}, at_ms=FIRST)
        log.contacts(written(INES, chat), write_id="link", at_ms=FIRST)
        log.contacts(written(INES, base=FIRST), write_id="unlink")
        async with self.opened() as store:
            owners = [(await store.apply([record]), await of(store, chat))[1] for record in log.records]
            assert owners == [own_id(chat), None, INES, own_id(chat)]

    async def test_a_picture_is_that_of_the_contact_or_of_a_conversation(self) -> None:
        chat, log = Chat(1), Log()
        log.append(chat.received("hello"), chat.profile("Ines", avatar_url="https://a.example/1"))
        async with self.opened() as store:
            await self.filled(store, log)
            view = await store.contact(own_id(chat))
            assert view is not None
            assert view.avatar_url == "https://a.example/1"

    async def test_a_record_of_contacts_under_another_key_is_reported(self) -> None:
        log = Log()
        log.append_record(topics.CONTACTS.record("another", ContactsWritten(id="w", at_ms=1)))
        log.append_record(topics.CONTACTS.record(KEY, None))
        async with self.opened() as store:
            assert len((await store.apply(log.records)).unprocessable) == 2

    @pytest.mark.parametrize("number", SEEDS)
    async def test_contacts_depend_neither_on_batches_nor_on_the_order_of_partitions(self, number: int) -> None:
        log, random = history(number), Random(number)
        async with self.opened() as whole, self.opened() as parts:
            await whole.apply(log.records)
            for batch in cut(log.interleaved(random), random, longest=9):
                await parts.apply(batch)
            assert (await whole.counts())["contacts"] > 0
            assert await parts.contacts(cursor=None, page_size=500) == await whole.contacts(cursor=None, page_size=500)
            assert await digest_of(parts) == await digest_of(whole)

    async def test_contacts_survive_a_restart(self) -> None:
        if not self.persistent:
            pytest.skip("the store keeps nothing after close")
        log = history(1)
        async with self.opened() as store:
            await self.filled(store, log)
            before = await store.contacts(cursor=None, page_size=500)
            await store.close()
            await store.open()
            assert await store.contacts(cursor=None, page_size=500) == before


CHATS = [Chat(number) for number in range(6)]


def history(number: int) -> Log:
    """Messages and names, mixed with writes of contacts on current and on old versions."""
    random, log = Random(number), Log()
    versions: dict[str, list[int]] = {name: [0] for name in (INES, JANE, *map(own_id, CHATS))}
    for count in range(80):
        chat, choice = random.choice(CHATS), random.random()
        if choice < 0.35:
            log.append(chat.received(f"m{count}"))
        elif choice < 0.5:
            log.append(chat.profile(f"Name {count % 7}") if random.random() < 0.8 else chat.noted())
        else:
            chosen = random.sample(sorted(versions), random.choice((1, 1, 2)))
            linked = random.sample(CHATS, random.randrange(3))
            writes = [
                _random_write(random, name, versions[name], linked if nth == 0 else [])
                for nth, name in enumerate(chosen)
            ]
            covered = {each.conversation_id: random.randrange(4) for each in random.sample(CHATS, 2)}
            log.contacts(*writes, write_id=f"w{count}", at_ms=FIRST + count, covered=covered)
            for name in chosen:
                versions[name].append(FIRST + count)
    return log


def _random_write(random: Random, name: str, versions: list[int], linked: list[Chat]) -> ContactWrite:
    base = random.choice((versions[-1], versions[-1], random.choice(versions)))
    if random.random() < 0.25:
        return ContactWrite(id=name, base=base)
    return written(name, *linked, base=base, name=random.choice((None, "Own name")))

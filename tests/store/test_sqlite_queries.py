"""Conversation lists of SQLite in particular: scans, steps and frequent words."""

from itertools import pairwise
from pathlib import Path
from random import Random

import anyio
import anyio.lowlevel
import msgspec
import pytest

from airy import topics
from airy.errors import Refused
from airy.model.conversation import Message
from airy.model.message_text import message_text
from airy.store.search_words import words_of
from airy.store.sqlite import (
    SqliteStore,
    conversation_index,
    conversation_list,
    message_index,
    text_indexing,
)
from tests.kit.builders import START_MS, Chat, channel
from tests.kit.filter_cases import CHATS, filter_cases, filter_log
from tests.kit.log import Log, cut
from tests.kit.sqlite_store import opened
from tests.kit.store import crowd, listed, seeded

# --- long queries

SCANNED = {"DRIVEN_ROWS_MAX": -1, "STEP_ROWS": 2, "STEP_ROWS_WITH_BODY": 1}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_scan_and_an_index_return_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {chat.conversation_id: name for name, chat in CHATS.items()}
    async with opened() as store:
        await store.apply(filter_log().records)
        for filters, expected in filter_cases():
            driven = await store.conversations(filters=filters, cursor=None, page_size=2)
            with monkeypatch.context() as patch:
                for name, value in SCANNED.items():
                    patch.setattr(conversation_list, name, value)
                scanned = await store.conversations(filters=filters, cursor=None, page_size=2)
                assert listed(scanned) == listed(driven), filters
                assert (scanned.total, scanned.next_cursor) == (driven.total, driven.next_cursor), filters
                found, page = listed(scanned), scanned
                while page.next_cursor:
                    before = page
                    page = await store.conversations(filters=filters, cursor=page.next_cursor, page_size=2)
                    back = await store.conversations(filters=filters, cursor=page.previous_cursor, page_size=2)
                    assert listed(back) == listed(before), filters
                    found += listed(page)
            assert sorted(names[one] for one in found) == sorted(expected.split()), filters


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_frequent_word_is_looked_for_in_one_conversation_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {chat.conversation_id: name for name, chat in CHATS.items()}
    for name in ("LISTED_MAX", "LISTED_WITH_PREFIX_MAX"):
        monkeypatch.setattr(message_index, name, 0)
    for name in ("LISTED_MAX", "LISTED_BY_NAME_MAX"):
        monkeypatch.setattr(conversation_index, name, 0)
    monkeypatch.setattr(conversation_list, "STEP_ROWS_SEARCHING", 2)
    async with opened() as store:
        await store.apply(filter_log().records)
        for filters, expected in filter_cases():
            if not filters.startswith(("message:", "display_name:", "metadata.")):
                continue
            page = await store.conversations(filters=filters, cursor=None, page_size=2)
            assert page.total <= len(expected.split())
            found = listed(page)
            while page.next_cursor:
                page = await store.conversations(filters=filters, cursor=page.next_cursor, page_size=2)
                found += listed(page)
            assert sorted(names[one] for one in found) == sorted(expected.split()), filters


async def test_the_number_of_matches_of_a_frequent_word_is_a_lower_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_index, "LISTED_MAX", 7)
    monkeypatch.setattr(message_index, "COUNTED_MAX", 7)
    async with opened() as store:
        await store.apply(crowd(30).records)
        page = await store.conversations(filters="message:bread", cursor=None, page_size=10)
        assert (page.total, page.complete, len(page.items)) == (11, False, 10)  # another page follows
        page = await store.conversations(filters="message:bread", cursor=None, page_size=5)
        assert (page.total, page.complete, len(page.items)) == (7, False, 5)


async def test_two_words_that_are_frequent_alone_are_found_by_the_conversations_they_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conversation_list, "DRIVEN_ROWS_MAX", 3)
    log, people = Log(), [Chat(number) for number in range(20)]
    log.append(channel(), *(one.received("a", f"word{number % 2}") for number, one in enumerate(people)))
    log.append(*(one.received("b", f"other{number % 5}") for number, one in enumerate(people)))
    async with opened() as store:
        await store.apply(log.records)
        page = await store.conversations(filters="message:(word0 AND other2)", cursor=None, page_size=10)
        assert sorted(listed(page)) == sorted(people[number].conversation_id for number in (2, 12))
        assert (page.total, page.complete) == (2, True)


async def test_a_prefix_of_too_many_words_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_index, "PREFIX_WORDS_MAX", 2)
    log = Log()
    log.append(channel(), *(Chat().received(word, word) for word in ("parcel", "paper", "pasta", "bread")))
    async with opened() as store:
        await store.apply(log.records)
        assert listed(await store.conversations(filters="message:b*", cursor=None, page_size=10))
        with pytest.raises(Refused, match="more than 2 words of messages begin with 'pa'") as refused:
            await store.conversations(filters="message:pa*", cursor=None, page_size=10)
        assert refused.value.field == "filters"


async def test_conversations_of_a_removed_channel_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_list, "DRIVEN_ROWS_MAX", -1)
    log = Log()
    log.append(channel(), channel("twilio.sms", "+1"))
    other = Chat(1, source="twilio.sms", source_channel_id="+1")
    log.append(Chat(0).received("a", "hello"), other.received("a", "hello"))
    log.remove(topics.CHANNELS, other.channel_id)
    async with opened() as store:
        await store.apply(log.records)
        page = await store.conversations(filters="message:hello", cursor=None, page_size=10)
        assert (page.total, page.complete, listed(page)) == (1, True, [Chat(0).conversation_id])


async def test_the_number_of_matches_of_one_metadata_word_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one word the index has the matches; with a phrase, conversations that have its words elsewhere as well."""
    monkeypatch.setattr(conversation_list, "DRIVEN_ROWS_MAX", -1)
    monkeypatch.setattr(conversation_list, "COUNT_STEPS_MAX", 1)
    monkeypatch.setattr(conversation_list, "STEP_ROWS", 2)
    log, people = Log(), [Chat(number) for number in range(9)]
    log.append(channel(), *(one.received("a") for one in people))
    log.append(*(one.metadata({"note": "rye bread" if number % 2 else "bread"}) for number, one in enumerate(people)))
    log.append(people[0].metadata({"note": " "}))
    async with opened() as store:
        await store.apply(log.records)
        for filters, total, complete in (
            ("metadata.note:rye", 4, True),
            ("metadata.note:*", 8, True),
            ('metadata.note:"rye bread"', 1, False),
        ):
            page = await store.conversations(filters=filters, cursor=None, page_size=1)
            assert (page.total >= total, page.complete) == (True, complete), filters
            assert not complete or page.total == total, filters


async def test_a_conversation_with_very_many_words_in_metadata_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_index, "MARKS_MAX", 20)
    log = Log()
    log.append(channel(), *(Chat(number).received("a") for number in range(3)))
    log.append(Chat(1).metadata({"user_data.words": " ".join(f"word{number}" for number in range(50))}))
    async with opened() as store:
        await store.apply(log.records)
        for filters in ("metadata.user_data.words:word49", "metadata.user_data.words:*9", "metadata.user_data.words:*"):
            page = await store.conversations(filters=filters, cursor=None, page_size=5)
            assert listed(page) == [Chat(1).conversation_id], filters


@pytest.mark.parametrize("waiting_max", [0, 7, 1000])
@pytest.mark.parametrize("seed", range(3))
async def test_the_index_holds_the_words_of_every_message(
    seed: int, waiting_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_indexing, "UNINDEXED_MAX", waiting_max)
    log = seeded(seed, facts=300)
    log.append(*(Chat(number).edited("a", f"other {number}") for number in range(12)))
    log.append(*(Chat(number).deleted("b") for number in range(12)))
    async with opened() as store:
        for batch in cut(log.records, Random(seed), longest=20):
            await store.apply(batch)
        await store.conversations(filters="message:anything", cursor=None, page_size=1)
        connection = store._file.write
        connection.execute("CREATE VIRTUAL TABLE temp.occurrences USING fts5vocab(main, message_words, instance)")
        indexed = set(connection.execute("SELECT doc, offset, term FROM temp.occurrences"))
        expected = set()
        known = set()
        for row, body in connection.execute("SELECT conversation << 32 | n, body FROM messages"):
            words = words_of(message_text(msgspec.json.decode(body, type=Message)))
            expected |= {(row, offset, word) for offset, word in enumerate(words)}
            known.update(words)
        assert indexed == expected
        assert known <= {word for (word,) in connection.execute("SELECT word FROM known_words")}


@pytest.mark.parametrize("seed", range(3))
async def test_conversations_are_counted_by_channel_state_and_unread(seed: int) -> None:
    log = seeded(seed, facts=300)
    other = Chat(1, source="twilio.sms", source_channel_id="+1")
    log.append(other.received("a"), other.state_changed("OPEN"), other.received("b"))
    log.append(channel("twilio.sms", "+1"), Chat(0).state_changed(None), Chat(1).read())
    log.remove(topics.CHANNELS, Chat(0).channel_id)
    back = len(log.records)
    log.append(channel())
    async with opened() as store:
        for part in (log.records[:back], log.records[back:]):
            for batch in cut(part, Random(seed), longest=20):
                await store.apply(batch)
            kept = set(store._file.write.execute("SELECT * FROM conversation_counts"))
            counted = """SELECT channel, iif(state IS NULL, '', '=' || state), has_unread, count(*) FROM conversations
              WHERE visible = 1 GROUP BY 1, 2, 3"""
            assert kept == set(store._file.write.execute(counted))


async def test_a_total_that_is_kept_needs_no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEP_ROWS": 2, "SCAN_ROWS_MAX": 10, "DRIVEN_ROWS_MAX": -1}.items():
        monkeypatch.setattr(conversation_list, name, value)
    log, people = crowd(50), [Chat(number) for number in range(50)]
    log.append(*(one.tag_added("a") for one in people[::5]), *(one.read() for one in people[:20]))
    log.append(*(one.state_changed("CLOSED") for one in people[:30]))
    async with opened() as store:
        await store.apply(log.records)
        for filters, total in {
            "unread_count:[1 TO *]": 30,
            "unread_count:0": 20,
            "metadata.state:CLOSED": 30,
            "id:* AND NOT metadata.state:CLOSED": 20,
            "id:* AND NOT metadata.state:CLOSED AND unread_count:[1 TO *] AND source:(facebook)": 20,
            "metadata.state:open*": 0,
            "tag_ids:(a)": 10,
        }.items():
            page = await store.conversations(filters=filters, cursor=None, page_size=1)
            assert (page.total, page.complete) == (total, True), filters


@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_paging_backwards_returns_the_same_pages(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(conversation_list, "DRIVEN_ROWS_MAX", -1)
    monkeypatch.setattr(conversation_list, "STEP_ROWS", step)
    log = crowd(40)
    log.append(*(Chat(number).read() for number in range(0, 40, 3)))
    async with opened() as store:
        await store.apply(log.records)
        pages = [await store.conversations(filters="unread_count:0", cursor=None, page_size=4)]
        while cursor := pages[-1].next_cursor:
            pages.append(await store.conversations(filters="unread_count:0", cursor=cursor, page_size=4))
        assert [len(page.items) for page in pages] == [4, 4, 4, 2]
        for before, page in pairwise(pages):
            back = await store.conversations(filters="unread_count:0", cursor=page.previous_cursor, page_size=4)
            assert listed(back) == listed(before)


async def test_a_scan_that_reaches_its_cap_is_incomplete_and_has_a_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_list, "STEP_ROWS", 5)
    monkeypatch.setattr(conversation_list, "SCAN_ROWS_MAX", 20)
    monkeypatch.setattr(conversation_list, "DRIVEN_ROWS_MAX", -1)
    needle = [Chat(number) for number in (3, 44, 45)]
    log = crowd(90)
    log.append(*(chat.metadata({"contact.display_name": "Needle"}) for chat in needle))
    async with opened() as store:
        await store.apply(log.records)
        found: list[str] = []
        cursor = None
        requests = 0
        while True:
            page = await store.conversations(filters="display_name:needle", cursor=cursor, page_size=10)
            assert not page.complete
            assert page.total <= 3
            found += listed(page)
            cursor = page.next_cursor
            requests += 1
            if cursor is None:
                break
        assert sorted(found) == sorted(chat.conversation_id for chat in needle)
        assert requests == 5
        whole = await store.conversations(filters=None, cursor=None, page_size=10)
        assert (whole.complete, whole.total) == (True, 90)


async def test_a_long_query_reads_one_snapshot_and_blocks_no_writer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_list, "COUNT_STEPS_MAX", 1000)
    monkeypatch.setattr(conversation_list, "STEP_ROWS", 1)
    log = crowd(40)
    pages, folded_meanwhile = [], 0
    async with opened(path) as store:
        await store.apply(log.records)
        done = anyio.Event()

        async def query() -> None:
            pages.append(await store.conversations(filters="unread_count:[0 TO 1]", cursor=None, page_size=500))
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(query)
            number = 0
            while not done.is_set():
                await anyio.lowlevel.checkpoint()
                mover = Chat(number % 40)
                await store.apply(log.append(mover.received(f"more {number}", at_ms=START_MS * 2 + number)))
                seen = await store.conversation(mover.conversation_id)
                assert seen is not None
                assert seen.conversation.unread_count > 1  # short reads see every commit
                number += 1
                folded_meanwhile += not done.is_set()
        assert folded_meanwhile > 10
        assert len(set(listed(pages[0]))) in range(40 - 3, 41)  # those that changed before the query began are missing
        assert pages[0].total == len(listed(pages[0]))


async def test_a_batch_becomes_visible_at_once(path: Path) -> None:
    """Another connection reads between the statements of a transaction."""
    log = seeded(7)
    async with opened(path) as store:
        await store.apply(log.records[:100])
        reader = SqliteStore(path)
        await reader.open()
        before = await reader.digest()
        writer = store._file.write
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM messages")
        assert await reader.digest() == before
        assert await store.message("x") is None
        writer.execute("ROLLBACK")
        await reader.close()

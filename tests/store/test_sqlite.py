"""SQLite in particular: the file, its connections, query plans, caps, and errors of the engine."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import apsw
import msgspec
import pytest
from hypothesis import given
from structlog.testing import capture_logs

from airy import topics
from airy.errors import Refused, Unavailable
from airy.model.change import Change, ChangeKind
from airy.model.change_builder import entity_change
from airy.model.contact import Contact, ContactWrite
from airy.model.conversation import Message
from airy.model.entity import Channel, Tag
from airy.model.fact import Fact
from airy.model.fold import fold
from airy.model.message_text import message_text
from airy.store.search_words import words_of
from airy.store.sqlite import (
    SqliteStore,
    conversation_index,
    conversation_list,
    message_index,
    projection,
    schema,
    text_indexing,
)
from tests.kit.builders import START_MS, Chat, channel, seeded_log, tag
from tests.kit.fact_strategies import logs
from tests.kit.filter_cases import CHATS, filter_cases, filter_log
from tests.kit.fold import fold_all
from tests.kit.log import Log, cut
from tests.kit.store import all_changes, crowd, everything, listed, reference_messages, seeded


@asynccontextmanager
async def opened(path: Path | str = ":memory:") -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


# --- the file


async def test_the_file_is_private_and_its_directory_is_created(path: Path) -> None:
    async with opened(path) as store:
        await store.apply(seeded(1).records)
        made = list(path.parent.iterdir())
        assert len(made) == 3
        assert {stat.S_IMODE(one.stat().st_mode) for one in made} == {0o600}


async def test_a_file_of_another_version_is_rebuilt_and_logged(path: Path) -> None:
    async with opened(path) as store:
        await store.apply(seeded(1).records)
        nothing = dict.fromkeys(await store.counts(), 0)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION ^ 1}")
    with capture_logs() as logged:
        async with opened(path) as store:
            assert await store.positions() == {}
            assert await store.counts() == nothing
    assert [(line["event"], line["reason"]) for line in logged] == [
        ("store.rebuild_started", "the file was built by another version")
    ]


@pytest.mark.parametrize("table", ["sqlite_schema", "offsets", "counters"])
async def test_a_file_that_is_damaged_when_opened_is_rebuilt(path: Path, table: str) -> None:
    async with opened(path) as store:
        await store.apply(seeded(1).records)
    damage(path, table)
    with capture_logs() as logged:
        async with opened(path) as store:
            assert await store.positions() == {}
    assert "store.rebuild_started" in [line["event"] for line in logged]


async def test_a_file_of_zeros_is_rebuilt(path: Path) -> None:
    """A power cut may leave a new file like that."""
    async with opened(path) as store:
        await store.apply(seeded(1).records)
    path.write_bytes(bytes(path.stat().st_size))
    async with opened(path) as store:
        assert await store.positions() == {}
        await store.apply(seeded(1).records)


def damage(path: Path, table: str) -> None:
    """Overwrite the pages of one table, except the header of the file."""
    connection = apsw.Connection(str(path))
    pages = [row[0] for row in connection.execute("SELECT pageno FROM dbstat WHERE name = ?", (table,))]
    connection.close()
    content = bytearray(path.read_bytes())
    for page in pages:
        start = max(100, (page - 1) * 4096)
        content[start : page * 4096] = b"\xff" * (page * 4096 - start)
    path.write_bytes(content)


async def test_a_file_damaged_while_open_is_rebuilt(path: Path) -> None:
    """Only the owner of the fold wipes it, and then reads the whole log. A wipe by a reader of the positions, such as
    the change pruner, would leave the projector in the middle of the log.
    """
    log = seeded(1)
    async with opened(path) as store:
        await store.apply(log.records)
    damage(path, "messages_recent")
    async with opened(path) as store, opened() as clean:
        assert await store.positions() != {}
        with pytest.raises(apsw.CorruptError), capture_logs() as logged:
            await store.messages(Chat().conversation_id, cursor=None, page_size=10)
        assert [line["event"] for line in logged] == ["store.damaged"]
        assert await store.positions() != {}
        for _ in range(2):
            with pytest.raises(Unavailable, match="rebuilt"):
                await store.apply(log.append(Chat().received("later")))
        await store.recover()
        assert await store.positions() == {}
        await store.recover()
        await store.apply(log.records)
        await clean.apply(log.records)
        assert await store.digest(changes=True) == await clean.digest(changes=True)


@pytest.mark.parametrize("row", ["conversations", "messages"])
async def test_a_row_that_cannot_be_read_during_a_fold_is_damage_of_the_store(path: Path, row: str) -> None:
    """The record whose fold needs the row is folded after the rebuild, and is no dead letter."""
    log, chat = Log(), Chat()
    log.append(channel(), chat.received("a"))
    async with opened(path) as store:
        await store.apply(log.records)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {row} SET body = ?", (b'{"id": 7}',))
    connection.close()
    async with opened(path) as store, opened() as clean:
        with pytest.raises(Unavailable, match="rebuilt"), capture_logs() as logged:
            await store.apply(log.append(chat.edited("a", "corrected")))
        assert [line["event"] for line in logged] == ["store.damaged"]
        assert store.damaged
        await store.recover()
        assert (await store.apply(log.records)).unprocessable == []
        await clean.apply(log.records)
        assert await store.digest(changes=True) == await clean.digest(changes=True)


@pytest.mark.parametrize("foreign", ["database", "text"])
async def test_a_file_of_another_application_is_refused_and_kept(path: Path, foreign: str) -> None:
    path.parent.mkdir()
    if foreign == "text":
        path.write_text("the recipe of rye bread\n" * 100)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE recipes(name TEXT)")
    before = path.read_bytes()
    store = SqliteStore(path)
    with pytest.raises(Refused, match="another path"):
        await store.open()
    await store.close()
    assert path.read_bytes() == before


async def test_a_store_that_is_not_open_is_unavailable(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(Unavailable):
        await store.positions()
    with pytest.raises(Unavailable):
        await store.conversation("a")


async def test_a_locked_file_is_unavailable_and_loses_nothing(path: Path) -> None:
    log = seeded(2)
    async with opened(path) as store:
        await store.apply(log.records[:100])
        before = await store.digest(), await store.counts()
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="cannot serve"):
            await store.apply(log.records[100:])
        assert (await store.digest(), await store.counts()) == before
        other.execute("ROLLBACK")
        other.close()
        await store.apply(log.records[100:])
        async with opened() as clean:
            await clean.apply(log.records)
            assert await store.digest(changes=True) == await clean.digest(changes=True)


@pytest.mark.usefixtures("real_time")
async def test_a_checkpoint_lets_the_wal_restart(path: Path) -> None:
    log = seeded(3, facts=600)
    wal = path.with_name(path.name + "-wal")
    async with opened(path) as store:
        await store.apply(log.records[:300])
        grown = wal.stat().st_size
        assert path.stat().st_size < grown
        await store.checkpoint()
        assert path.stat().st_size > grown // 4
        assert store.wal_pages == 0
        await store.apply(log.records[300:310])
        assert 0 < store.wal_pages < 100
        assert wal.stat().st_size == grown
    async with opened(path) as store, opened() as clean:
        await store.apply(log.records)
        await clean.apply(log.records)
        assert await store.digest() == await clean.digest()


@pytest.mark.usefixtures("real_time")
async def test_closing_waits_for_a_checkpoint(path: Path) -> None:
    log = seeded(3)
    for _ in range(10):
        async with opened(path) as store:
            await store.wipe()
            await store.apply(log.records)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.checkpoint)
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(store.close)


async def test_the_second_pass_of_a_checkpoint_blocks_the_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = []
    async with opened(path) as store:
        monkeypatch.setattr(store._file, "checkpoint", lambda: alone.append(store._write_lock.locked()))
        await store.checkpoint()
    assert alone == [False, True]


@pytest.mark.usefixtures("real_time")
async def test_folding_continues_during_checkpoints(path: Path) -> None:
    log = seeded(4)
    async with opened(path) as store, opened() as clean:
        await clean.apply(log.records)

        async def checkpoint() -> None:
            for _ in range(10):
                await store.checkpoint()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(checkpoint)
            for batch in cut(log.records, Random(4)):
                await store.apply(batch)
        assert await store.digest(changes=True) == await clean.digest(changes=True)


async def test_the_wal_is_bounded_without_requested_checkpoints(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airy.store.sqlite.store_file.WAL_PAGES_MAX", 200)
    log = seeded(5, facts=1500)
    async with opened(path) as store:
        with capture_logs() as logged:
            for start in range(0, len(log.records), 50):
                await store.apply(log.records[start : start + 50])
                assert store.wal_pages < 600
    assert {line["event"] for line in logged} == {"store.checkpoint_overdue"}


async def test_closing_waits_for_a_running_query(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation_list, "COUNT_STEPS_MAX", 1000)
    monkeypatch.setattr(conversation_list, "STEP_ROWS", 2)
    pages = []
    async with opened(path) as store:
        await store.apply(crowd(30).records)

        async def query() -> None:
            pages.append(await store.conversations(filters="created_at:[1 TO *]", cursor=None, page_size=5))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(query)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(store.close)
    assert pages[0].total == 30


# --- a record that fails


async def test_a_fold_that_raises_affects_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its changes in memory are undone."""
    log, clean_log, chat = Log(), Log(), Chat()
    story: list[Fact] = [chat.received("a"), chat.queued("x")]
    broken = chat.started("x")
    rest: list[Fact] = [chat.received("b"), chat.read()]
    log.append(channel(), *story, broken, *rest)
    clean_log.append(channel(), *story, *rest)

    def crashing(state: object, fact: Fact) -> object:
        folded = fold(state, fact)  # type: ignore[arg-type]
        if fact.id == broken.id:
            raise KeyError("no such thing")
        return folded

    monkeypatch.setattr(projection, "fold", crashing)
    async with opened() as store, opened() as clean:
        with capture_logs() as logged:
            applied = await store.apply(log.records)
        await clean.apply(clean_log.records)
        reported = [(record.offset, reason) for record, reason in applied.unprocessable]
        assert reported == [(2, "folding it failed: KeyError: 'no such thing'")]
        assert (applied.facts, await store.digest()) == (4, await clean.digest())
        assert [(line["event"], line["error"]) for line in logged] == [("record.failed", "KeyError")]
        assert "no such thing" not in str(logged)
        assert len(await all_changes(store)) == len(await all_changes(clean)) == applied.changes - 1


async def test_rows_of_a_failing_record_are_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.append(tag(), channel(), Chat().received("a"))

    def crashing(kind: ChangeKind, entity: Channel | Tag, **write: Any) -> Change:
        if isinstance(entity, Tag):
            raise KeyError(kind)
        return entity_change(kind, entity, **write)

    monkeypatch.setattr(projection, "entity_change", crashing)
    async with opened() as store:
        with capture_logs():
            applied = await store.apply(log.records)
        assert [record for record, _ in applied.unprocessable] == log.records[:1]
        assert await store.tags() == []
        assert await store.channels() == [channel()]


async def test_an_error_of_the_engine_marks_no_record_as_unprocessable(monkeypatch: pytest.MonkeyPatch) -> None:
    log = seeded(6)

    def full(state: object, fact: Fact) -> object:
        raise apsw.FullError("database or disk is full")

    async with opened() as store:
        await store.apply(log.records[:50])
        before = await store.digest(), await store.positions()
        with monkeypatch.context() as patch:
            patch.setattr(projection, "fold", full)
            with pytest.raises(Unavailable, match="full"):
                await store.apply(log.records[50:])
        assert (await store.digest(), await store.positions()) == before
        assert (await store.apply(log.records[50:])).unprocessable == []


# --- the fold over rows, for generated logs


async def test_a_conversation_that_a_deferred_message_began_is_stored_alike_in_one_batch_and_in_two() -> None:
    """Its default name is that of its source, which is not known at first."""
    log, chat = Log(), Chat()
    log.append(channel(), chat.deferred("x"), chat.received("a"))
    async with opened() as whole, opened() as single:
        await whole.apply(log.records)
        for record in log.records:
            await single.apply([record])
        assert await whole.digest(changes=True) == await single.digest(changes=True)


@given(logs)
def test_the_store_equals_the_reference_fold(log: list[Fact]) -> None:
    chat, reference, records = Chat(), fold_all(log), Log()
    records.append(channel(), *log)

    async def both() -> None:
        async with opened() as whole, opened() as single:
            await whole.apply(records.records)
            for record in records.records:
                await single.apply([record])
            assert await whole.digest(changes=True) == await single.digest(changes=True)
            messages = reference.state(chat.conversation_id).messages()
            for message in messages:
                assert await whole.message(message.id) == message
            page = await whole.messages(chat.conversation_id, cursor=None, page_size=500)
            assert page.items == reference_messages(reference, chat.conversation_id)
            view = await whole.conversation(chat.conversation_id)
            expected = reference.state(chat.conversation_id).conversation()
            assert (view and view.conversation) == (expected if expected and expected.visible else None)
            assert [published.change for published in await all_changes(whole)] == reference.changes
            for fact in log:
                state = reference.state(chat.conversation_id)
                assert await whole.accepted(chat.conversation_id, fact.id) == state.seen_facts.get(fact.id, False)

    anyio.run(both)


async def test_a_provider_id_bound_by_a_query_in_the_middle_of_a_batch_is_stored() -> None:
    """The echo erases the last message, which makes the fold look for another one before it puts the message."""
    chat, log = Chat(), Log()
    log.append(channel(), chat.deleted("x"), chat.received("a"), chat.queued("x"), chat.echoed("x", ours="x"))
    async with opened() as whole, opened() as single:
        await whole.apply(log.records)
        for record in log.records:
            await single.apply([record])
        assert await whole.digest() == await single.digest()


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


# --- query plans

FEW = {
    "subquery",
    "entities",
    "counters",
    "offsets",
    "profiles",
    "each",
    "CONSTANT",
    "conversation_counts",
    "unindexed_messages",
    "unindexed_conversations",
    "json_each",
}
"""Small: scanned on purpose."""
INDEXES = (
    "conversations_unread",
    "conversations_unlisted",
    "conversation_tags",
    "message_words VIRTUAL TABLE",
    "conversation_marks VIRTUAL TABLE",
)
"""Scanned up to a limit."""


async def test_no_statement_scans_a_table() -> None:
    """Every statement is planned over an index, or over a table that stays small."""
    statements: set[str] = set()

    def note(_cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        statements.add(sql)
        return True

    async with opened() as store:
        connection = store._file.write
        connection.exec_trace = note
        log = filter_log()
        log.append(*seeded_log(9, facts=300))
        log.remove(topics.CHANNELS, Chat().channel_id)
        log.append(channel(connected=False))
        chat = Chat()
        person = Contact(id="a", conversations={chat.conversation_id: "facebook"})
        log.contacts(ContactWrite(id="a", base=0, contact=person))
        log.contacts(ContactWrite(id="a", base=1), covered={chat.conversation_id: 1})
        await store.apply(log.records)
        await everything(store, log)
        following = (await store.contacts(cursor=None, page_size=2)).next_cursor
        await store.contacts(cursor=following, page_size=2)
        await store.contact_of(chat.conversation_id)
        first = (await store.messages(chat.conversation_id, cursor=None, page_size=2)).next_cursor
        await store.messages(chat.conversation_id, cursor=first, page_size=2)
        for filters, _ in filter_cases():
            page = await store.conversations(filters=filters, cursor=None, page_size=2)
            await store.conversations(filters=filters, cursor=page.next_cursor, page_size=2)
        await store.accepted(chat.conversation_id, "x")
        await store.prune_changes(dict.fromkeys(topics.EVENTS.topic_partitions, 3))
        connection.exec_trace = None
        walks = set()
        for sql in statements:
            if not sql.strip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            bindings = (None,) * max(sql.count("?"), 1)
            for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", bindings[: _bound(connection, sql)]).fetchall():
                verb, table, *_ = [*row[3].split(), ""]
                small = table.strip("()").split("-")[0] in FEW or any(name in row[3] for name in INDEXES)
                if verb == "SCAN" and not small:
                    walks.add((row[3], sql))
        assert walks == set()
        assert len(statements) > 60


def _bound(connection: apsw.Connection, sql: str) -> int:
    """The number of bindings of a statement."""
    try:
        connection.execute(f"EXPLAIN {sql}", ())
    except apsw.BindingsError as error:
        return int(str(error).split("uses ")[1].split()[0])
    return 0

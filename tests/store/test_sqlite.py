"""SQLite in particular: the file, its connections, caps, and errors of the engine."""

import sqlite3
import stat
from pathlib import Path
from random import Random

import anyio
import anyio.lowlevel
import apsw
import pytest
from structlog.testing import capture_logs

from airy.errors import Refused, Unavailable
from airy.store.sqlite import (
    SqliteStore,
    conversation_list,
    schema,
)
from tests.kit.builders import Chat, channel
from tests.kit.log import Log, cut
from tests.kit.sqlite_store import opened
from tests.kit.store import crowd, seeded

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

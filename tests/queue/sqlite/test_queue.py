"""The contract of the embedded queue, in memory and in a file, and the cost of a large backlog."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import apsw
import pytest
from msgspec import Raw

from airy import topics
from airy.errors import Unavailable
from airy.model.dead_delivery import DeadDelivery
from airy.queue.api import NO_ENTRY, PositionConflict, QueueEntry, QueueFull
from airy.queue.sqlite import SqliteQueue
from airy.queue.sqlite import file as queue_file
from airy.queue.sqlite import sql as queue_sql
from tests.kit.contracts.queue import HERE, QueueContract, claim, entry, offsets, put
from tests.kit.queue_model import Rig


class SqliteRig:
    def __init__(self, queue: SqliteQueue, path: str) -> None:
        self.queue = queue
        self._path = path

    async def reopen(self) -> None:
        if self._path != ":memory:":
            await self.queue.close()
            await self.queue.open()

    async def wipe(self) -> None:
        await self.queue.wipe()


@asynccontextmanager
async def opened(path: str, *, jobs_max: int = 1_000) -> AsyncIterator[SqliteRig]:
    queue = SqliteQueue(path, jobs_max=jobs_max)
    await queue.open()
    try:
        yield SqliteRig(queue, path)
    finally:
        await queue.close()


class TestMemory(QueueContract):
    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]:
        return opened(":memory:", jobs_max=jobs_max)


class TestFile(QueueContract):
    @asynccontextmanager
    async def opened(self, *, jobs_max: int = 1_000) -> AsyncIterator[Rig]:
        with TemporaryDirectory() as directory:
            async with opened(f"{directory}/queue.db", jobs_max=jobs_max) as rig:
                yield rig


# --- files


async def test_a_token_from_before_a_rollback_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(str(path)) as rig:
        await put(rig.queue, entry(3, "a"))
    before = path.read_bytes()
    async with opened(str(path)) as rig:
        (old,) = await claim(rig.queue)
    path.write_bytes(before)
    async with opened(str(path)) as rig:
        (new,) = await claim(rig.queue)
        assert not await rig.queue.complete(old)
        assert await rig.queue.complete(new)


LEGACY_TABLE = """
CREATE TABLE dead (
    grave INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL UNIQUE, webhook_id TEXT NOT NULL,
    attempts INTEGER NOT NULL, reason TEXT NOT NULL, buried_at_ms INTEGER NOT NULL,
    log_offset INTEGER NOT NULL, nth INTEGER NOT NULL, lane TEXT NOT NULL, event_id TEXT NOT NULL,
    kind TEXT NOT NULL, at_ms INTEGER NOT NULL, position TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX graves ON dead (webhook_id, grave);
INSERT INTO dead (
    job_id, webhook_id, attempts, reason, buried_at_ms, log_offset, nth, lane, event_id, kind, at_ms, position, body)
VALUES
    ('e1:a', 'a', 10, 'answered 500', 900, 3, 0, 'lane', 'e1', 'message.created', 5, '0.7.3', x'7b7d'),
    ('e2:b', 'b', 20, 'answered 502', 901, 0, 0, 'tag', 'e2', 'tag.updated', 6, '2.1.0', x'5b5d');
DROP TABLE attempts;
ALTER TABLE webhooks DROP COLUMN jobs;
DROP INDEX replayed;
ALTER TABLE entries DROP COLUMN trace;
ALTER TABLE entries DROP COLUMN queued_at_ms;
ALTER TABLE jobs DROP COLUMN delay_ms;
PRAGMA user_version = 1;
"""
"""What the first version of a file has and this one has not."""


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
async def test_an_older_file_keeps_its_jobs_and_hands_over_its_dead_deliveries(tmp_path: Path, version: int) -> None:
    path = str(tmp_path / "queue.db")
    async with opened(path) as rig:
        await put(rig.queue, entry(3, "a"), entry(4, "a"))
    connection = apsw.Connection(path)
    connection.execute(LEGACY_TABLE)
    for step in range(1, version):
        connection.execute(queue_sql.MIGRATIONS[step])
    connection.pragma("user_version", version)
    connection.close()
    async with opened(path) as rig:
        assert sorted(offsets(await claim(rig.queue, 60_000))) == [3, 4]
        assert (await rig.queue.backlogs(["a"], now_ms=0))[0].leased == 2
        ((number, first),) = await rig.queue.legacy_dead_letters.read_oldest(1)
        assert first == DeadDelivery(
            delivery_id="e1:a",
            webhook_id="a",
            event_id="e1",
            kind="message.created",
            lane="lane",
            topic=topics.EVENTS.name,
            partition=7,
            at_ms=5,
            attempts=10,
            reason="answered 500",
            died_at_ms=900,
            body=Raw(b"{}"),
        )
        await rig.queue.legacy_dead_letters.delete_through(number)
        ((number, second),) = await rig.queue.legacy_dead_letters.read_oldest(9)
        assert (second.delivery_id, second.topic) == ("e2:b", topics.TAGS.name)
        await rig.queue.legacy_dead_letters.delete_through(number)
        assert await rig.queue.legacy_dead_letters.read_oldest(9) == []
    async with opened(path) as rig:
        assert await rig.queue.legacy_dead_letters.read_oldest(9) == []


async def test_only_its_owner_can_read_the_bodies_that_wait(tmp_path: Path) -> None:
    async with opened(str(tmp_path / "queue.db")) as rig:
        await put(rig.queue, entry(0, "a"), after=NO_ENTRY)
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {"queue.db", "queue.db-wal"} <= set(modes)


@pytest.mark.parametrize("content", [b"not a database" * 1_000, b"", b"SQLite format 3\0" + b"\xff" * 5_000])
async def test_a_damaged_file_is_renamed_and_the_queue_starts_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "queue.db"
    path.write_bytes(content)
    async with opened(str(path)) as rig:
        assert await rig.queue.last(HERE) == NO_ENTRY
        await put(rig.queue, entry(3, "a"))
    if content:
        assert (tmp_path / "queue.db.unreadable").read_bytes() == content


async def test_a_file_of_an_unknown_version_is_renamed(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE jobs (x); PRAGMA user_version = 99")
    other.close()
    async with opened(str(path)) as rig:
        await put(rig.queue, entry(3, "a"))
    assert (tmp_path / "queue.db.unreadable").exists()


async def test_two_processes_can_share_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "queue.db")
    async with opened(path, jobs_max=2) as publisher, opened(path, jobs_max=2) as dispatcher:
        await put(publisher.queue, entry(3, "a"), entry(4, "b"))
        with pytest.raises(QueueFull):
            await put(publisher.queue, entry(5, "b"), after=(4, 0))
        one, other = await claim(dispatcher.queue)
        assert await dispatcher.queue.complete(one)
        await put(publisher.queue, entry(5, "c"), after=(4, 0))
        assert await publisher.queue.low_water(HERE) == (4, 0)
        assert await dispatcher.queue.retry(other, now_ms=0, due_ms=10, reason="no")
        assert offsets(await claim(dispatcher.queue, 10)) == [5, 4]


async def test_a_locked_file_is_unavailable_and_works_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_file, "BUSY_MS", 1)
    path = str(tmp_path / "queue.db")
    async with opened(path) as rig:
        await put(rig.queue, entry(3, "a"), entry(4, "b"))
        one, other = await claim(rig.queue)
        locker = apsw.Connection(path)
        locker.execute("BEGIN IMMEDIATE")
        unavailable = 0

        async def done() -> None:
            nonlocal unavailable
            try:
                await rig.queue.complete(one)
            except Unavailable:
                unavailable += 1

        with pytest.raises(Unavailable):
            await put(rig.queue, entry(5, "new"), after=(4, 0))
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(done)
        locker.execute("ROLLBACK")
        locker.close()
        assert unavailable == 3
        assert await rig.queue.complete(one)
        assert await rig.queue.complete(other)
        await put(rig.queue, entry(5, "new"), after=(4, 0))
        assert offsets(await claim(rig.queue)) == [5]


async def test_a_queue_that_is_not_open_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await SqliteQueue().last(HERE)


async def test_concurrent_outcomes_are_one_transaction_with_an_answer_each() -> None:
    async with opened(":memory:") as rig:
        await put(rig.queue, *(entry(number, "a") for number in range(4)))
        done, gone, again, dead = await claim(rig.queue)
        await rig.queue.complete(gone)
        commits = 0

        def count() -> bool:
            nonlocal commits
            commits += 1
            return False

        with rig.queue._file.reading() as connection:
            connection.set_commit_hook(count)
        said: dict[str, bool] = {}

        async def say(name: str, call: Awaitable[bool]) -> None:
            said[name] = await call

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, "done", rig.queue.complete(done))
            tasks.start_soon(say, "gone", rig.queue.complete(gone))
            tasks.start_soon(say, "again", rig.queue.retry(again, now_ms=0, due_ms=9, reason="no"))
            tasks.start_soon(say, "dead", rig.queue.dead_letter(dead, now_ms=0))
        assert said == {"done": True, "gone": False, "again": True, "dead": True}
        assert commits < 4
        assert offsets(await claim(rig.queue, 9)) == [again.entry.id[0]]


async def test_an_outcome_is_written_even_if_its_worker_is_cancelled() -> None:
    async with opened(":memory:") as rig:
        await put(rig.queue, entry(0, "a"))
        (job,) = await claim(rig.queue)
        with anyio.CancelScope() as scope:
            scope.cancel()
            assert await rig.queue.complete(job)
        assert (await rig.queue.stats()).leased == 0


async def test_all_leases_of_a_predecessor_can_be_expired(tmp_path: Path) -> None:
    path = str(tmp_path / "queue.db")
    async with opened(path) as rig:
        await put(rig.queue, entry(3, "a"))
        (old,) = await claim(rig.queue)
    async with opened(path) as rig:
        await rig.queue.expire_all_leases()
        (job,) = await claim(rig.queue, 1)
        assert (job.entry, job.attempt) == (old.entry, 2)
        assert not await rig.queue.complete(old)


async def test_an_interrupted_drop_leaves_no_lane_without_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airy.queue.sqlite.queue.DROP_JOBS_MAX", 2)
    async with opened(":memory:") as rig:
        await put(rig.queue, *(entry(number, "a", lane="one") for number in range(5)))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await rig.queue.drop_webhook("a")
        assert offsets(await claim(rig.queue)) == [2]


async def test_puts_and_replays_wake_up_a_waiting_dispatcher() -> None:
    async with opened(":memory:") as rig:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.queue.wait_for_arrival, 1_000)
            await anyio.wait_all_tasks_blocked()
            await put(rig.queue, entry(0, "a"))
        assert anyio.current_time() < 1
        await rig.queue.wait_for_arrival(5)
        assert anyio.current_time() >= 5


# --- the cost of a backlog


async def _steps(rig: SqliteRig, jobs: int, *, webhooks: int = 5, lanes: int) -> int:
    """How many virtual machine steps SQLite runs to claim ten jobs and complete them, by backlog."""
    after = await rig.queue.last(HERE)
    first = after[0] + 1
    entries: list[QueueEntry] = [
        entry(number, f"hook {number % webhooks}", lane=f"lane {number % lanes}")
        for number in range(first, first + jobs)
    ]
    await put(rig.queue, *entries, after=after)
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return False

    with rig.queue._file.reading() as connection:
        connection.set_progress_handler(step, 1)
        for job in await claim(rig.queue, 1, jobs_max=10):
            await rig.queue.complete(job)
        await rig.queue.next_due_ms()
        await rig.queue.low_water(HERE)
        connection.set_progress_handler(None)
    return steps


@pytest.mark.parametrize("lanes", [7, 100_000])
async def test_the_cost_of_a_claim_does_not_grow_with_the_backlog(lanes: int) -> None:
    async with opened(":memory:", jobs_max=100_000) as rig:
        few = await _steps(rig, 200, lanes=lanes)
        many = await _steps(rig, 10_000, lanes=lanes)
        assert many < few * 1.2


async def test_the_write_ahead_log_is_checkpointed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_time: None
) -> None:
    monkeypatch.setattr(queue_file, "WAL_PAGES_MAX", 50)
    async with opened(str(tmp_path / "queue.db")) as rig:
        for number in range(100):
            await put(rig.queue, entry(number, "a"), after=(number - 1, 0) if number else NO_ENTRY)
            (job,) = await claim(rig.queue)
            await rig.queue.complete(job)
        assert (tmp_path / "queue.db-wal").stat().st_size < 4 * 50 * 4_152
        with pytest.raises(PositionConflict):
            await put(rig.queue, entry(1, "a"))

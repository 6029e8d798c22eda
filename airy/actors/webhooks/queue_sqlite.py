"""The embedded webhook queue, in a SQLite file or in memory. For one machine; its processes may share the
file.

Calls are short and run on the event loop; what the workers report in one turn of it is one transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import apsw
from anyio.lowlevel import checkpoint

from airy.actors.webhooks import queue_sql as sql
from airy.actors.webhooks.queue import (
    NOTHING,
    Dead,
    Entry,
    EntryId,
    Failing,
    Full,
    Job,
    QueueStats,
    Shard,
    Stale,
)
from airy.actors.webhooks.queue_file import QueueFile
from airy.clock import Ids, RandomIds
from airy.errors import Unavailable

LEASES_END_MS = 2**62  # later than any
DROP_JOBS_MAX = 500  # per transaction, so that dropping many delays nobody

Settle = Callable[[apsw.Connection], bool]


class _Group:
    """Outcomes that are written together."""

    __slots__ = ("answers", "calls", "error", "written")

    def __init__(self, calls: list[Settle]) -> None:
        self.calls = calls
        self.answers: list[bool] = []
        self.error: Unavailable | None = None
        self.written = anyio.Event()

    def answer(self, place: int) -> bool:
        if self.error is not None:
            raise self.error
        return self.answers[place]


class SqliteQueue:
    """`jobs_max` is how much may wait or be leased, `dead_max` how many buried deliveries are kept."""

    def __init__(
        self, path: Path | str = ":memory:", *, jobs_max: int = 1_000_000, dead_max: int = 10_000,
        ids: Ids | None = None,
    ) -> None:  # fmt: skip
        self._file = QueueFile(path, self._forget_names)
        self._jobs_max = jobs_max
        self._dead_max = dead_max
        self._ids = ids or RandomIds()
        self._numbers: dict[str, int] = {}  # of webhooks
        self._names: dict[int, str] = {}
        self._opening = ""  # part of every token: one from before a restart fits nothing
        self._leases = 0
        self._claimed_at_ms = 0
        self._arrival = anyio.Event()
        self._group: _Group | None = None

    async def open(self) -> None:
        self._file.open()
        self._opening = self._ids.new()

    async def close(self) -> None:
        self._file.close()

    async def wipe(self) -> None:
        """Forget everything, as if the file had been lost."""
        with self._file.writing() as database:
            database.execute(sql.WIPE)
        self._forget_names()

    async def take_back_leases(self) -> None:
        """For whoever knows that nobody else has the file, such as the only process that opens it: what a killed
        predecessor was about to deliver need not wait for its leases to run out.
        """
        with self._file.writing() as database:
            database.execute(sql.EXPIRE, (LEASES_END_MS,))

    # --- the publisher's side

    async def last(self, shard: Shard) -> EntryId:
        with self._file.reading() as database:
            return self._last(database, shard)[0]

    async def put(self, shard: Shard, entries: Sequence[Entry], *, after: EntryId) -> None:
        if any(one >= other for one, other in pairwise([after, *(entry.id for entry in entries)])):
            raise ValueError(f"ids must grow from {after}: {[entry.id for entry in entries]}")
        await self._file.breathe()
        with self._file.writing() as database:
            last, number = self._last(database, shard)
            if last != after:
                raise Stale(last)
            put = self._put(database, shard, number, entries)
        self._announce()
        if put < len(entries):
            raise Full(f"the webhook queue holds {self._jobs_max} jobs: deliver some, or raise its limit")

    def _put(self, database: apsw.Connection, shard: Shard, number: int | None, entries: Sequence[Entry]) -> int:
        """As many of the entries as fit; returns how many."""
        if number is None:
            number = database.execute(sql.PUT_SHARD, (shard.topic, shard.partition, *NOTHING)).get
        had = jobs = database.execute(sql.JOBS).get
        put = 0
        for entry in entries:
            webhooks = dict.fromkeys(entry.webhook_ids)
            if jobs and jobs + len(webhooks) > self._jobs_max:
                break
            if webhooks:
                self._put_entry(database, number, entry, webhooks)
            jobs += len(webhooks)
            put += 1
        if put:
            database.execute(sql.SET_LAST, (*entries[put - 1].id, number))
            database.execute(sql.COUNT, (jobs - had,))
        return put

    def _put_entry(self, database: apsw.Connection, shard: int | None, entry: Entry, webhooks: Iterable[str]) -> None:
        numbers = [self._number(database, name) for name in webhooks]
        database.execute(sql.PUT_ENTRY, (
            shard, *entry.id, len(numbers), entry.lane, entry.event_id, entry.kind, entry.at_ms, entry.position,
            entry.body,
        ))  # fmt: skip
        row = database.last_insert_rowid()
        for number in numbers:
            # A job that was never due before takes the time of the last claim: so it keeps its place among retries.
            database.execute(sql.PUT_JOB, (number, entry.lane, row, self._claimed_at_ms))

    async def low_water(self, shard: Shard) -> EntryId:
        with self._file.reading() as database:
            last, number = self._last(database, shard)
            row = database.execute(sql.UNDELIVERED, (number,)).get if number is not None else None
        if row is not None:
            return row[0], row[1]
        return NOTHING if last == NOTHING else (last[0], last[1] + 1)

    # --- the dispatcher's side

    async def claim(
        self, *, now_ms: int, lease_ms: int, jobs_max: int, per_webhook_max: int,
        not_webhooks: frozenset[str] = frozenset(),
    ) -> list[Job]:  # fmt: skip
        await self._file.breathe()
        self._claimed_at_ms = now_ms
        with self._file.writing() as database:
            database.execute(sql.EXPIRE, (now_ms,))
            seqs = self._due(database, now_ms, jobs_max, per_webhook_max, not_webhooks)
            return [self._lease(database, seq, now_ms, now_ms + lease_ms) for seq in seqs]

    def _due(
        self, database: apsw.Connection, now_ms: int, jobs_max: int, per_webhook_max: int,
        not_webhooks: frozenset[str],
    ) -> list[int]:  # fmt: skip
        leased = dict(database.execute(sql.LEASED))
        due: list[tuple[int, int]] = []
        waiting: Any = database.execute(sql.WAITING).fetchall()
        for (number,) in waiting:
            room = min(per_webhook_max - leased.get(number, 0), jobs_max)
            if room > 0 and self._name(database, number) not in not_webhooks:
                due += database.execute(sql.HEADS, (number, now_ms, room))
        due.sort()
        return [seq for _, seq in due[:jobs_max]]

    def _lease(self, database: apsw.Connection, seq: int, now_ms: int, until_ms: int) -> Job:
        self._leases += 1
        token = f"{seq}.{self._leases}.{self._opening}"
        leased: tuple[int, int, int, int] = database.execute(sql.LEASE, (until_ms, token, now_ms, seq)).get
        number, row, attempt, first_at_ms = leased
        offset, nth, lane, event_id, kind, body, at_ms, position = database.execute(sql.ENTRY, (row,)).get
        webhook_id = self._name(database, number)
        entry = Entry((offset, nth), (webhook_id,), lane, event_id, kind, body, at_ms, position)
        return Job(f"{event_id}:{webhook_id}", token, webhook_id, entry, attempt, first_at_ms, until_ms)

    async def done(self, job: Job) -> bool:
        return await self._together(partial(self._done, job))

    async def retry(self, job: Job, *, due_ms: int, reason: str) -> bool:
        return await self._together(partial(self._retry, job, due_ms, reason))

    async def release(self, job: Job) -> bool:
        return await self._together(partial(self._release, job))

    async def bury(self, job: Job, *, reason: str, now_ms: int) -> bool:
        return await self._together(partial(self._bury, job, reason, now_ms))

    async def _together(self, settle: Settle) -> bool:
        """What the workers have to say within one turn of the event loop is written in one transaction."""
        if self._group is not None:
            group, place = self._group, len(self._group.calls)
            group.calls.append(settle)
            await group.written.wait()
            return group.answer(place)
        group = self._group = _Group([settle])
        try:
            await checkpoint()
        finally:
            self._group = None
            self._write(group)
        return group.answer(0)

    def _write(self, group: "_Group") -> None:
        try:
            with self._file.writing() as database:
                group.answers = [settle(database) for settle in group.calls]
        except Unavailable as error:
            group.error = error
        finally:
            group.written.set()

    def _done(self, job: Job, database: apsw.Connection) -> bool:
        number = self._remove(database, job)
        if number is not None:
            database.execute(sql.WORKED, (number,))
        return number is not None

    def _retry(self, job: Job, due_ms: int, reason: str, database: apsw.Connection) -> bool:
        number = self._unlease(database, job, due_ms=due_ms, reason=reason)
        if number is not None:
            database.execute(sql.FAILED, (self._claimed_at_ms, number))
        return number is not None

    def _release(self, job: Job, database: apsw.Connection) -> bool:
        return self._unlease(database, job, uncounted=1) is not None

    def _bury(self, job: Job, reason: str, now_ms: int, database: apsw.Connection) -> bool:
        row = database.execute(sql.HELD, (_seq(job), job.token)).get
        if row is None:
            return False
        attempts, entry = row
        database.execute(sql.BURY, (job.webhook_id, attempts, reason, now_ms, entry))
        database.execute(sql.FORGET_DEAD, (self._dead_max,))
        database.execute(sql.FAILED, (now_ms, self._remove(database, job)))
        return True

    def _remove(self, database: apsw.Connection, job: Job) -> int | None:
        """Take a leased job out and let its lane go on; None if it is not ours any more."""
        row: tuple[int, str, int] | None = database.execute(sql.REMOVE, (_seq(job), job.token)).get
        if row is None:
            return None
        number, lane, entry = row
        database.execute(sql.NEXT_HEAD, (number, lane))
        self._settle(database, entry)
        return number

    def _settle(self, database: apsw.Connection, entry: int) -> None:
        """One job less of this entry; after the last the entry goes."""
        database.execute(sql.DELIVERED, (entry,))
        if not database.changes():
            database.execute(sql.DELIVERED_TO_ONE, (entry,))
        database.execute(sql.COUNT, (-1,))

    def _unlease(
        self, database: apsw.Connection, job: Job, *, due_ms: int | None = None, uncounted: int = 0,
        reason: str | None = None,
    ) -> int | None:  # fmt: skip
        """Give a leased job back to its lane; None if it is not ours any more."""
        given = due_ms, uncounted, reason, _seq(job), job.token
        number: int | None = database.execute(sql.UNLEASE, given).get
        return number

    async def drop_webhook(self, webhook_id: str) -> int:
        total = 0
        while True:
            with self._file.writing() as database:
                dropped = self._drop(database, webhook_id)
            total += dropped
            if dropped < DROP_JOBS_MAX:
                return total
            await checkpoint()

    def _drop(self, database: apsw.Connection, webhook_id: str) -> int:
        """Some jobs, lane by lane; the lane that is left half full gets a new head."""
        number = database.execute(sql.WEBHOOK_NUMBER, (webhook_id,)).get
        jobs: Any = database.execute(sql.SOME_JOBS, (number, DROP_JOBS_MAX)).fetchall()
        for seq, _, entry in jobs:
            database.execute(sql.DROP, (seq,))
            self._settle(database, entry)
        if jobs:
            database.execute(sql.NEXT_HEAD, (number, jobs[-1][1]))
        database.execute(sql.WORKED, (number,))
        return len(jobs)

    async def failing(self, webhook_id: str) -> Failing | None:
        with self._file.reading() as database:
            row = database.execute(sql.FAILING, (webhook_id,)).get
        return Failing(*row) if row else None

    async def next_due_ms(self) -> int | None:
        with self._file.reading() as database:
            due = [database.execute(sql.NEXT_DUE, row).get for row in database.execute(sql.WAITING).fetchall()]
            expiry = database.execute(sql.NEXT_EXPIRY).get
        return min([*due, expiry] if expiry is not None else due, default=None)

    async def arrived(self, within_s: float) -> None:
        """Returns once this process has put or replayed something, or after `within_s`. A hint."""
        with anyio.move_on_after(within_s):
            await self._arrival.wait()

    # --- the dead, and figures

    async def dead(self, *, webhook_id: str | None = None, dead_max: int = 100) -> list[Dead]:
        with self._file.reading() as database:
            return [Dead(*row) for row in database.execute(sql.DEAD, (webhook_id, dead_max))]

    async def replay(self, job_id: str, *, now_ms: int) -> bool:
        self._claimed_at_ms = now_ms
        with self._file.writing() as database:
            row = database.execute(sql.EXHUME, (job_id,)).get
            if row is None:
                return False
            webhook_id, offset, nth, lane, event_id, kind, at_ms, position, body = row
            entry = Entry((offset, nth), (webhook_id,), lane, event_id, kind, body, at_ms, position)
            self._put_entry(database, None, entry, entry.webhook_ids)
            database.execute(sql.COUNT, (1,))
        self._announce()
        return True

    async def stats(self) -> QueueStats:
        with self._file.reading() as database:
            jobs, leased, dead, oldest_at_ms = database.execute(sql.STATS).get
        return QueueStats(jobs - leased, leased, dead, oldest_at_ms)

    # --- inside

    def _last(self, database: apsw.Connection, shard: Shard) -> tuple[EntryId, int | None]:
        row = database.execute(sql.LAST, (shard.topic, shard.partition)).get
        return ((row[0], row[1]), row[2]) if row else (NOTHING, None)

    def _number(self, database: apsw.Connection, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = database.execute(sql.WEBHOOK, (name,)).get
        return number

    def _name(self, database: apsw.Connection, number: int) -> str:
        name = self._names.get(number)
        if name is None:
            name = self._names[number] = database.execute(sql.WEBHOOK_NAME, (number,)).get
        return name

    def _forget_names(self) -> None:
        self._numbers.clear()
        self._names.clear()

    def _announce(self) -> None:
        self._arrival.set()
        self._arrival = anyio.Event()


def _seq(job: Job) -> int:
    return int(job.token.partition(".")[0])

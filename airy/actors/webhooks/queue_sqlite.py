"""The embedded webhook queue, in a SQLite file or in memory. For one machine; its processes may share the file.

Calls are short and run on the event loop; what the workers report at about the same time is one transaction.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio
import apsw
import msgspec
from anyio.lowlevel import checkpoint
from msgspec import Struct

from airy.actors.webhooks import queue_sql as sql
from airy.actors.webhooks.queue import (
    NOTHING,
    Entry,
    EntryId,
    Failing,
    Full,
    Job,
    Mark,
    QueueStats,
    Shard,
    Stale,
)
from airy.actors.webhooks.queue_file import QueueFile
from airy.actors.webhooks.queue_heritage import QueueHeritage
from airy.clock import Ids, RandomIds
from airy.errors import Unavailable

LEASES_END_MS = 2**62  # later than any
TURNS = 2  # of the event loop, to wait for company
DROP_JOBS_MAX = 500  # per transaction, so that dropping many delays nobody


class _Row(NamedTuple):
    """A job that is to be settled, as SELECTed."""

    seq: int
    webhook: int
    lane: str
    entry: int
    pending: int
    token: str | None


class _Outcome(Struct, frozen=True, gc=False):
    """What a worker reports."""

    job: Job
    verb: Literal["done", "retry", "release", "bury"]
    at_ms: int = 0
    reason: str = ""


class _Group:
    """Outcomes that are written together."""

    __slots__ = ("answers", "error", "outcomes", "written")

    def __init__(self, first: _Outcome) -> None:
        self.outcomes = [first]
        self.answers: list[bool] = []
        self.error: Unavailable | None = None
        self.written = anyio.Event()

    def answer(self, place: int) -> bool:
        if self.error is not None:
            raise self.error
        return self.answers[place]


class SqliteQueue:
    """`jobs_max` is how much may wait or be leased."""

    def __init__(self, path: Path | str = ":memory:", *, jobs_max: int = 1_000_000, ids: Ids | None = None) -> None:
        self._file = QueueFile(path, self._forget_names)
        self.heritage = QueueHeritage(self._file)
        self._jobs_max = jobs_max
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
        database.execute(
            sql.PUT_ENTRY,
            (
                shard,
                *entry.id,
                len(numbers),
                entry.lane,
                entry.event_id,
                entry.kind,
                entry.at_ms,
                entry.position,
                entry.body,
                entry.trace,
            ),
        )
        row = database.last_insert_rowid()
        for number in numbers:
            # A job that was never due before takes the time of the last claim: so it keeps its place among retries.
            database.execute(sql.PUT_JOB, (number, entry.lane, row, self._claimed_at_ms))

    async def low_water(self, shard: Shard) -> EntryId:
        with self._file.reading() as database:
            return self._mark(database, shard).low

    async def marks(self, shards: Sequence[Shard]) -> list[Mark | Unavailable]:
        with self._file.reading() as database:
            return [self._mark(database, shard) for shard in shards]

    def _mark(self, database: apsw.Connection, shard: Shard) -> Mark:
        last, number = self._last(database, shard)
        row = database.execute(sql.UNDELIVERED, (number,)).get if number is not None else None
        if row is not None:
            return Mark(last, (row[0], row[1]))
        return Mark(last, NOTHING if last == NOTHING else (last[0], last[1] + 1))

    # --- the dispatcher's side

    async def claim(
        self,
        *,
        now_ms: int,
        lease_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        not_webhooks: frozenset[str] = frozenset(),
    ) -> list[Job]:
        await self._file.breathe()
        self._claimed_at_ms = now_ms
        with self._file.writing() as database:
            database.execute(sql.EXPIRE, (now_ms,))
            due = self._due(database, now_ms, jobs_max, per_webhook_max, not_webhooks)
            return self._lease(database, due, now_ms, now_ms + lease_ms) if due else []

    def _due(
        self,
        database: apsw.Connection,
        now_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        not_webhooks: frozenset[str],
    ) -> list[int]:
        """The oldest due heads: a few of each webhook at first, then more of those whose few are all among them."""
        leased = dict(database.execute(sql.LEASED))
        waiting: Any = database.execute(sql.WAITING).fetchall()
        rooms = {
            number: min(per_webhook_max - leased.get(number, 0), jobs_max)
            for (number,) in waiting
            if self._name(database, number) not in not_webhooks
        }
        asked = [number for number, room in rooms.items() if room > 0]
        heads: dict[int, list[tuple[int, int]]] = {}
        due: list[tuple[int, int]] = []
        some = max(4, 2 * jobs_max // (len(asked) or 1))
        while asked:
            for number in asked:
                found: Any = database.execute(sql.HEADS, (number, now_ms, min(rooms[number], some))).fetchall()
                heads[number] = found
            due = sorted(chain.from_iterable(heads.values()))[:jobs_max]
            asked = [one for one in asked if len(heads[one]) == some < rooms[one] and heads[one][-1] <= due[-1]]
            some *= 4
        return [seq for _, seq in due]

    def _lease(self, database: apsw.Connection, seqs: list[int], now_ms: int, until_ms: int) -> list[Job]:
        self._leases += 1
        token = f"{self._leases}.{self._opening}"
        leased: Any = database.execute(sql.LEASE, (until_ms, token, now_ms, _json(seqs))).fetchall()
        rows: Any = database.execute(sql.ENTRIES, (_json([row for _, _, row, _, _ in leased]),))
        entries = {row: fields for row, *fields in rows}
        jobs: dict[int, Job] = {}
        for seq, number, row, attempt, first_at_ms in leased:
            name = self._name(database, number)
            offset, nth, lane, event_id, kind, body, at_ms, position, trace = entries[row]
            entry = Entry((offset, nth), (name,), lane, event_id, kind, body, at_ms, position, trace)
            job_id = f"{event_id}:{name}"
            jobs[seq] = Job(job_id, f"{seq}.{token}", name, entry, attempt, first_at_ms, until_ms)
        return [jobs[seq] for seq in seqs]

    async def done(self, job: Job) -> bool:
        return await self._report(_Outcome(job, "done"))

    async def retry(self, job: Job, *, due_ms: int, reason: str) -> bool:
        return await self._report(_Outcome(job, "retry", due_ms, reason))

    async def release(self, job: Job) -> bool:
        return await self._report(_Outcome(job, "release"))

    async def bury(self, job: Job, *, now_ms: int) -> bool:
        return await self._report(_Outcome(job, "bury", now_ms))

    async def _report(self, outcome: _Outcome) -> bool:
        """What the workers have to say within a few turns of the event loop is written in one transaction."""
        if self._group is not None:
            group, place = self._group, len(self._group.outcomes)
            group.outcomes.append(outcome)
            await group.written.wait()
            return group.answer(place)
        group = self._group = _Group(outcome)
        try:
            for _ in range(TURNS):
                await checkpoint()
        finally:
            self._group = None
            self._write(group)
        return group.answer(0)

    def _write(self, group: _Group) -> None:
        try:
            with self._file.writing() as database:
                group.answers = self._settle(database, group.outcomes)
        except Unavailable as error:
            group.error = error
        finally:
            group.written.set()

    def _settle(self, database: apsw.Connection, outcomes: Sequence[_Outcome]) -> list[bool]:
        """Whether each was about a lease that still held. A lease has one outcome."""
        rows: Any = database.execute(sql.HELD, (_json([_seq(outcome.job) for outcome in outcomes]),))
        held = {row.seq: row for row in map(_Row._make, rows)}
        answers, finished, worked = [], [], set()
        for outcome in outcomes:
            row = held.get(_seq(outcome.job))
            if row is None or row.token != outcome.job.token.partition(".")[2]:
                answers.append(False)
                continue
            del held[row.seq]
            answers.append(True)
            if outcome.verb in ("done", "bury"):
                finished.append(row)
            if outcome.verb == "done":
                worked.add(row.webhook)
            else:
                self._not_done(database, outcome, row)
        self._remove(database, finished)
        if worked and database.execute(sql.SOME_FAIL).get:
            database.execute(sql.WORKED, (_json(sorted(worked)),))
        return answers

    def _not_done(self, database: apsw.Connection, outcome: _Outcome, row: _Row) -> None:
        if outcome.verb == "release":
            database.execute(sql.UNLEASE, (None, 1, None, row.seq))
        elif outcome.verb == "retry":
            database.execute(sql.UNLEASE, (outcome.at_ms, 0, outcome.reason, row.seq))
            database.execute(sql.FAILED, (self._claimed_at_ms, row.webhook))
        else:
            database.execute(sql.FAILED, (outcome.at_ms, row.webhook))

    def _remove(self, database: apsw.Connection, rows: Sequence[_Row]) -> None:
        """Take jobs out; their lanes go on, and entries that have no job left go."""
        if not rows:
            return
        database.execute(sql.REMOVE, (_json([row.seq for row in rows]),))
        database.execute(sql.NEXT_HEADS, (_json(list({(row.webhook, row.lane): None for row in rows})),))
        left: dict[int, int] = {}
        for row in rows:
            left[row.entry] = left.get(row.entry, row.pending) - 1
        database.execute(sql.DELIVERED, (_json([entry for entry, pending in left.items() if not pending]),))
        for entry, pending in left.items():
            if pending:
                database.execute(sql.DELIVERED_TO_SOME, (pending, entry))
        database.execute(sql.COUNT, (-len(rows),))

    async def drop_webhook(self, webhook_id: str) -> int:
        total = 0
        while True:
            with self._file.writing() as database:
                number = database.execute(sql.WEBHOOK_NUMBER, (webhook_id,)).get
                some: Any = database.execute(sql.SOME_JOBS, (number, DROP_JOBS_MAX)).fetchall()
                self._remove(database, [_Row._make(row) for row in some])
                database.execute(sql.WORKED, (_json([number]),))
            total += len(some)
            if len(some) < DROP_JOBS_MAX:
                return total
            await checkpoint()

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

    # --- what was buried, and figures

    async def replay(self, shard: Shard, entry: Entry, *, now_ms: int) -> bool:
        del shard  # here all wait in one place
        self._claimed_at_ms = now_ms
        with self._file.writing() as database:
            (webhook_id,) = entry.webhook_ids
            if database.execute(sql.REPLAYED, (entry.event_id, self._number(database, webhook_id))).get:
                return False
            self._put_entry(database, None, entry, entry.webhook_ids)
            database.execute(sql.COUNT, (1,))
        self._announce()
        return True

    async def stats(self) -> QueueStats:
        with self._file.reading() as database:
            jobs, leased, oldest_at_ms = database.execute(sql.STATS).get
        return QueueStats(jobs - leased, leased, oldest_at_ms)

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


def _json(values: Sequence[object]) -> str:
    """A list as SQLite's `json_each` reads it."""
    return msgspec.json.encode(values).decode()


def _seq(job: Job) -> int:
    return int(job.token.partition(".")[0])

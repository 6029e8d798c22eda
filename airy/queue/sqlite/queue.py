"""The embedded webhook queue. For one machine; its processes may share the file. Calls are short and run on the event
loop.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import anyio
import apsw
from anyio.lowlevel import checkpoint

from airy.clock import Ids, RandomIds
from airy.errors import Unavailable
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import (
    ATTEMPTS_MAX,
    NO_ENTRY,
    NO_LIMITS,
    EntryId,
    FailureStreak,
    Job,
    PositionConflict,
    QueueEntry,
    QueueFull,
    QueuePosition,
    QueueStats,
    Shard,
    WebhookBacklog,
)
from airy.queue.fair_shares import Divide, evenly
from airy.queue.outcome import JobOutcome
from airy.queue.sqlite import sql
from airy.queue.sqlite.attempts import AttemptTable
from airy.queue.sqlite.backlog import read_backlog
from airy.queue.sqlite.claim import clamp, due_jobs, lease_jobs
from airy.queue.sqlite.file import QueueFile
from airy.queue.sqlite.migration import LegacyDeadLetterTable
from airy.queue.sqlite.settlement import Settlement, count_jobs, delete_jobs_of
from airy.queue.sqlite.webhook_numbers import WebhookNumbers

LEASES_END_MS = 2**62  # later than any
DROP_JOBS_MAX = 500  # per transaction, which bounds how long other calls wait


class SqliteQueue:
    """`jobs_max` bounds the jobs that wait or are leased."""

    def __init__(self, path: Path | str = ":memory:", *, jobs_max: int = 1_000_000, ids: Ids | None = None) -> None:
        self._webhooks = WebhookNumbers()
        self._file = QueueFile(path, self._webhooks.clear)
        self.claim_interval_s = 0.0
        self.legacy_dead_letters: LegacyDeadLetterTable = LegacyDeadLetterTable(self._file)
        self._attempts = AttemptTable(self._file, self._webhooks)
        self._settlement = Settlement(self._file, lambda: self._claimed_at_ms)
        self._jobs_max = jobs_max
        self._ids = ids or RandomIds()
        self._opening = ""  # part of every token, so that a token from before a restart matches nothing
        self._leases = 0
        self._claimed_at_ms = 0
        self._clamped = False  # since it was opened
        self._arrival = anyio.Event()

    async def open(self) -> None:
        self._file.open()
        self._opening = self._ids.new()
        self._clamped = False

    async def close(self) -> None:
        self._file.close()

    def now_ms(self, clock_ms: int) -> int:
        return clock_ms  # one machine has one clock

    async def wipe(self) -> None:
        """Deletes everything, as if the file had been lost."""
        with self._file.writing() as database:
            database.execute(sql.WIPE)
        self._webhooks.clear()

    async def expire_all_leases(self) -> None:
        """Only for a process that has the file to itself: the jobs of a killed predecessor need not wait for their
        leases to expire.
        """
        with self._file.writing() as database:
            database.execute(sql.END_EXPIRED_LEASES, (LEASES_END_MS,))

    # --- for the publisher

    async def last(self, shard: Shard) -> EntryId:
        with self._file.reading() as database:
            return _last(database, shard)[0]

    async def put(self, shard: Shard, entries: Sequence[QueueEntry], *, after: EntryId) -> None:
        if any(one >= other for one, other in pairwise([after, *(entry.id for entry in entries)])):
            raise ValueError(f"ids must grow from {after}: {[entry.id for entry in entries]}")
        await self._file.checkpoint_if_needed()
        with self._file.writing() as database:
            last, number = _last(database, shard)
            if last != after:
                raise PositionConflict(last)
            put = self._put(database, shard, number, entries)
        self._announce()
        if put < len(entries):
            raise QueueFull(f"the webhook queue holds {self._jobs_max} jobs: deliver some, or raise its limit")

    def _put(self, database: apsw.Connection, shard: Shard, number: int | None, entries: Sequence[QueueEntry]) -> int:
        """Puts as many of the entries as fit; returns how many."""
        if number is None:
            number = database.execute(sql.PUT_SHARD, (shard.topic, shard.partition, *NO_ENTRY)).get
        jobs = database.execute(sql.JOB_COUNT).get
        put, added = 0, Counter[int]()
        for entry in entries:
            webhooks = dict.fromkeys(entry.webhook_ids)
            if jobs and jobs + len(webhooks) > self._jobs_max:
                break
            if webhooks:
                added.update(self._put_entry(database, number, entry, webhooks))
            jobs += len(webhooks)
            put += 1
        if put:
            database.execute(sql.SET_LAST, (*entries[put - 1].id, number))
            count_jobs(database, added)
        return put

    def _put_entry(
        self, database: apsw.Connection, shard: int | None, entry: QueueEntry, webhooks: Iterable[str]
    ) -> list[int]:
        """The numbers of the webhooks, each of which has one job more."""
        numbers = [self._webhooks.number(database, webhook_id) for webhook_id in webhooks]
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
                entry.queued_at_ms,
            ),
        )
        row = database.last_insert_rowid()
        for number in numbers:
            # A new job is due since the last claim, which keeps its order among retries.
            database.execute(sql.PUT_JOB, (number, entry.lane, row, self._claimed_at_ms))
        return numbers

    async def low_water(self, shard: Shard) -> EntryId:
        with self._file.reading() as database:
            return _position(database, shard).low_water

    async def positions(self, shards: Sequence[Shard]) -> list[QueuePosition | Unavailable]:
        with self._file.reading() as database:
            return [_position(database, shard) for shard in shards]

    # --- for the dispatcher

    async def claim(
        self,
        *,
        now_ms: int,
        lease_ms: int,
        jobs_max: int,
        per_webhook_max: int,
        webhook_limits: Mapping[str, int] = NO_LIMITS,
        divide: Divide | None = None,
    ) -> list[Job]:
        await self._file.checkpoint_if_needed()
        clock_set_back, self._claimed_at_ms = now_ms < self._claimed_at_ms, now_ms
        with self._file.writing() as database:
            if clock_set_back or not self._clamped:
                clamp(database, now_ms=now_ms, lease_ms=lease_ms)
                self._clamped = True
            database.execute(sql.END_EXPIRED_LEASES, (now_ms,))
            due = due_jobs(
                database,
                self._webhooks,
                now_ms=now_ms,
                jobs_max=jobs_max,
                per_webhook_max=per_webhook_max,
                webhook_limits=webhook_limits,
                divide=divide or evenly(jobs_max),
            )
            if not due:
                return []
            self._leases += 1
            lease, until_ms = f"{self._leases}.{self._opening}", now_ms + lease_ms
            return lease_jobs(database, self._webhooks, due, lease=lease, now_ms=now_ms, until_ms=until_ms)

    async def complete(self, job: Job) -> bool:
        return await self._settlement.add(JobOutcome(job, "complete"))

    async def retry(self, job: Job, *, now_ms: int, due_ms: int, reason: str) -> bool:
        return await self._settlement.add(JobOutcome(job, "retry", due_ms, max(0, due_ms - now_ms), reason))

    async def release(self, job: Job) -> bool:
        return await self._settlement.add(JobOutcome(job, "release"))

    async def dead_letter(self, job: Job, *, now_ms: int) -> bool:
        return await self._settlement.add(JobOutcome(job, "dead_letter", now_ms))

    async def drop_webhook(self, webhook_id: str) -> int:
        total = 0
        while True:
            with self._file.writing() as database:
                number = database.execute(sql.WEBHOOK_NUMBER, (webhook_id,)).get
                deleted = delete_jobs_of(database, number, DROP_JOBS_MAX, self._claimed_at_ms)
            total += deleted
            if deleted < DROP_JOBS_MAX:
                return total
            await checkpoint()

    async def failure_streak(self, webhook_id: str) -> FailureStreak | None:
        with self._file.reading() as database:
            row = database.execute(sql.FAILURE_STREAK, (webhook_id,)).get
        return FailureStreak(*row) if row else None

    async def next_due_ms(self) -> int | None:
        with self._file.reading() as database:
            webhooks = database.execute(sql.WEBHOOKS_WITH_HEADS).fetchall()
            due = [database.execute(sql.NEXT_DUE, row).get for row in webhooks]
            expiry = database.execute(sql.NEXT_EXPIRY).get
        return min([*due, expiry] if expiry is not None else due, default=None)

    async def wait_for_arrival(self, within_s: float) -> None:
        """Returns after this process has put or replayed something, or after `within_s`. A hint."""
        with anyio.move_on_after(within_s):
            await self._arrival.wait()

    # --- replays and statistics

    async def replay(self, shard: Shard, entry: QueueEntry, *, now_ms: int) -> bool:
        del shard  # this backend has one table of jobs for all shards
        self._claimed_at_ms = now_ms
        with self._file.writing() as database:
            (webhook_id,) = entry.webhook_ids
            number = self._webhooks.number(database, webhook_id)
            if database.execute(sql.IS_REPLAYED, (entry.event_id, number)).get:
                return False
            count_jobs(database, Counter(self._put_entry(database, None, entry, entry.webhook_ids)))
        self._announce()
        return True

    async def stats(self) -> QueueStats:
        with self._file.reading() as database:
            jobs, leased, oldest_at_ms = database.execute(sql.STATS).get
        return QueueStats(jobs - leased, leased, oldest_at_ms)

    # --- for operators

    async def backlogs(self, webhook_ids: Sequence[str], *, now_ms: int) -> list[WebhookBacklog]:
        found: list[WebhookBacklog] = []
        for webhook_id in webhook_ids:
            await checkpoint()
            with self._file.reading() as database:
                found.append(read_backlog(database, webhook_id, now_ms))
        return found

    async def keep_attempts(self, attempts: Sequence[DeliveryAttempt]) -> None:
        self._attempts.keep(attempts, ATTEMPTS_MAX)
        await checkpoint()

    async def attempts(self, webhook_ids: Sequence[str], *, attempts_max: int) -> list[list[DeliveryAttempt]]:
        found: list[list[DeliveryAttempt]] = []
        for webhook_id in webhook_ids:
            await checkpoint()
            found.append(self._attempts.of(webhook_id, attempts_max))
        return found

    async def forget_attempts(self, webhook_id: str) -> None:
        self._attempts.forget(webhook_id)
        await checkpoint()

    def _announce(self) -> None:
        self._arrival.set()
        self._arrival = anyio.Event()


def _last(database: apsw.Connection, shard: Shard) -> tuple[EntryId, int | None]:
    """The last id of a shard, and the number of the shard if it has one."""
    row = database.execute(sql.POSITION, (shard.topic, shard.partition)).get
    return ((row[0], row[1]), row[2]) if row else (NO_ENTRY, None)


def _position(database: apsw.Connection, shard: Shard) -> QueuePosition:
    last, number = _last(database, shard)
    row = database.execute(sql.FIRST_UNDELIVERED, (number,)).get if number is not None else None
    if row is not None:
        return QueuePosition(last, (row[0], row[1]))
    return QueuePosition(last, NO_ENTRY if last == NO_ENTRY else (last[0], last[1] + 1))

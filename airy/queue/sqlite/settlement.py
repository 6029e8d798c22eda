"""Applies the outcomes that workers report; those reported within a few turns of the event loop share a transaction."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from airy.batcher import Batcher
from airy.queue.api import Job
from airy.queue.outcome import JobOutcome
from airy.queue.sqlite import sql
from airy.queue.sqlite.file import QueueFile
from airy.queue.sqlite.json_list import json_list

GATHER_TURNS = 2  # event loop turns to wait for more workers
OUTCOMES_MAX = 1_000  # per transaction


class _JobRow(NamedTuple):
    """A job to be settled or deleted, as selected."""

    seq: int
    webhook: int
    lane: str
    entry: int
    pending: int
    token: str | None


class Settlement:
    """`claimed_at_ms` is the time of the last claim, at which a retried job counts as failed."""

    def __init__(self, file: QueueFile, claimed_at_ms: Callable[[], int]) -> None:
        self._file = file
        self._claimed_at_ms = claimed_at_ms
        self._batcher: Batcher[JobOutcome, bool] = Batcher(
            self._write, items_max=OUTCOMES_MAX, gather_turns=GATHER_TURNS
        )

    async def add(self, outcome: JobOutcome) -> bool:
        """Whether the lease was still held."""
        return await self._batcher.add(outcome)

    async def _write(self, outcomes: Sequence[JobOutcome]) -> Sequence[bool]:
        with self._file.writing() as database:
            return _settle(database, outcomes, self._claimed_at_ms())


def delete_jobs_of(database: apsw.Connection, webhook: int, jobs_max: int, claimed_at_ms: int) -> int:
    """Deletes some jobs of a webhook; returns how many."""
    rows: Any = database.execute(sql.JOBS_OF_WEBHOOK, (webhook, jobs_max)).fetchall()
    _delete(database, [_JobRow._make(row) for row in rows], claimed_at_ms)
    database.execute(sql.RESET_FAILURES, (json_list([webhook]),))
    return len(rows)


def _settle(database: apsw.Connection, outcomes: Sequence[JobOutcome], claimed_at_ms: int) -> list[bool]:
    """Per outcome, whether its lease was still held. A lease accepts one outcome."""
    rows: Any = database.execute(sql.JOBS_BY_SEQ, (json_list([_seq(outcome.job) for outcome in outcomes]),))
    held = {row.seq: row for row in map(_JobRow._make, rows)}
    answers, finished, succeeded = [], [], set()
    for outcome in outcomes:
        row = held.get(_seq(outcome.job))
        if row is None or row.token != outcome.job.token.partition(".")[2]:
            answers.append(False)
            continue
        del held[row.seq]
        answers.append(True)
        if outcome.verb in ("complete", "dead_letter"):
            finished.append(row)
        if outcome.verb == "complete":
            succeeded.add(row.webhook)
        else:
            _not_completed(database, outcome, row, claimed_at_ms)
    _delete(database, finished, claimed_at_ms)
    if succeeded and database.execute(sql.ANY_FAILING).get:
        database.execute(sql.RESET_FAILURES, (json_list(sorted(succeeded)),))
    return answers


def _not_completed(database: apsw.Connection, outcome: JobOutcome, row: _JobRow, claimed_at_ms: int) -> None:
    if outcome.verb == "release":
        database.execute(sql.RELEASE, (claimed_at_ms, row.seq))
    elif outcome.verb == "retry":
        database.execute(sql.RETRY, (outcome.at_ms, outcome.reason, outcome.delay_ms, row.seq))
        database.execute(sql.COUNT_FAILURE, (claimed_at_ms, row.webhook))
    else:
        database.execute(sql.COUNT_FAILURE, (outcome.at_ms, row.webhook))


def _delete(database: apsw.Connection, rows: Sequence[_JobRow], claimed_at_ms: int) -> None:
    """Deletes jobs, makes the next of each lane its head and due, and deletes entries without jobs."""
    if not rows:
        return
    database.execute(sql.DELETE_JOBS, (json_list([row.seq for row in rows]),))
    lanes = list({(row.webhook, row.lane): None for row in rows})
    database.execute(sql.SET_NEXT_HEADS, (claimed_at_ms, json_list(lanes)))
    pending_of: dict[int, int] = {}
    for row in rows:
        pending_of[row.entry] = pending_of.get(row.entry, row.pending) - 1
    database.execute(sql.DELETE_ENTRIES, (json_list([entry for entry, pending in pending_of.items() if not pending]),))
    for entry, pending in pending_of.items():
        if pending:
            database.execute(sql.SET_PENDING, (pending, entry))
    count_jobs(database, {webhook: -count for webhook, count in Counter(row.webhook for row in rows).items()})


def count_jobs(database: apsw.Connection, added: Mapping[int, int]) -> None:
    """`added`: how many jobs each webhook has more, by its number."""
    database.execute(sql.ADD_TO_JOB_COUNT, (sum(added.values()),))
    database.executemany(sql.ADD_TO_JOBS_OF_WEBHOOK, [(count, number) for number, count in added.items()])


def _seq(job: Job) -> int:
    return int(job.token.partition(".")[0])

"""Retention by time: drops records that are older than a limit, in memory and in the journal."""

from collections.abc import Mapping
from typing import Final

from airy.bus.memory.journal import Journal
from airy.bus.memory.log import Log
from airy.bus.memory.thread_worker import ThreadWorker

STEP_BATCHES_MAX: Final = 8  # deleted in one transaction


def expire_memory(log: Log, before_ms: int) -> int:
    """Drop older records from memory. Returns bytes freed."""
    starts: dict[int, int] = {}
    for record in log.records:
        if record.timestamp_ms >= before_ms:
            break
        starts[record.partition] = record.offset + 1
    return log.truncate(starts)


async def expire_journal(journal: Journal, writer: ThreadWorker, log: Log, before_ms: int) -> int:
    """Drop batches without a newer record, on disk and in memory. Returns bytes freed in memory."""
    freed = 0
    while starts := await writer(_expire_step, journal, log.topic.name, before_ms):
        freed += log.truncate(starts)
    return freed


def _expire_step(journal: Journal, topic: str, before_ms: int) -> Mapping[int, int]:
    """The new start of each partition that lost records. Empty when nothing is old enough."""
    starts: dict[int, int] = {}
    expired: dict[int, None] = {}
    for batch in journal.oldest(topic, STEP_BATCHES_MAX):
        if batch.newest_ms >= before_ms:
            break
        expired[batch.first] = None
        starts |= {partition: batch.first + past + 1 for past, partition, *_ in batch.rows}
    if expired:
        journal.rewrite(topic, expired, starts=starts)
    return starts

"""Compaction: which records newer ones replace. In small steps, so that publishes proceed between them.

Compaction reads newest first and drops every record whose key it has seen. The keys of a large topic are processed in
slices, one pass each, so that the set of seen keys stays bounded.
"""

from collections.abc import Iterable
from math import ceil
from typing import Final
from zlib import crc32

from airy.bus.memory.journal import Journal, RecordBatch
from airy.bus.memory.log import CompactionState, Log
from airy.bus.memory.thread_worker import ThreadWorker
from airy.bus.record import Record

KEYS_MAX: Final = 100_000  # per slice
STEP_BATCHES_MAX: Final = 8  # read and rewritten in one transaction


class CompactionFilter:
    """Keeps the latest record of each key, given records newest first. Drops tombstones older than a limit."""

    def __init__(self, tombstones_before_ms: int, *, slice_number: int = 0, slices: int = 1) -> None:
        self._before_ms = tombstones_before_ms
        self._slice = slice_number
        self._slices = slices
        self._seen: set[tuple[int, bytes]] = set()

    def keeps(self, partition: int, key: bytes, value: bytes | None, at_ms: int) -> bool:
        if self._slices > 1 and crc32(key) % self._slices != self._slice:
            return True
        if (partition, key) in self._seen:
            return False
        self._seen.add((partition, key))
        return value is not None or at_ms >= self._before_ms


def compact_memory(log: Log, tombstones_before_ms: int) -> tuple[int, int]:
    """Keep the latest record of each key in memory. Returns bytes freed and records kept."""
    freed = log.replace(_compacted(log.records, CompactionFilter(tombstones_before_ms)))
    return freed, len(log.records)


def _compacted(records: Iterable[Record], latest: CompactionFilter) -> list[Record]:
    newest_first = reversed(list(records))
    kept = [r for r in newest_first if latest.keeps(r.partition, r.key, r.value, r.timestamp_ms)]
    return kept[::-1]


async def compact_journal(
    journal: Journal, writer: ThreadWorker, log: Log, tombstones_before_ms: int, *, new_records_min: int
) -> int:
    """Keep the latest record of each key on disk, once the topic has doubled. Returns records dropped."""
    name, upto = log.topic.name, log.next
    last = await writer(journal.compaction_state, name)
    if not last.due(upto, new_records_min):
        return 0
    slices = max(1, ceil((upto - last.upto + last.kept) / KEYS_MAX))
    dropped = kept = 0
    for number in range(slices):
        latest = CompactionFilter(tombstones_before_ms, slice_number=number, slices=slices)
        below, kept = upto, 0
        while below > 0:
            below, step_kept, step_dropped = await writer(_compact_step, journal, name, latest, below)
            kept += step_kept
            dropped += step_dropped
    await writer(journal.set_compaction_state, name, CompactionState(upto, kept))
    return dropped


def _compact_step(journal: Journal, topic: str, latest: CompactionFilter, below: int) -> tuple[int, int, int]:
    """The offset below which the next step continues, and records kept and dropped in this one."""
    batches = journal.newest_below(topic, below, STEP_BATCHES_MAX)
    changed: dict[int, RecordBatch | None] = {}
    kept = dropped = 0
    for batch in batches:
        rows = [row for row in reversed(batch.rows) if latest.keeps(row[1], row[2], row[3], row[5])][::-1]
        kept += len(rows)
        if len(rows) < len(batch.rows):
            dropped += len(batch.rows) - len(rows)
            changed[batch.first] = batch._replace(rows=rows) if rows else None
    if changed:
        journal.rewrite(topic, changed)
    return (batches[-1].first if batches else 0), kept, dropped

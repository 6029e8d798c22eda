"""Retention and compaction: what leaves the log, and when. In small steps, so that publishes go between them.

Compaction reads newest first and drops every record whose key it has seen. The keys of a large topic are seen in
slices, one pass each, so that what is remembered stays bounded.
"""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final
from zlib import crc32

from airy.bus.journal import Batch, Journal
from airy.bus.log import Compacted, Log
from airy.bus.record import Record
from airy.bus.worker import Worker

KEYS_MAX: Final = 100_000
STEP_BATCHES_MAX: Final = 8


class Sieve:
    """Shown records newest first, keeps the latest of each key. Old tombstones have done their work and go too."""

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


def expire(log: Log, before_ms: int) -> int:
    """Drop what is older, in memory. Returns the bytes freed."""
    starts: dict[int, int] = {}
    for record in log.records:
        if record.timestamp_ms >= before_ms:
            break
        starts[record.partition] = record.offset + 1
    return log.truncate(starts)


def compact(log: Log, tombstones_before_ms: int) -> tuple[int, int]:
    """Keep the latest of each key, in memory. Returns the bytes freed, and how many records remain."""
    freed = log.keep(_sifted(log.records, Sieve(tombstones_before_ms)))
    return freed, len(log.records)


def _sifted(records: Iterable[Record], sieve: Sieve) -> list[Record]:
    newest_first = reversed(list(records))
    kept = [r for r in newest_first if sieve.keeps(r.partition, r.key, r.value, r.timestamp_ms)]
    return kept[::-1]


async def expire_journal(journal: Journal, writer: Worker, log: Log, before_ms: int) -> int:
    """Drop batches with nothing newer, on disk and in memory. Returns the bytes freed in memory."""
    freed = 0
    while starts := await writer(_expire_some, journal, log.topic.name, before_ms):
        freed += log.truncate(starts)
    return freed


def _expire_some(journal: Journal, topic: str, before_ms: int) -> Mapping[int, int]:
    """Where partitions start afterwards: behind what of theirs is gone. Empty when nothing is old enough."""
    starts: dict[int, int] = {}
    gone: dict[int, None] = {}
    for batch in journal.oldest(topic, STEP_BATCHES_MAX):
        if batch.newest_ms >= before_ms:
            break
        gone[batch.first] = None
        starts |= {partition: batch.first + past + 1 for past, partition, *_ in batch.rows}
    if gone:
        journal.rewrite(topic, gone, starts=starts)
    return starts


async def compact_journal(
    journal: Journal, writer: Worker, log: Log, tombstones_before_ms: int, *, fresh_records_min: int
) -> int:
    """Drop what newer records replace, on disk, once the topic has doubled. Returns how many records went."""
    name, upto = log.topic.name, log.next
    last = await writer(journal.compacted, name)
    if not last.again(upto, fresh_records_min):
        return 0
    slices = max(1, ceil((upto - last.upto + last.kept) / KEYS_MAX))
    dropped = kept = 0
    for number in range(slices):
        sieve = Sieve(tombstones_before_ms, slice_number=number, slices=slices)
        below, kept = upto, 0
        while below > 0:
            below, some_kept, some_dropped = await writer(_compact_some, journal, name, sieve, below)
            kept += some_kept
            dropped += some_dropped
    await writer(journal.note_compacted, name, Compacted(upto, kept))
    return dropped


def _compact_some(journal: Journal, topic: str, sieve: Sieve, below: int) -> tuple[int, int, int]:
    """Where the next step goes on, and how many records were kept and dropped in this one."""
    batches = journal.newest_below(topic, below, STEP_BATCHES_MAX)
    changed: dict[int, Batch | None] = {}
    kept = dropped = 0
    for batch in batches:
        rows = [row for row in reversed(batch.rows) if sieve.keeps(row[1], row[2], row[3], row[5])][::-1]
        kept += len(rows)
        if len(rows) < len(batch.rows):
            dropped += len(batch.rows) - len(rows)
            changed[batch.first] = batch._replace(rows=rows) if rows else None
    if changed:
        journal.rewrite(topic, changed)
    return (batches[-1].first if batches else 0), kept, dropped

"""The records of one topic in memory. Not durable, and never waits: the storage around it does both.

Offsets are assigned per topic: one list holds all partitions in write order, one append-only table is all a journal
needs, and within a partition offsets have gaps, as in Kafka.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from airy.bus.record import ProducerRecord, Record
from airy.bus.topic import Topic

OVERHEAD_BYTES: Final = 200
"""Approximate memory of a record beyond its key, value and headers."""

SCAN_RECORDS_MAX: Final = 10_000
NEAR_RECORDS: Final = 128

_OFFSET = attrgetter("offset")


class OffsetRange(NamedTuple):
    """Of a partition: the first readable offset, and the next one to be written."""

    start: int
    end: int


class ReadResult(NamedTuple):
    """Records, the offset to continue from, and an upper bound on the size of the records."""

    records: list[Record]
    next: int
    size: int


class CompactionState(NamedTuple):
    """The last compaction of a topic: up to which offset it ran, and how many records it kept."""

    upto: int = 0
    kept: int = 0

    def due(self, upto: int, new_records_min: int) -> bool:
        """Once new records equal the kept ones, so that a record is examined a few times in its life only."""
        return upto - self.upto >= max(new_records_min, self.kept)


class Log:
    """Records below `cached_from` are in the journal only."""

    __slots__ = ("_records", "_widest", "cached_from", "ends", "next", "removed_below", "starts", "topic", "wakers")

    def __init__(self, topic: Topic[Any], ranges: Sequence[OffsetRange] | None = None) -> None:
        ranges = ranges or [OffsetRange(0, 0)] * topic.partitions
        self.topic = topic
        self.starts = [each.start for each in ranges]
        self.ends = [each.end for each in ranges]
        self.next = max(self.ends)  # the offset of the next record, whatever its partition
        self.cached_from = self.next
        self.removed_below = max(self.starts)  # from here on no partition has lost a record
        self.wakers: dict[Callable[[], None], None] = {}  # a dict: called in the order they were added
        self._records: list[Record] = []
        self._widest = 0  # the size of the largest record, so that few have to be measured

    def count_from(self, wanted: Mapping[int, int]) -> int:
        """At most how many records there are from a start offset per partition: counted if they are a few in memory,
        else by their offsets, which count the records of all partitions together.
        """
        behind = {partition: start for partition, start in wanted.items() if start < self.ends[partition]}
        if not behind:
            return 0
        first = min(behind.values())
        index = self._index(first)
        if first >= self.cached_from and len(self._records) - index <= SCAN_RECORDS_MAX:
            return sum(each.offset >= behind.get(each.partition, self.next) for each in self._records[index:])
        return min(self.next - first, sum(self.ends[each] - start for each, start in behind.items()))

    def partition_counts_from(self, wanted: Mapping[int, int]) -> dict[int, int]:
        """How many records there are from a start offset per partition, among the last ones in memory. Partitions whose
        start is before those are left out.
        """
        scanned = self._records[-SCAN_RECORDS_MAX:]
        known_from = scanned[0].offset if len(scanned) < len(self._records) else self.cached_from
        counts = {each: 0 for each, start in wanted.items() if start >= known_from or start >= self.ends[each]}
        first = min((wanted[each] for each in counts), default=self.next)
        for record in self._records[self._index(first) :]:
            if record.partition in counts and record.offset >= wanted[record.partition]:
                counts[record.partition] += 1
        return counts

    @property
    def records(self) -> Sequence[Record]:
        return self._records

    def append(self, records: list[Record], ends: Mapping[int, int], widest: int) -> None:
        """Make records readable, none of which is larger than `widest`, and wake each reader once."""
        self._records += records
        self._widest = max(self._widest, widest)
        for partition, end in ends.items():
            self.ends[partition] = end
        self.next = records[-1].offset + 1
        for wake in self.wakers:
            wake()

    def read(
        self, offset: int, wanted: Mapping[int, int] | None, *, records_max: int, bytes_max: int, force: bool
    ) -> ReadResult:
        """Everything from `offset` on (not below `cached_from`), or what is `wanted`: a start offset per partition.

        With `force` the first record is returned whatever its size.
        """
        index = self._index(offset)
        if wanted is None:
            stop = index + records_max
            records = self._records[index:stop]
        else:
            stop = index + SCAN_RECORDS_MAX
            scanned = self._records[index:stop]
            records = [record for record in scanned if record.offset >= wanted.get(record.partition, self.next)]
        following = self.next if stop >= len(self._records) else self._records[stop].offset
        count = min(len(records), records_max)
        size = count * self._widest
        if size > bytes_max:
            count, size = fitting(records[:count], bytes_max, force=force)
        if count < len(records):
            return ReadResult(records[:count], records[count].offset, size)
        return ReadResult(records, following, size)

    def evict(self, below: int) -> int:
        """Drop records below an offset from memory; the journal still has them. Returns bytes freed."""
        self.cached_from = max(self.cached_from, min(below, self.next))
        return self._drop(below)

    def truncate(self, starts: Mapping[int, int]) -> int:
        """Set where partitions start, and drop every record before the last of these. Returns bytes freed."""
        for partition, start in starts.items():
            self.starts[partition] = max(self.starts[partition], start)
        self.removed_below = max(self.starts)
        return self._drop(max(starts.values(), default=0))

    def replace(self, kept: list[Record]) -> int:
        """Keep only these of the records: compaction. Returns bytes freed."""
        freed = memory_bytes(self._records) - memory_bytes(kept)
        self._records = kept
        return freed

    def _drop(self, below: int) -> int:
        index = self._index(below)
        freed = memory_bytes(self._records[:index])
        del self._records[:index]
        return freed

    def _index(self, offset: int) -> int:
        """Of the first record at or above `offset`. Searches the end first, where most readers are."""
        records = self._records
        near = max(0, len(records) - NEAR_RECORDS)
        if near and records[near].offset > offset:
            return bisect_left(records, offset, 0, near, key=_OFFSET)
        return bisect_left(records, offset, near, key=_OFFSET)


def size_of(record: ProducerRecord | Record) -> int:
    """Bytes of key, value and headers: what every byte limit counts."""
    total = len(record.key) + len(record.value or b"")
    for name, value in record.headers:
        total += len(name) + len(value)
    return total


def memory_bytes(records: Iterable[Record]) -> int:
    """The memory these records take."""
    return sum(size_of(record) + OVERHEAD_BYTES for record in records)


def fitting(records: Sequence[Record], bytes_max: int, *, force: bool) -> tuple[int, int]:
    """How many of these fit, and their size. With `force` the first always fits, or it could never be read."""
    total = 0
    for number, record in enumerate(records):
        size = size_of(record)
        if total + size > bytes_max and not (force and number == 0):
            return number, total
        total += size
    return len(records), total

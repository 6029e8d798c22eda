"""The records of a topic that are in memory. Not durable, and it never waits: the bus around it does both.

Offsets are handed out per topic: one list holds all partitions in the order they were written, one append-only table
is all a journal needs, and within a partition offsets have gaps, as a cluster's do.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from airy.bus.record import Emit, Record
from airy.bus.topic import Topic

OVERHEAD_BYTES: Final = 200
"""What a record in memory costs beyond its bytes, roughly."""

SCAN_RECORDS_MAX: Final = 10_000
NEAR_RECORDS: Final = 128

_OFFSET = attrgetter("offset")


class Span(NamedTuple):
    """Of a partition: the first offset that may be read, the next to be written."""

    start: int
    end: int


class Found(NamedTuple):
    """What a read gave, the offset to go on from, and what the records weigh at most."""

    records: list[Record]
    next: int
    weight: int


class Compacted(NamedTuple):
    """What the last compaction of a topic saw: up to which offset, and how many records remained."""

    upto: int = 0
    kept: int = 0

    def again(self, upto: int, fresh_records_min: int) -> bool:
        """Once as much is new as is old, so that a record is looked at a few times in its life, not always."""
        return upto - self.upto >= max(fresh_records_min, self.kept)


class Log:
    """One topic. Records below `hot` are only in the journal."""

    __slots__ = ("_records", "_widest", "ends", "gone", "hot", "next", "starts", "topic", "wakers")

    def __init__(self, topic: Topic[Any], spans: Sequence[Span] | None = None) -> None:
        spans = spans or [Span(0, 0)] * topic.partitions
        self.topic = topic
        self.starts = [span.start for span in spans]
        self.ends = [span.end for span in spans]
        self.next = max(self.ends)  # the offset the next record gets, whatever its partition
        self.hot = self.next
        self.gone = max(self.starts)  # at or above this, nothing that is read can be gone
        self.wakers: dict[Callable[[], None], None] = {}  # a dict: woken in the order they came
        self._records: list[Record] = []
        self._widest = 0  # no record weighs more: so few have to be weighed

    @property
    def records(self) -> Sequence[Record]:
        return self._records

    def append(self, records: list[Record], ends: Mapping[int, int], widest: int) -> None:
        """Let records be read, none of which weighs more than `widest`, and wake whoever reads here, once."""
        self._records += records
        self._widest = max(self._widest, widest)
        for partition, end in ends.items():
            self.ends[partition] = end
        self.next = records[-1].offset + 1
        for wake in self.wakers:
            wake()

    def read(
        self, offset: int, wanted: Mapping[int, int] | None, *, records_max: int, bytes_max: int, force: bool
    ) -> Found:
        """From `offset` (not below `hot`) on, everything; or what is `wanted`, by partition from an offset on.

        With `force` the first record comes whatever it weighs.
        """
        index = self._index(offset)
        if wanted is None:
            stop = index + records_max
            records = self._records[index:stop]
        else:
            stop = index + SCAN_RECORDS_MAX
            some = self._records[index:stop]
            records = [record for record in some if record.offset >= wanted.get(record.partition, self.next)]
        following = self.next if stop >= len(self._records) else self._records[stop].offset
        count = min(len(records), records_max)
        size = count * self._widest
        if size > bytes_max:
            count, size = fit(records[:count], bytes_max, force=force)
        if count < len(records):
            return Found(records[:count], records[count].offset, size)
        return Found(records, following, size)

    def forget(self, below: int) -> int:
        """Drop records below an offset from memory; a journal still has them. Returns the bytes freed."""
        self.hot = max(self.hot, min(below, self.next))
        return self._drop(below)

    def truncate(self, starts: Mapping[int, int]) -> int:
        """Partitions begin here now, and everything before the last of these is gone. Returns the bytes freed."""
        for partition, start in starts.items():
            self.starts[partition] = max(self.starts[partition], start)
        self.gone = max(self.starts)
        return self._drop(max(starts.values(), default=0))

    def keep(self, kept: list[Record]) -> int:
        """Compaction: only these of the records remain. Returns the bytes freed."""
        freed = held(self._records) - held(kept)
        self._records = kept
        return freed

    def _drop(self, below: int) -> int:
        index = self._index(below)
        freed = held(self._records[:index])
        del self._records[:index]
        return freed

    def _index(self, offset: int) -> int:
        """Of the first record at or above `offset`. Most readers are near the end."""
        records = self._records
        near = max(0, len(records) - NEAR_RECORDS)
        if near and records[near].offset > offset:
            return bisect_left(records, offset, 0, near, key=_OFFSET)
        return bisect_left(records, offset, near, key=_OFFSET)


def weight(record: Emit | Record) -> int:
    """What a record counts for in every bound on bytes."""
    total = len(record.key) + len(record.value or b"")
    for name, value in record.headers:
        total += len(name) + len(value)
    return total


def held(records: Iterable[Record]) -> int:
    """The bytes these take in memory."""
    return sum(weight(record) + OVERHEAD_BYTES for record in records)


def fit(records: Sequence[Record], bytes_max: int, *, force: bool) -> tuple[int, int]:
    """How many of these fit, and what they weigh. With `force` the first does, or it could never be read."""
    total = 0
    for number, record in enumerate(records):
        size = weight(record)
        if total + size > bytes_max and not (force and number == 0):
            return number, total
        total += size
    return len(records), total

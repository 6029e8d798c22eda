"""The records of a topic that are in memory. Not durable, and it never waits: the bus around it does both.

Offsets are handed out per topic, so within a partition they have gaps, as a cluster's do; and one append-only table
per topic is all a journal needs. Below `hot` the records of a partition are only in the journal.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Final, NamedTuple

from airy.bus.record import Emit, Record
from airy.bus.topic import Topic

OVERHEAD_BYTES: Final = 200
"""What a record in memory costs beyond its bytes, roughly."""

_OFFSET = attrgetter("offset")


def weight(record: Emit | Record) -> int:
    """What a record counts for in every bound on bytes."""
    total = len(record.key)
    if record.value is not None:
        total += len(record.value)
    if record.headers:
        for name, value in record.headers:
            total += len(name) + len(value)
    return total


class Slice(NamedTuple):
    """What a read gave: records, their weight, and the offset to go on from."""

    records: list[Record]
    weight: int
    next: int


class Log:
    """One partition. `start` is the first offset that may be read, `end` the next to be written."""

    __slots__ = ("_records", "_totals", "end", "hot", "start", "topic", "wakers", "where")

    def __init__(self, topic: Topic[object], partition: int, *, start: int, end: int) -> None:
        self.topic = topic
        self.where = topic.where[partition]
        self.start = start
        self.end = end
        self.hot = end
        self.wakers: dict[Callable[[], None], None] = {}  # a dict: woken in the order they came
        self._records: list[Record] = []
        self._totals = [0]  # running sums: _totals[i] is the weight of everything before _records[i]

    @property
    def records(self) -> Sequence[Record]:
        return self._records

    @property
    def bytes_held(self) -> int:
        return self._totals[-1] - self._totals[0] + OVERHEAD_BYTES * len(self._records)

    def append(self, records: list[Record], weights: list[int]) -> None:
        """Let records be read, and wake whoever reads here, once."""
        weights[0] += self._totals[-1]
        self._totals += accumulate(weights)
        self._records += records
        self.end = records[-1].offset + 1
        for wake in tuple(self.wakers):
            wake()

    def read(self, offset: int, *, records_max: int, bytes_max: int, force: bool) -> Slice:
        """From `offset` (not below `hot`) on. With `force` the first record comes whatever it weighs."""
        index = self._index(offset)
        if index >= len(self._records):
            return Slice([], 0, self.end)
        totals = self._totals
        stop = min(index + records_max, len(self._records))
        if totals[stop] - totals[index] > bytes_max:
            stop = bisect_right(totals, totals[index] + bytes_max, index, stop) - 1
        if stop == index and force:
            stop += 1
        if stop == index:
            return Slice([], 0, offset)
        records = self._records[index:stop]
        following = self.end if stop == len(self._records) else records[-1].offset + 1
        return Slice(records, totals[stop] - totals[index], following)

    def forget(self, below: int) -> int:
        """Drop records below an offset from memory; a journal still has them. Returns the bytes freed."""
        before = self.bytes_held
        index = self._index(below)
        del self._records[:index]
        del self._totals[:index]
        self.hot = max(self.hot, min(below, self.end))
        return before - self.bytes_held

    def truncate(self, start: int) -> int:
        """The partition begins at `start` now. Returns the bytes freed."""
        if start <= self.start:
            return 0
        self.start = start
        return self.forget(start)

    def keep(self, kept: list[Record]) -> int:
        """Compaction: only these of the records remain. Returns the bytes freed."""
        before = self.bytes_held
        self._records = kept
        self._totals = [0, *accumulate(map(weight, kept))]
        return before - self.bytes_held

    def _index(self, offset: int) -> int:
        """Of the first record at or above `offset`."""
        records = self._records
        if not records or offset <= records[0].offset:
            return 0
        if offset > records[-1].offset:
            return len(records)
        return bisect_left(records, offset, key=_OFFSET)


class TopicLog:
    """All partitions of a topic and the next offset any of them gets."""

    __slots__ = ("next", "partitions", "topic")

    def __init__(self, topic: Topic[object], spans: Sequence[tuple[int, int]] | None = None) -> None:
        spans = spans or [(0, 0)] * topic.partitions
        self.topic = topic
        self.partitions = [
            Log(topic, number, start=start, end=end) for number, (start, end) in enumerate(spans)
        ]
        self.next = max(end for _, end in spans)


class Compacted(NamedTuple):
    """What the last compaction of a topic saw: up to which offset, and how many records remained."""

    upto: int = 0
    kept: int = 0

    def again(self, upto: int, fresh_records_min: int) -> bool:
        """Once as much is new as is old, so that a record is looked at a few times in its life, not every time."""
        return upto - self.upto >= max(fresh_records_min, self.kept)

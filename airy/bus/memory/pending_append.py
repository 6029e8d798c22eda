"""Records that have their offsets but are not readable yet: a publish before it is in the log."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import overload

from airy.bus.memory.log import Log, size_of
from airy.bus.record import Position, ProducerRecord, Record
from airy.bus.record_size import HEADERS_BYTES_MAX, check_size
from airy.errors import Refused


def declared_log(logs: Mapping[str, Log], name: str, partition: int = 0) -> Log:
    """Raises `Refused` for a topic or partition that is not declared."""
    log = logs.get(name)
    if log is None:
        raise Refused(f"there is no topic {name!r}: declare it in airy/topics.py", field="topic")
    if not 0 <= partition < len(log.ends):
        text = f"{name} has partitions 0 to {len(log.ends) - 1}, not {partition}"
        raise Refused(text, field="partition")
    return log


def total_size(records: Sequence[ProducerRecord], logs: Mapping[str, Log], *, record_bytes_max: int) -> int:
    """In bytes. Raises `Refused` for a record that cannot be written."""
    total = 0
    for record in records:
        declared_log(logs, record.topic, record.partition)
        size = size_of(record)
        if size > min(record_bytes_max, HEADERS_BYTES_MAX):
            check_size(record, record_bytes_max)
        total += size
    return total


class LazyPositions(Sequence[Position]):
    """Positions of records, created on access: a caller that publishes many records rarely looks at them."""

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Position: ...
    @overload
    def __getitem__(self, index: slice) -> list[Position]: ...
    def __getitem__(self, index: int | slice) -> Position | list[Position]:
        if isinstance(index, slice):
            return [record.position for record in self._records[index]]
        return self._records[index].position


class PendingAppend:
    """The log moves on only in `apply`, so an append that is discarded has used no offsets."""

    def __init__(self, logs: Mapping[str, Log], *, now_ms: int, record_bytes_max: int) -> None:
        self._logs = logs
        self._now_ms = now_ms
        self._record_bytes_max = record_bytes_max
        self._unchecked_bytes_max = min(record_bytes_max, HEADERS_BYTES_MAX)  # up to this size every limit is kept
        self._ends: dict[str, dict[int, int]] = {}
        self.records: dict[str, list[Record]] = {}  # by topic, in offset order
        self.size = 0  # of all records, in bytes
        self._widest = 0

    def add(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        """Raises `Refused` for a record that cannot be written; the pending append is unusable then."""
        if len({record.topic for record in records}) == 1:
            return LazyPositions(self._add(records[0].topic, records))
        runs = groupby(records, attrgetter("topic"))
        return LazyPositions([record for topic, run in runs for record in self._add(topic, list(run))])

    def apply(self) -> None:
        """Make the records readable, and wake readers that wait for them."""
        for topic, records in self.records.items():
            self._logs[topic].append(records, self._ends[topic], self._widest)

    def _add(self, topic: str, given: Sequence[ProducerRecord]) -> list[Record]:
        """Records of one topic. The hottest lines of the bus: comprehensions, because they cost a tenth less."""
        pending = self.records.setdefault(topic, [])
        first = declared_log(self._logs, topic).next + len(pending)
        sizes = [size_of(each) if each.headers else len(each.key) + len(each.value or b"") for each in given]
        if max(sizes) > self._unchecked_bytes_max:
            for each in given:
                check_size(each, self._record_bytes_max)
        now_ms = self._now_ms
        records = [
            Record(
                topic,
                each.partition,
                offset,
                each.key,
                each.value,
                each.headers,
                now_ms if each.timestamp_ms is None else each.timestamp_ms,
            )
            for offset, each in enumerate(given, first)
        ]
        ends = {record.partition: record.offset + 1 for record in records}
        for partition in ends:
            declared_log(self._logs, topic, partition)
        self._ends.setdefault(topic, {}).update(ends)
        self._widest = max(self._widest, *sizes)
        self.size += sum(sizes)
        pending += records
        return records

"""Records that have their offsets but are not readable yet: what a publish is before it is in the log."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, overload

from airy.bus.api import RecordTooLarge
from airy.bus.log import Log, weight
from airy.bus.record import Emit, Position, Record
from airy.errors import Refused

HEADERS_BYTES_MAX: Final = 65_536
"""Counted apart from key and value: what fits then fits as a dead letter too, which has more headers."""


def find(logs: Mapping[str, Log], name: str, partition: int = 0) -> Log:
    """Raises `Refused` for what is not declared."""
    log = logs.get(name)
    if log is None:
        raise Refused(f"there is no topic {name!r}: declare it in airy/topics.py", field="topic")
    if not 0 <= partition < len(log.ends):
        text = f"{name} has partitions 0 to {len(log.ends) - 1}, not {partition}"
        raise Refused(text, field="partition")
    return log


def check_size(emit: Emit, record_bytes_max: int) -> None:
    """Raises `RecordTooLarge`."""
    body = len(emit.key) + len(emit.value or b"")
    if body > record_bytes_max:
        text = f"a record for {emit.topic} has {body} bytes"
        raise RecordTooLarge(f"{text}: at most {record_bytes_max} fit, send less", field="value")
    headers = weight(emit) - body
    if headers > HEADERS_BYTES_MAX:
        text = f"a record for {emit.topic} has {headers} bytes of headers"
        raise RecordTooLarge(f"{text}: at most {HEADERS_BYTES_MAX} fit, send fewer", field="headers")


def weigh(emits: Sequence[Emit], logs: Mapping[str, Log], *, record_bytes_max: int) -> int:
    """What they weigh together. Raises `Refused` for what cannot be written."""
    total = 0
    for emit in emits:
        find(logs, emit.topic, emit.partition)
        size = weight(emit)
        if size > min(record_bytes_max, HEADERS_BYTES_MAX):
            check_size(emit, record_bytes_max)
        total += size
    return total


class Positions(Sequence[Position]):
    """Of some records, made when somebody looks at one: who publishes many seldom does."""

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


class Draft:
    """Offsets are taken when it is entered in the log, so a draft that is dropped has used none up."""

    def __init__(self, logs: Mapping[str, Log], *, now_ms: int, record_bytes_max: int) -> None:
        self._logs = logs
        self._now_ms = now_ms
        self._record_bytes_max = record_bytes_max
        self._small = min(record_bytes_max, HEADERS_BYTES_MAX)  # what is no larger needs no closer look
        self._ends: dict[str, dict[int, int]] = {}
        self.records: dict[str, list[Record]] = {}  # by topic, in the order of their offsets
        self.total = 0  # their weight
        self._widest = 0

    def add(self, emits: Sequence[Emit]) -> Sequence[Position]:
        """Raises `Refused` for what cannot be written; the draft is good for nothing then."""
        if len({emit.topic for emit in emits}) == 1:
            return Positions(self._add(emits[0].topic, emits))
        runs = groupby(emits, attrgetter("topic"))
        return Positions([record for topic, run in runs for record in self._add(topic, list(run))])

    def enter(self) -> None:
        """Make them readable, and wake who waits for them."""
        for topic, records in self.records.items():
            self._logs[topic].append(records, self._ends[topic], self._widest)

    def _add(self, topic: str, emits: Sequence[Emit]) -> list[Record]:
        """All of one topic. The hottest lines of the bus: comprehensions, because they cost a tenth less."""
        written = self.records.setdefault(topic, [])
        first = find(self._logs, topic).next + len(written)
        sizes = [weight(emit) if emit.headers else len(emit.key) + len(emit.value or b"") for emit in emits]
        if max(sizes) > self._small:
            for emit in emits:
                check_size(emit, self._record_bytes_max)
        now_ms = self._now_ms
        records = [
            Record(
                topic,
                emit.partition,
                offset,
                emit.key,
                emit.value,
                emit.headers,
                now_ms if emit.timestamp_ms is None else emit.timestamp_ms,
            )
            for offset, emit in enumerate(emits, first)
        ]
        ends = {record.partition: record.offset + 1 for record in records}
        for partition in ends:
            find(self._logs, topic, partition)
        self._ends.setdefault(topic, {}).update(ends)
        self._widest = max(self._widest, *sizes)
        self.total += sum(sizes)
        written += records
        return records

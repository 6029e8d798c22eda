"""Records that have their offsets but are not readable yet: what a publish is before it is in the log."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from airy.bus.api import RecordTooLarge
from airy.bus.log import Log, weight
from airy.bus.record import Emit, Position, Record
from airy.errors import Refused

HEADERS_BYTES_MAX: Final = 65_536
"""Counted apart from key and value: what fits then fits as a dead letter too, which has more headers."""


class Load(NamedTuple):
    """What some records weigh together, and the heaviest of them."""

    total: int
    widest: int


def weigh(emits: Sequence[Emit], *, record_bytes_max: int) -> Load:
    """Raises `RecordTooLarge`."""
    weights = [weight(emit) if emit.headers else len(emit.key) + len(emit.value or b"") for emit in emits]
    widest = max(weights)
    if widest > min(record_bytes_max, HEADERS_BYTES_MAX):
        for emit, total in zip(emits, weights, strict=True):
            _check_size(emit, total, record_bytes_max)
    return Load(sum(weights), widest)


def _check_size(emit: Emit, total: int, record_bytes_max: int) -> None:
    body = len(emit.key) + len(emit.value or b"")
    if body > record_bytes_max:
        text = f"a record for {emit.topic} has {body} bytes"
        raise RecordTooLarge(f"{text}: at most {record_bytes_max} fit, send less", field="value")
    if total - body > HEADERS_BYTES_MAX:
        text = f"a record for {emit.topic} has {total - body} bytes of headers"
        raise RecordTooLarge(f"{text}: at most {HEADERS_BYTES_MAX} fit, send fewer", field="headers")


def find(logs: Mapping[str, Log], name: str, partition: int = 0) -> Log:
    """Raises `Refused` for what is not declared."""
    log = logs.get(name)
    if log is None:
        raise Refused(f"there is no topic {name!r}: declare it in airy/topics.py", field="topic")
    if not 0 <= partition < len(log.ends):
        text = f"{name} has partitions 0 to {len(log.ends) - 1}, not {partition}"
        raise Refused(text, field="partition")
    return log


class Draft:
    """Offsets are taken when it is entered in the log, so a draft that is dropped has used none up."""

    def __init__(self, logs: Mapping[str, Log], now_ms: int) -> None:
        self._logs = logs
        self._now_ms = now_ms
        self._ends: dict[str, dict[int, int]] = {}
        self.records: dict[str, list[Record]] = {}  # by topic, in the order of their offsets

    def add(self, emits: Sequence[Emit]) -> list[Position]:
        """Raises `Refused` for a partition there is not; the draft is good for nothing then."""
        positions: list[Position] = []
        now_ms = self._now_ms
        make = tuple.__new__  # half of what calling Position costs, and there is no hotter loop
        topic = ""
        for emit in emits:
            if emit.topic is not topic:
                topic = emit.topic
                log = find(self._logs, topic)
                records = self.records.setdefault(topic, [])
                ends = self._ends.setdefault(topic, {})
                offset = log.next + len(records)
            partition, at_ms = emit.partition, emit.timestamp_ms
            if at_ms is None:
                at_ms = now_ms
            records.append(Record(topic, partition, offset, emit.key, emit.value, emit.headers, at_ms))
            positions.append(make(Position, (topic, partition, offset)))
            offset += 1
            ends[partition] = offset
        for topic, ends in self._ends.items():
            for partition in ends:
                find(self._logs, topic, partition)
        return positions

    def enter(self, widest: int) -> None:
        """Make them readable, and wake who waits for them. None weighs more than `widest`."""
        for topic, records in self.records.items():
            self._logs[topic].append(records, self._ends[topic], widest)

"""Records that have their offsets but are not readable yet: what a publish becomes before it is in the log."""

from collections.abc import Mapping, Sequence
from typing import Final

from airy.bus.api import RecordTooLarge
from airy.bus.log import OVERHEAD_BYTES, Log, TopicLog, weight
from airy.bus.record import Emit, Position, Record
from airy.errors import Refused

HEADERS_BYTES_MAX: Final = 65_536
"""Counted apart from key and value, so that whatever fits fits as a dead letter too, which has more headers."""


def weigh(emits: Sequence[Emit], topics: Mapping[str, TopicLog], *, record_bytes_max: int) -> list[int]:
    """The weight of each. Raises `Refused` for a partition there is not, `RecordTooLarge`."""
    for emit in emits:
        known = topics.get(emit.topic)
        if known is None or not 0 <= emit.partition < known.topic.partitions:
            raise unknown(topics, emit.topic, emit.partition)
    weights = list(map(weight, emits))
    if max(weights) > min(record_bytes_max, HEADERS_BYTES_MAX):
        for emit, total in zip(emits, weights, strict=True):
            _check_size(emit, total, record_bytes_max)
    return weights


def _check_size(emit: Emit, total: int, record_bytes_max: int) -> None:
    body = len(emit.key) + len(emit.value or b"")
    if body > record_bytes_max:
        text = f"a record for {emit.topic} has {body} bytes"
        raise RecordTooLarge(f"{text}: at most {record_bytes_max} fit, send less", field="value")
    if total - body > HEADERS_BYTES_MAX:
        text = f"a record for {emit.topic} has {total - body} bytes of headers"
        raise RecordTooLarge(f"{text}: at most {HEADERS_BYTES_MAX} fit, send fewer", field="headers")


def unknown(topics: Mapping[str, TopicLog], name: str, partition: int) -> Refused:
    if name not in topics:
        return Refused(f"there is no topic {name!r}: declare it in airy/topics.py", field="topic")
    count = topics[name].topic.partitions
    return Refused(f"{name} has partitions 0 to {count - 1}, not {partition}", field="partition")


class Draft:
    """Offsets are taken when it is entered in the log, so a draft that is dropped has used none up."""

    def __init__(self, topics: Mapping[str, TopicLog], now_ms: int) -> None:
        self._topics = topics
        self._now_ms = now_ms
        self._fresh: dict[Log, tuple[list[Record], list[int]]] = {}
        self.records: dict[str, list[Record]] = {}  # by topic, in the order of their offsets

    def add(self, emits: Sequence[Emit], weights: Sequence[int]) -> list[Position]:
        """All of them are checked: see `weigh`."""
        positions = []
        fresh, topics, now_ms = self._fresh, self._topics, self._now_ms
        for emit, size in zip(emits, weights, strict=True):
            topic, partition, at_ms = emit.topic, emit.partition, emit.timestamp_ms
            log_of = topics[topic]
            log = log_of.partitions[partition]
            if topic not in self.records:
                self.records[topic] = []
            written = self.records[topic]
            offset = log_of.next + len(written)
            record = Record(
                topic,
                partition,
                offset,
                emit.key,
                emit.value,
                emit.headers,
                now_ms if at_ms is None else at_ms,
            )
            written.append(record)
            if log not in fresh:
                fresh[log] = [], []
            records, sizes = fresh[log]
            records.append(record)
            sizes.append(size)
            positions.append(Position(topic, partition, offset))
        return positions

    def enter(self) -> dict[str, int]:
        """Make them readable, and wake who waits for them. Returns the bytes they hold in memory, by topic."""
        held = dict.fromkeys(self.records, 0)
        for topic, written in self.records.items():
            self._topics[topic].next = written[-1].offset + 1
        for log, (records, sizes) in self._fresh.items():
            held[log.topic.name] += sum(sizes) + OVERHEAD_BYTES * len(records)
            log.append(records, sizes)
        return held

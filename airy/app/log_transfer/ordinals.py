"""Converts offsets to ordinals and back: offsets differ between backends, ordinals survive a transfer. Pure.

An ordinal is the number of records of the partition before a position. Committed offsets of groups and `Webhook.since`
are exported as ordinals and imported as the offsets the same records have in the other log. An offset without a record,
because of a gap or compaction, stands for the next record.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from airy import topics
from airy.bus.record import TopicPartition
from airy.model.entity import Webhook

Wanted = Mapping[TopicPartition, set[int]]
Convert = Callable[[TopicPartition, int], int]
"""An offset to its ordinal, or the reverse."""

_CHANGE_TOPICS = {topic.name: topic.partitions for topic in topics.CHANGE_TOPICS}
_decode = msgspec.json.Decoder().decode
_decode_webhook = msgspec.json.Decoder(Webhook).decode
_encode = msgspec.json.Encoder().encode


def by_partition(positions: Iterable[tuple[TopicPartition, int]]) -> dict[TopicPartition, set[int]]:
    found: dict[TopicPartition, set[int]] = defaultdict(set)
    for tp, position in positions:
        found[tp].add(position)
    return found


def subscription_starts(value: bytes | None) -> Iterator[tuple[TopicPartition, int]]:
    """The positions at which a webhook's subscription starts; none if the value is no webhook."""
    for topic, positions in _since(value).items():
        for partition, position in enumerate(positions[: _CHANGE_TOPICS[topic]]):
            yield TopicPartition(topic, partition), position


def with_converted_starts(value: bytes | None, convert: Convert) -> bytes | None:
    """A webhook's record with its start positions converted; any other value unchanged.

    Other fields stay as they were written, those of other versions included.
    """
    since = _since(value)
    if value is None or not since:
        return value
    document = _decode(value)
    document["since"] = {
        topic: [
            convert(TopicPartition(topic, partition), position)
            for partition, position in enumerate(positions[: _CHANGE_TOPICS[topic]])
        ]
        for topic, positions in since.items()
    }
    return _encode(document)


def _since(value: bytes | None) -> dict[str, tuple[int, ...]]:
    """Only of topics that produce changes; positions in other topics have no meaning."""
    if value is None:
        return {}
    try:
        webhook = _decode_webhook(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {topic: positions for topic, positions in webhook.since.items() if topic in _CHANGE_TOPICS}


class Ordinals:
    """Finds the ordinals of wanted offsets while the records are read, one partition after the other."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: dict[tuple[TopicPartition, int], int] = {}
        self._partition: TopicPartition | None = None
        self._pending: deque[int] = deque()
        self._count = 0

    def begin(self, tp: TopicPartition) -> None:
        self._partition, self._count = tp, 0
        self._pending = deque(sorted(self._wanted.get(tp, ())))

    def passed(self, offset: int) -> None:
        """The next record of the partition has this offset."""
        while self._pending and self._pending[0] <= offset:
            self._resolve()
        self._count += 1

    def end(self) -> None:
        while self._pending:
            self._resolve()

    def __call__(self, tp: TopicPartition, offset: int) -> int:
        return self._found[tp, offset]

    def _resolve(self) -> None:
        assert self._partition is not None
        self._found[self._partition, self._pending.popleft()] = self._count


class Offsets:
    """Finds the offsets of wanted ordinals in the target log: one above the record before."""

    def __init__(self, wanted: Wanted, starts: Mapping[TopicPartition, int]) -> None:
        self._wanted = wanted
        self._found = {(tp, 0): start for tp, start in starts.items()}

    def add(self, tp: TopicPartition, ordinal: int, offset: int) -> None:
        """The record with this ordinal, counted from 0, is at `offset`."""
        if ordinal + 1 in self._wanted.get(tp, ()):
            self._found[tp, ordinal + 1] = offset + 1

    def __call__(self, tp: TopicPartition, ordinal: int) -> int:
        return self._found[tp, ordinal]

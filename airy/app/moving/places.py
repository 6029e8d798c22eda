"""Places in a log that survive moving it: offsets are a backend's own, ordinals are not. Pure.

An ordinal is the number of records of the partition before a place. What holds offsets is what groups committed and
`Webhook.since`; both leave as ordinals and arrive as the offsets the same records have in the other log. An offset
with no record at it, because of a gap or compaction, is the same place as the next record there is.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from airy import topics
from airy.bus.record import TopicPartition
from airy.model.entity import Webhook

Wanted = Mapping[TopicPartition, set[int]]
Move = Callable[[TopicPartition, int], int]
"""A place of one kind to the same place of the other."""

_TOLD = {topic.name: topic.partitions for topic in topics.TOLD}
_decode = msgspec.json.Decoder().decode
_decode_webhook = msgspec.json.Decoder(Webhook).decode
_encode = msgspec.json.Encoder().encode


def wanted(places: Iterable[tuple[TopicPartition, int]]) -> dict[TopicPartition, set[int]]:
    found: dict[TopicPartition, set[int]] = defaultdict(set)
    for where, place in places:
        found[where].add(place)
    return found


def places_in(value: bytes | None) -> Iterator[tuple[TopicPartition, int]]:
    """Where the subscription of a webhook begins, if the value is one."""
    for topic, places in _since(value).items():
        for partition, place in enumerate(places[: _TOLD[topic]]):
            yield TopicPartition(topic, partition), place


def moved(value: bytes | None, move: Move) -> bytes | None:
    """The value of a webhook's record with its places moved; anything else as it is.

    Everything but the places stays as it was written, fields of other versions too.
    """
    since = _since(value)
    if value is None or not since:
        return value
    document = _decode(value)
    document["since"] = {
        topic: [move(TopicPartition(topic, partition), place) for partition, place in enumerate(places[: _TOLD[topic]])]
        for topic, places in since.items()
    }
    return _encode(document)


def _since(value: bytes | None) -> dict[str, tuple[int, ...]]:
    """Of topics that make changes: what it says of others means nothing."""
    if value is None:
        return {}
    try:
        webhook = _decode_webhook(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return {topic: places for topic, places in webhook.since.items() if topic in _TOLD}


class Ordinals:
    """Offsets to ordinals, while the records of one partition after the other go by."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._found: dict[tuple[TopicPartition, int], int] = {}
        self._where: TopicPartition | None = None
        self._waiting: deque[int] = deque()
        self._count = 0

    def begin(self, where: TopicPartition) -> None:
        self._where, self._count = where, 0
        self._waiting = deque(sorted(self._wanted.get(where, ())))

    def passed(self, offset: int) -> None:
        """A record of the partition is there."""
        while self._waiting and self._waiting[0] <= offset:
            self._settle()
        self._count += 1

    def end(self) -> None:
        while self._waiting:
            self._settle()

    def __call__(self, where: TopicPartition, offset: int) -> int:
        return self._found[where, offset]

    def _settle(self) -> None:
        assert self._where is not None
        self._found[self._where, self._waiting.popleft()] = self._count


class Offsets:
    """Ordinals to the offsets they have in the log that is filled: behind the record before."""

    def __init__(self, wanted: Wanted, starts: Mapping[TopicPartition, int]) -> None:
        self._wanted = wanted
        self._found = {(where, 0): start for where, start in starts.items()}

    def holds(self, where: TopicPartition, ordinal: int, offset: int) -> None:
        """The record number `ordinal`, counted from 0, is at `offset`."""
        if ordinal + 1 in self._wanted.get(where, ()):
            self._found[where, ordinal + 1] = offset + 1

    def __call__(self, where: TopicPartition, ordinal: int) -> int:
        return self._found[where, ordinal]

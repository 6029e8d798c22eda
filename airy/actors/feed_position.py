"""A position in the changes of all partitions, and its token: where a client continues after it reconnects. Pure.

A position says which changes its owner has: in each partition all of the records below an offset and, of the record at
that offset, perhaps the first ones. The token also holds what the log is recognised by: the epoch (see `log_epoch`) and
a checksum of the last change, so that a position in another log is not taken for one in this.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

from airy import base64url, topics
from airy.actors.change_sink import ChangeId
from airy.bus.record import Position, TopicPartition
from airy.change_readers import BROADCASTER
from airy.errors import Refused
from airy.store.api import StoredChange

PARTITIONS: tuple[TopicPartition, ...] = tuple(tp for topic in BROADCASTER.topics for tp in topic.topic_partitions)
INDEX: Mapping[TopicPartition, int] = {tp: index for index, tp in enumerate(PARTITIONS)}

TOKEN_CHARS_MAX = 1_024
_VERSION = 1
_NONE = 255  # no epoch, no last change


class Epoch(NamedTuple):
    """A log is recognised by the first record of one partition: its index in `PARTITIONS`, and its fingerprint."""

    partition: int
    fingerprint: int


class LastChange(Struct, frozen=True, gc=False):
    """The last change that was delivered, whatever its partition."""

    index: int  # in PARTITIONS
    offset: int
    nth: int
    checksum: int  # of its id


class FeedPosition(Struct, frozen=True):
    """`offsets` holds the next offset of each partition of `PARTITIONS`: of the records below, all changes are
    delivered. If the offset of a partition is that of `last`, so are the first changes of the record at it.
    """

    offsets: tuple[int, ...]
    last: LastChange | None = None

    def after(self, index: int) -> ChangeId:
        """The last change of a partition that is delivered, as `ChangeReader.changes` takes it."""
        last = self.last
        if last is not None and self.partial == index:
            return last.offset, last.nth
        return self.offsets[index], -1

    @property
    def needs_folded(self) -> tuple[int, ...]:
        """Per partition, the offset up to which a store must be folded to continue here."""
        partial = self.partial
        return self.offsets if partial is None else _replaced(self.offsets, partial, self.offsets[partial] + 1)

    @property
    def reading_order(self) -> list[int]:
        """The partitions, a partial one first: a position after a change of another one could not express it."""
        first = self.partial
        return sorted(range(len(self.offsets)), key=lambda index: (index != first, index))

    @property
    def partial(self) -> int | None:
        """The partition of whose record at its offset some changes are delivered and others may not be."""
        last = self.last
        return last.index if last is not None and last.offset == self.offsets[last.index] else None

    def with_change(self, index: int, stored: StoredChange, *, complete: bool) -> "FeedPosition":
        """After the delivery of a change; `complete`: it is the last one of its record."""
        offset = stored.position.offset
        last = LastChange(index, offset, stored.nth, checksum(stored.change.id))
        return FeedPosition(_replaced(self.offsets, index, offset + complete), last)

    def with_offset(self, index: int, offset: int) -> "FeedPosition":
        """All changes below `offset` are delivered."""
        if offset <= self.offsets[index]:
            return self
        return FeedPosition(_replaced(self.offsets, index, offset), self.last)

    def read_positions(self) -> list[Position]:
        """The last record below the position in each partition that has one: what a read has to wait for."""
        return [
            Position(tp.topic, tp.partition, offset - 1)
            for tp, offset in zip(PARTITIONS, self.offsets, strict=True)
            if offset > 0
        ]


class ResumeToken(NamedTuple):
    position: FeedPosition
    epoch: Epoch | None


def position_at(offsets: Mapping[TopicPartition, int]) -> FeedPosition:
    return FeedPosition(tuple(offsets.get(tp, 0) for tp in PARTITIONS))


def checksum(change_id: str) -> int:
    return crc32(change_id.encode())


def encode(position: FeedPosition, epoch: Epoch | None) -> str:
    last = position.last
    parts = [bytes((_VERSION, len(PARTITIONS)))]
    parts.append(
        bytes((_NONE,)) if epoch is None else b"%c%b" % (epoch.partition, epoch.fingerprint.to_bytes(4, "big"))
    )
    if last is None:
        parts.append(bytes((_NONE,)))
    else:
        parts += [bytes((last.index,)), _varint(last.offset), _varint(last.nth), last.checksum.to_bytes(4, "big")]
    parts += map(_varint, position.offsets)
    return base64url.encode(b"".join(parts))


def decode(token: str) -> ResumeToken | None:
    """None: the token is of another version of Airy, or of a log with other partitions. Raises `Refused`."""
    try:
        reader = _Reader(_bytes(token))
        if (reader.byte(), reader.byte()) != (_VERSION, len(PARTITIONS)):
            return None
        return _read(reader)
    except (ValueError, IndexError):
        shown = repr(token[:64])
        raise Refused(f"not a position to resume from: {shown}; pass that of an event", field="resume") from None


def _bytes(token: str) -> bytes:
    if len(token) > TOKEN_CHARS_MAX:
        raise ValueError(token)
    return base64url.decode(token.encode("ascii"))


def _read(reader: "_Reader") -> ResumeToken:
    index = reader.byte()
    epoch = None if index == _NONE else Epoch(_valid(index), reader.number(4))
    index, last = reader.byte(), None
    if index != _NONE:
        last = LastChange(_valid(index), reader.varint(), reader.varint(), reader.number(4))
    offsets = tuple(reader.varint() for _ in PARTITIONS)
    reader.end()
    return ResumeToken(FeedPosition(offsets, last), epoch)


def _valid(index: int) -> int:
    if index >= len(PARTITIONS):
        raise ValueError(index)
    return index


def _replaced(offsets: Sequence[int], index: int, offset: int) -> tuple[int, ...]:
    return (*offsets[:index], offset, *offsets[index + 1 :])


def _varint(number: int) -> bytes:
    """Little-endian base 128, as in Protocol Buffers."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Reader:
    """Raises `ValueError` or `IndexError` at what `encode` cannot have written."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def number(self, size: int) -> int:
        return int.from_bytes(bytes(self.byte() for _ in range(size)), "big")

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if number >= 1 << 63:
            raise ValueError(number)
        return number

    def end(self) -> None:
        if self._at != len(self._data):
            raise ValueError(self._at)


def read_token(position: FeedPosition) -> str:
    """The position tokens of `X-Airy-Position` for a read that must not be older than the position."""
    return ",".join(map(topics.position_token, position.read_positions()))

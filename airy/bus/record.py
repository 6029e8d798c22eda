"""Records, positions, and what a publisher hands in."""

from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Position(NamedTuple):
    """Where a record is. Offsets grow within a partition; gaps are normal."""

    topic: str
    partition: int
    offset: int

    @property
    def where(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class Emit(Struct, frozen=True, gc=False):
    """One record to be written: encoded, its partition chosen. Made by `Topic.emit`."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None  # None is a tombstone
    headers: Headers = ()
    timestamp_ms: int | None = None  # None: the backend's clock at append


class Record(Struct, frozen=True, gc=False):
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def where(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition, self.offset)

    @property
    def fingerprint(self) -> int:
        """Of what was written and when; the same on every backend, and hardly ever another record's."""
        return crc32(b"%d" % self.timestamp_ms, crc32(self.value or b"", crc32(self.key)))

    def header(self, name: str) -> str | None:
        """The last header called `name`, as text."""
        for key, value in reversed(self.headers):
            if key == name:
                return value.decode("utf-8", "replace")
        return None

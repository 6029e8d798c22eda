"""Records as they are written and read, and their positions."""

from typing import NamedTuple
from zlib import crc32

from msgspec import Struct

Headers = tuple[tuple[str, bytes], ...]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Position(NamedTuple):
    """The place of a record. Offsets grow within a partition; gaps are normal."""

    topic: str
    partition: int
    offset: int

    @property
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class ProducerRecord(Struct, frozen=True, gc=False):
    """A record to be written: encoded, its partition chosen. Made by `Topic.record`."""

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
    def topic_partition(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition, self.offset)

    @property
    def fingerprint(self) -> int:
        """A checksum of key, value and time: equal on every backend, and rarely equal for two records."""
        return crc32(b"%d" % self.timestamp_ms, crc32(self.value or b"", crc32(self.key)))

    def header(self, name: str) -> str | None:
        """The last header called `name`, as text."""
        for key, value in reversed(self.headers):
            if key == name:
                return value.decode("utf-8", "replace")
        return None

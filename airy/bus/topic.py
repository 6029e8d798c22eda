"""A topic is a value: name, type of its values, number of partitions, retention.

Keys are text everywhere. The partition of a key is CRC-32 modulo the partition count, which is librdkafka's
`consistent` partitioner, so any Kafka tool can find a key; it is computed here for every backend alike.
"""

from functools import cached_property
from typing import Generic, Literal, TypeVar
from zlib import crc32

import msgspec

from airy.bus.record import Headers, ProducerRecord, Record, TopicPartition
from airy.bus.record_schema import PartitionHeld, RecordSchema
from airy.errors import Undecodable

V = TypeVar("V")

Retention = Literal["kept", "compacted", "time"]


def partition_of(key: bytes, partitions: int) -> int:
    return crc32(key) % partitions


class Topic(Generic[V]):
    """With `value_type` bytes the value is kept unchanged, byte for byte."""

    def __init__(  # a plain class: msgspec structs cannot hold the encoder and stay frozen values
        self,
        name: str,
        value_type: object,
        *,
        partitions: int,
        retention: Retention,
        retention_ms: int | None = None,
        versions_ms: int | None = None,
        writers: tuple[str, ...] = (),
        readers: tuple[str, ...] = (),
        key: str = "",
        schema: RecordSchema | None = None,
    ) -> None:
        self.name = name
        self.value_type = value_type
        self.partitions = partitions
        self.retention = retention
        self.retention_ms = retention_ms
        self.versions_ms = versions_ms  # compacted topics: how long every version of a key stays; None: the default
        self.key = key  # what the key is, for the docs
        self.schema = schema  # records carry kind and version; None: they do not
        self.writers = writers
        self.readers = readers
        self._raw = value_type is bytes
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[V] = msgspec.json.Decoder(value_type)

    def __repr__(self) -> str:
        return f"Topic({self.name!r}, partitions={self.partitions})"

    def partition(self, key: str) -> int:
        return partition_of(key.encode(), self.partitions)

    @cached_property  # asked for at every wake-up of every reader
    def topic_partitions(self) -> tuple[TopicPartition, ...]:
        return tuple(TopicPartition(self.name, number) for number in range(self.partitions))

    def record(
        self, key: str, value: V | None, *, headers: Headers = (), timestamp_ms: int | None = None
    ) -> ProducerRecord:
        """A record to publish. Encodes now, so that a value that cannot be encoded fails at its origin."""
        encoded = key.encode()
        if self.schema is not None:
            headers = (*headers, *self.schema.headers(value))
        data = None if value is None else value if self._raw else self._encoder.encode(value)
        return ProducerRecord(self.name, partition_of(encoded, self.partitions), encoded, data, headers, timestamp_ms)  # type: ignore[arg-type]

    def decode(self, record: Record) -> V | None:
        """The value of a record; None is a tombstone. Raises `Undecodable`, `PartitionHeld`."""
        if self.schema is not None and (hold := self.schema.hold(record)) is not None:
            raise PartitionHeld(hold)
        if record.value is None:
            return None
        if self._raw:
            return record.value  # type: ignore[return-value]
        try:
            return self._decoder.decode(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            message = (
                f"{record.topic}[{record.partition}]@{record.offset} does not decode as its topic declares: {error}"
            )
            raise Undecodable(message) from error

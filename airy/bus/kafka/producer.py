"""The producer of a process: idempotent, `acks=all`, every batch awaited, every call with a deadline.

A client that failed a batch for good can never write to that partition again, and one whose batch is stuck never
finishes: both are replaced, their writes fail as "may have been written", and the next call connects a new client.
Callers publish again with the same ids, so the fold ignores an old batch that arrives late.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd

from airy.bus.kafka.client import connection_options
from airy.bus.kafka.errors import APPLY_TOPICS
from airy.bus.kafka.inflight import InFlightLimit
from airy.bus.kafka.partition_writer import BatchRefused, PartitionWriter, PendingWrite
from airy.bus.kafka.settings import Compression, KafkaSettings
from airy.bus.kafka.shared_client import SharedClient
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.record_size import HEADERS_BYTES_MAX, check_size
from airy.errors import Refused, Unavailable

RECORD_BYTES = 128  # overhead of a record on the wire, rounded up

_LATE = "writing took too long: the records may have been written, or may yet be"
_TOO_LATE = Unavailable(_LATE)


class Producer:
    def __init__(self, settings: KafkaSettings) -> None:
        codec(settings)
        self._settings = settings
        # not graceful: the writes of a broken client have failed for their callers, so they should not be sent later
        self._generations = SharedClient(lambda: _Generation(settings), settings, graceful=False)
        self._in_flight = InFlightLimit(settings.publish_records_max, settings.publish_bytes_max)

    async def publish(self, records: Sequence[ProducerRecord]) -> list[Position]:
        size = sum(self._size(record) for record in records)
        until = asyncio.get_running_loop().time() + self._settings.publish_s
        if not await self._in_flight.acquire(len(records), size, until):
            raise Unavailable("too many records are in flight, and none is acknowledged: is the cluster up?")
        try:
            try:
                return await self._publish(records, until, alone=False)
            except BatchRefused:
                return await self._publish(records, until, alone=True)
        finally:
            self._in_flight.release(len(records), size)

    async def start(self) -> None:
        await self._generations.get(self._settings.call_s)

    async def close(self) -> None:
        if self._generations.client is not None:
            self._replace(self._generations.client)
        await self._generations.close()

    # --- implementation

    async def _publish(self, records: Sequence[ProducerRecord], until: float, *, alone: bool) -> list[Position]:
        loop = asyncio.get_running_loop()
        generation = await self._generations.get(until - loop.time())
        by_partition: dict[TopicPartition, list[ProducerRecord]] = {}
        for record in records:
            by_partition.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
        writes = {tp: PendingWrite(some, loop.create_future(), alone=alone) for tp, some in by_partition.items()}
        for tp, write in writes.items():
            generation.writer(tp).add(write)
        deadline = loop.call_at(until, _fail_late, writes.values())
        try:
            for write in writes.values():
                await write.done
        finally:
            deadline.cancel()
            failure = self._failure(generation, writes)
        if failure is not None:
            raise failure
        if len(writes) == 1:
            return [Position(*tp, offset) for tp, write in writes.items() for offset in write.offsets]
        offsets = {tp: iter(write.offsets) for tp, write in writes.items()}
        return [Position(r.topic, r.partition, next(offsets[r.topic, r.partition])) for r in records]  # type: ignore[index]

    def _failure(self, generation: "_Generation", writes: Mapping[TopicPartition, PendingWrite]) -> Exception | None:
        """The most severe error of these writes, if any. Abandons late writes and replaces a broken client."""
        now = asyncio.get_running_loop().time()
        failures: list[Exception] = []
        for tp, write in writes.items():
            writer = generation.writer(tp)
            error = write.done.result() if write.done.done() and not write.done.cancelled() else _TOO_LATE
            if error is _TOO_LATE:
                text = _LATE if writer.knows_topic() else f"there is no topic {tp.topic}; {APPLY_TOPICS}"
                failures.append(Unavailable(text))
                if writer.sent_at is not None and now > writer.sent_at + self._settings.stall_s:
                    self._replace(generation)
                writer.abandon(write)
            elif error is not None:
                failures.append(error)
        if generation.broken.done():
            self._replace(generation)
        return min(failures, key=_severity, default=None)

    def _size(self, record: ProducerRecord) -> int:
        size = RECORD_BYTES + len(record.key) + len(record.value or b"")
        size += sum(len(name) + len(value) + 10 for name, value in record.headers)
        if size > min(self._settings.record_bytes_max, HEADERS_BYTES_MAX):
            check_size(record, self._settings.record_bytes_max)
        return size

    def _replace(self, generation: "_Generation") -> None:
        """Fail what the client still has to write; the next publish connects a new one."""
        if not generation.broken.done():
            generation.broken.set_result(None)
        self._generations.drop(generation)


class _Generation:
    """One client and its partition writers."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._writers: dict[TopicPartition, PartitionWriter] = {}
        self._producer = AIOKafkaProducer(
            **connection_options(settings),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            compression_type=codec(settings),
            max_batch_size=settings.batch_bytes_max,
            max_request_size=settings.record_bytes_max + 1_048_576,
        )

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    def writer(self, tp: TopicPartition) -> PartitionWriter:
        writer = self._writers.get(tp)
        if writer is None:
            writer = self._writers[tp] = PartitionWriter(self._producer, tp, self._settings, self.broken)
        return writer


def codec(settings: KafkaSettings) -> str | None:
    """The client's name for the compression. Raises `Refused` when its library is not installed."""
    if settings.compression == "none":
        return None
    if missing_codec(settings.compression):
        text = f"{settings.compression} needs the Python package cramjam: install it, or say gzip"
        raise Refused(f"bus.kafka.compression: {text}", field="bus.kafka.compression")
    return settings.compression


def missing_codec(compression: Compression) -> bool:
    return compression != "none" and not _INSTALLED[compression]()


_INSTALLED = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}


def _fail_late(writes: Iterable[PendingWrite]) -> None:
    for write in writes:
        if not write.done.done():
            write.done.set_result(_TOO_LATE)


def _severity(error: Exception) -> int:
    """Lowest is most severe: a bug, then a refusal (which fails its whole batch), then what may succeed later."""
    kinds = (Refused, BatchRefused, Unavailable)
    return next((at for at, kind in enumerate(kinds, 1) if isinstance(error, kind)), 0)

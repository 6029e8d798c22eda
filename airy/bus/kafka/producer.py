"""The producer of a process: idempotent, `acks=all`, every batch awaited, every call under a deadline.

A client that failed a batch for good can never write to that partition again, and one whose batch is stuck waits for
ever: both are thrown away, what was under way fails as "may have been written", and the next call makes a new one.
Whoever publishes again uses the same ids, so an old batch that arrives late is ignored by the fold.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.codec import has_gzip, has_lz4, has_snappy, has_zstd

from airy.bus.api import RecordTooLarge
from airy.bus.kafka.client import connection
from airy.bus.kafka.failure import MAKE
from airy.bus.kafka.kept import Kept
from airy.bus.kafka.lanes import Lane, Part, Together
from airy.bus.kafka.room import Room
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Emit, Position, TopicPartition
from airy.errors import Refused, Unavailable

RECORD_BYTES = 128  # what a record weighs on the wire besides what is in it, with a margin

_LATE = "writing took too long: it may have been written, or may yet be"
_TOO_LATE = Unavailable(_LATE)


class Producer:
    def __init__(self, settings: KafkaSettings) -> None:
        codec(settings)
        self._settings = settings
        # what a broken one holds has failed for those who gave it: better it does not write it after all
        self._generations = Kept(lambda: _Generation(settings), settings, politely=False)
        self._room = Room(settings.publish_records_max, settings.publish_bytes_max)

    async def publish(self, emits: Sequence[Emit]) -> list[Position]:
        weight = sum(self._weight(emit) for emit in emits)
        until = asyncio.get_running_loop().time() + self._settings.publish_s
        if not await self._room.enter(len(emits), weight, until):
            raise Unavailable("too much is being written already, and it does not get less: is the cluster up?")
        try:
            try:
                return await self._publish(emits, until, alone=False)
            except Together:
                return await self._publish(emits, until, alone=True)
        finally:
            self._room.leave(len(emits), weight)

    async def start(self) -> None:
        await self._generations.get(self._settings.call_s)

    async def close(self) -> None:
        if self._generations.client is not None:
            self._give_up(self._generations.client)
        await self._generations.close()

    # --- how it works

    async def _publish(self, emits: Sequence[Emit], until: float, *, alone: bool) -> list[Position]:
        loop = asyncio.get_running_loop()
        generation = await self._generations.get(until - loop.time())
        by_partition: dict[TopicPartition, list[Emit]] = {}
        for emit in emits:
            by_partition.setdefault(TopicPartition(emit.topic, emit.partition), []).append(emit)
        parts = {where: Part(some, loop.create_future(), alone=alone) for where, some in by_partition.items()}
        for where, part in parts.items():
            generation.lane(where).add(part)
        late = loop.call_at(until, _too_late, parts.values())
        try:
            for part in parts.values():
                await part.done
        finally:
            late.cancel()
            failure = self._failure(generation, parts)
        if failure is not None:
            raise failure
        if len(parts) == 1:
            return [Position(*where, offset) for where, part in parts.items() for offset in part.offsets]
        offsets = {where: iter(part.offsets) for where, part in parts.items()}
        return [Position(e.topic, e.partition, next(offsets[e.topic, e.partition])) for e in emits]  # type: ignore[index]

    def _failure(self, generation: "_Generation", parts: Mapping[TopicPartition, Part]) -> Exception | None:
        """Why it failed, if it did. Nobody waits for it any more."""
        now = asyncio.get_running_loop().time()
        failures: list[Exception] = []
        for where, part in parts.items():
            lane = generation.lane(where)
            error = part.done.result() if part.done.done() and not part.done.cancelled() else _TOO_LATE
            if error is _TOO_LATE:
                words = _LATE if lane.knows_topic() else f"there is no topic {where.topic}; {MAKE}"
                failures.append(Unavailable(words))
                if lane.sent_at is not None and now > lane.sent_at + self._settings.stall_s:
                    self._give_up(generation)
                lane.give_up(part)
            elif error is not None:
                failures.append(error)
        if generation.broken.done():
            self._give_up(generation)
        return min(failures, key=_gravity, default=None)

    def _weight(self, emit: Emit) -> int:
        weight = RECORD_BYTES + len(emit.key) + len(emit.value or b"")
        weight += sum(len(name) + len(value) + 10 for name, value in emit.headers)
        if weight - RECORD_BYTES > self._settings.record_bytes_max:
            limit = self._settings.record_bytes_max
            raise RecordTooLarge(f"a record for {emit.topic} has {weight} bytes, and {limit} is the limit")
        return weight

    def _give_up(self, generation: "_Generation") -> None:
        if not generation.broken.done():
            generation.broken.set_result(None)
        self._generations.drop(generation)


class _Generation:
    """One client and its lanes."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._lanes: dict[TopicPartition, Lane] = {}
        self._producer = AIOKafkaProducer(
            **connection(settings),
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

    def lane(self, where: TopicPartition) -> Lane:
        lane = self._lanes.get(where)
        if lane is None:
            lane = self._lanes[where] = Lane(self._producer, where, self._settings, self.broken)
        return lane


def codec(settings: KafkaSettings) -> str | None:
    """The client's name for the compression. Raises `Refused` where what it takes is not installed."""
    if settings.compression == "none":
        return None
    if not _INSTALLED[settings.compression]():
        words = f"{settings.compression} needs the Python package cramjam: install it, or say gzip"
        raise Refused(f"bus.kafka.compression: {words}", field="bus.kafka.compression")
    return settings.compression


_INSTALLED = {"gzip": has_gzip, "snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}


def _too_late(parts: Iterable[Part]) -> None:
    for part in parts:
        if not part.done.done():
            part.done.set_result(_TOO_LATE)


def _gravity(error: Exception) -> int:
    """A bug before a refusal before what may work later: a refusal makes everything beside it fail with it."""
    kinds = (Refused, Together, Unavailable)
    return next((at for at, kind in enumerate(kinds, 1) if isinstance(error, kind)), 0)

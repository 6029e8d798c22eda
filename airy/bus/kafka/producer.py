"""The producer of a process: idempotent, `acks=all`, every batch awaited, every call under a deadline.

A client that failed a batch for good can never write to that partition again, and one whose batch is stuck waits for
ever: both are thrown away, what was under way fails as "may have been written", and the next call makes a new one.
Whoever publishes again uses the same ids, so an old batch that arrives late is ignored by the fold.
"""

import asyncio
from collections.abc import Iterable, Sequence

from aiokafka import AIOKafkaProducer

from airy.bus.api import RecordTooLarge
from airy.bus.kafka.client import connection, dispose, started
from airy.bus.kafka.lanes import Lane, Part
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Emit, Position, TopicPartition
from airy.errors import Unavailable

RECORD_BYTES = 128  # what a record weighs on the wire besides what is in it, with a margin

_LATE = "writing took too long: it may have been written, or may yet be"


class Producer:
    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._generation: _Generation | None = None
        self._making = asyncio.Lock()
        self._disposals: set[asyncio.Future[None]] = set()
        self._room = _Room(settings.publish_records_max, settings.publish_bytes_max)

    async def publish(self, emits: Sequence[Emit]) -> list[Position]:
        weight = sum(self._weight(emit) for emit in emits)
        until = asyncio.get_running_loop().time() + self._settings.publish_s
        if not await self._room.enter(len(emits), weight, until):
            raise Unavailable("too much is being written already, and it does not get less: is the cluster up?")
        try:
            return await self._publish(emits, until)
        finally:
            self._room.leave(len(emits), weight)

    async def start(self) -> None:
        await self._current()

    async def close(self) -> None:
        if self._generation is not None:
            self._give_up(self._generation)
        if self._disposals:
            await asyncio.wait(self._disposals, timeout=self._settings.stop_s)

    # --- how it works

    async def _publish(self, emits: Sequence[Emit], until: float) -> list[Position]:
        loop = asyncio.get_running_loop()
        generation = await self._current()
        by_partition: dict[TopicPartition, list[Emit]] = {}
        for emit in emits:
            by_partition.setdefault(TopicPartition(emit.topic, emit.partition), []).append(emit)
        parts = {where: Part(some, loop.create_future()) for where, some in by_partition.items()}
        for where, part in parts.items():
            generation.lane(where).add(part)
        try:
            await asyncio.wait({part.done for part in parts.values()}, timeout=max(0.0, until - loop.time()))
        finally:
            for part in parts.values():
                part.given_up = not part.done.done()
        if generation.broken.done() or generation.stuck(loop.time(), self._settings.stall_s):
            self._give_up(generation)
        self._complain(parts.values())
        offsets = {where: iter(part.offsets) for where, part in parts.items()}
        return [Position(e.topic, e.partition, next(offsets[e.topic, e.partition])) for e in emits]  # type: ignore[index]

    def _complain(self, parts: Iterable[Part]) -> None:
        """Raise if anything was not written. Every outcome is looked at, or the loop would report the others."""
        outcomes = [part.done.exception() if part.done.done() else Unavailable(_LATE) for part in parts]
        for failure in outcomes:
            if failure is not None:
                raise failure

    def _weight(self, emit: Emit) -> int:
        weight = RECORD_BYTES + len(emit.key) + len(emit.value or b"")
        weight += sum(len(name) + len(value) + 10 for name, value in emit.headers)
        if weight - RECORD_BYTES > self._settings.record_bytes_max:
            limit = self._settings.record_bytes_max
            raise RecordTooLarge(f"a record for {emit.topic} has {weight} bytes, and {limit} is the limit")
        return weight

    async def _current(self) -> "_Generation":
        async with self._making:
            if self._generation is None:
                producer = await started(self._make, self._settings)
                self._generation = _Generation(producer, self._settings)
            return self._generation

    def _make(self) -> AIOKafkaProducer:
        settings = self._settings
        return AIOKafkaProducer(
            **connection(settings), acks="all", enable_idempotence=True, linger_ms=0,
            max_batch_size=settings.batch_bytes_max, max_request_size=settings.record_bytes_max + 1_048_576,
        )  # fmt: skip

    def _give_up(self, generation: "_Generation") -> None:
        if not generation.broken.done():
            generation.broken.set_result(None)
        if generation is self._generation:
            self._generation = None
            disposal = asyncio.ensure_future(dispose(generation.producer, self._settings))
            self._disposals.add(disposal)
            disposal.add_done_callback(self._disposals.discard)


class _Generation:
    """One client and its lanes."""

    def __init__(self, producer: AIOKafkaProducer, settings: KafkaSettings) -> None:
        self.producer = producer
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._lanes: dict[TopicPartition, Lane] = {}

    def lane(self, where: TopicPartition) -> Lane:
        lane = self._lanes.get(where)
        if lane is None:
            lane = self._lanes[where] = Lane(self.producer, where, self._settings, self.broken)
        return lane

    def stuck(self, now: float, stall_s: float) -> bool:
        return any(lane.sent_at is not None and now > lane.sent_at + stall_s for lane in self._lanes.values())


class _Room:
    """So much may be under way; beyond it callers wait, in the order they came."""

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._records = 0
        self._bytes = 0
        self._waiting: list[tuple[asyncio.Future[None], int, int]] = []

    async def enter(self, records: int, weight: int, until: float) -> bool:
        """False: there was no room in time."""
        if not self._waiting and self._fits(records, weight):
            self._records += records
            self._bytes += weight
            return True
        loop = asyncio.get_running_loop()
        entry = (loop.create_future(), records, weight)
        self._waiting.append(entry)
        try:
            await asyncio.wait({entry[0]}, timeout=max(0.0, until - loop.time()))
        except BaseException:
            if entry[0].done():
                self.leave(records, weight)
            raise
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return entry[0].done()

    def leave(self, records: int, weight: int) -> None:
        self._records -= records
        self._bytes -= weight
        while self._waiting and self._fits(*self._waiting[0][1:]):
            entry, some, more = self._waiting.pop(0)
            if not entry.done():
                self._records += some
                self._bytes += more
                entry.set_result(None)

    def _fits(self, records: int, weight: int) -> bool:
        """One call that is larger than everything may go when nothing else does."""
        fits = self._records + records <= self._records_max and self._bytes + weight <= self._bytes_max
        return fits or self._records == 0

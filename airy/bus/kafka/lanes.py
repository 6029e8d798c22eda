"""Writing to Kafka: one lane per partition, one batch of it under way, everything that waits in the next.

So batches grow with load, nothing waits for a timer, and the order of a partition is the order of the calls. Each
batch is one future of the client's, awaited before anything it holds counts as written.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from airy.bus.kafka.client import cancelled
from airy.bus.kafka.failure import meaning
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Emit, TopicPartition
from airy.errors import Refused, Unavailable

GIVEN_UP: Final = "the client was given up: it may have been written, or may yet be"


class Together(Unavailable):
    """Refused in a batch with what others wrote: nobody knows yet whose fault it is."""


class Part:
    """What one call has for one partition. `done` is told why it failed, or None: then `offsets` has one for each."""

    __slots__ = ("alone", "done", "emits", "given_up", "offsets", "sent")

    def __init__(self, emits: Sequence[Emit], done: "asyncio.Future[Exception | None]", *, alone: bool = False) -> None:
        self.emits = emits
        self.done = done
        self.alone = alone  # shares no batch with others
        self.offsets: list[int] = []
        self.sent = 0  # how many are in a batch
        self.given_up = False  # nobody waits any more: what was not sent is not sent

    def give_up(self) -> None:
        self.given_up = True
        self.emits = ()
        self.done.cancel()

    def fail(self, error: Exception) -> None:
        self.given_up = True
        if not self.done.done():
            self.done.set_result(error)

    def written(self) -> None:
        if len(self.offsets) == len(self.emits) and not self.done.done():
            self.done.set_result(None)


class Lane:
    """One partition of one client. When the client is given up, so are its lanes."""

    def __init__(
        self, producer: AIOKafkaProducer, where: TopicPartition, settings: KafkaSettings, broken: "asyncio.Future[None]"
    ) -> None:
        self._producer = producer
        self._topic = settings.named(where.topic)
        self._partition = where.partition
        self._broken = broken
        self._waiting: deque[Part] = deque()
        self._given_up = 0  # how many of those that wait nobody waits for
        self._under_way: asyncio.Task[None] | None = None
        self._sent: asyncio.Future[Any] | None = None  # the client's, of the batch that is under way
        self.sent_at: float | None = None  # when that was handed to the client
        broken.add_done_callback(self._break_off)

    def add(self, part: Part) -> None:
        self._waiting.append(part)
        if self._under_way is None:
            self._under_way = asyncio.ensure_future(self._run())

    def give_up(self, part: Part) -> None:
        """Nobody waits for it. What is forgotten takes no room, however long the lane stands still."""
        if part.sent < len(part.emits):
            self._given_up += 1
        part.give_up()
        if self._given_up > len(self._waiting) // 2:
            self._waiting = deque(other for other in self._waiting if not other.given_up)
            self._given_up = 0

    def knows_topic(self) -> bool:
        return self._producer.client.cluster.partitions_for_topic(self._topic) is not None

    async def _run(self) -> None:
        parts: list[tuple[Part, int]] = []
        try:
            while self._waiting:
                batch = self._producer.create_batch()
                parts.clear()
                self._fill(batch, parts)
                if parts:
                    await self._send(batch, parts)
        except BaseException as error:
            for part in (*(part for part, _ in parts), *self._waiting):  # a bug of ours: whoever waits crashes with it
                part.fail(error if isinstance(error, Exception) else Unavailable(GIVEN_UP))
            self._waiting.clear()
            raise
        finally:
            self._under_way = None
            self.sent_at = None

    def _fill(self, batch: Any, parts: list[tuple[Part, int]]) -> None:
        """Put in what fits, of as many parts as wait, and note how many of each."""
        append = batch.append
        full = False
        while self._waiting and not full:
            part = self._waiting[0]
            if part.given_up:
                self._waiting.popleft()
                self._given_up = max(0, self._given_up - 1)
                continue
            if part.alone and parts:
                break
            begin = part.sent
            for emit in part.emits[begin:] if begin else part.emits:
                if append(timestamp=emit.timestamp_ms, key=emit.key, value=emit.value, headers=[*emit.headers]) is None:
                    full = True
                    break
                part.sent += 1
            if part.sent > begin:
                parts.append((part, part.sent - begin))
            if part.sent == len(part.emits):
                self._waiting.popleft()
            full = full or part.alone

    async def _send(self, batch: Any, parts: list[tuple[Part, int]]) -> None:
        self.sent_at = asyncio.get_running_loop().time()
        try:
            base = await self._written(batch)
        except BaseException as error:  # told to whoever waits, as what it means to them
            self._failed(error, [part for part, _ in parts])
            if isinstance(error, asyncio.CancelledError) and cancelled():
                raise
            return
        for part, count in parts:
            part.offsets.extend(range(base, base + count))
            base += count
            part.written()

    def _failed(self, error: BaseException, parts: list[Part]) -> None:
        meant = meaning(error, f"writing to {self._topic}[{self._partition}]")
        if isinstance(meant, Refused) and len(parts) > 1:
            meant = Together(str(meant))
        for part in parts:
            part.fail(meant)
        if not self._broken.done():  # a batch that failed for good leaves a hole in the client's numbering
            self._broken.set_result(None)

    async def _written(self, batch: Any) -> int:
        """The offset of the batch's first record, once it is durable."""
        if not self.knows_topic():
            await self._unless_broken(asyncio.ensure_future(self._producer.partitions_for(self._topic)))
        if self._broken.done():
            raise Unavailable("the client was given up: it was not written")
        sent = await self._producer.send_batch(batch, self._topic, partition=self._partition)
        base: int = (await self._unless_broken(sent)).offset
        if base < 0:
            raise Unavailable("the cluster has it and did not say where: publish it again, under the same ids")
        return base

    async def _unless_broken(self, future: "asyncio.Future[Any]") -> Any:
        """Its result. Once for each batch: waiting for both at once costs as much as sending."""
        self._sent = future
        if self._broken.done():
            future.cancel()
        try:
            return await future
        except asyncio.CancelledError:
            if cancelled():
                raise
            raise Unavailable(GIVEN_UP) from None
        finally:
            self._sent = None

    def _break_off(self, _: object) -> None:
        if self._sent is not None:
            self._sent.cancel()

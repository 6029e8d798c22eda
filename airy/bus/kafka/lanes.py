"""Writing to Kafka: one lane per partition, one batch of it under way, everything that waits in the next.

So batches grow with load, nothing waits for a timer, and the order of a partition is the order of the calls. Each
batch is one future of the client's, awaited before anything it holds counts as written.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from airy.bus.kafka.failure import meaning
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Emit, TopicPartition
from airy.errors import Unavailable


class Part:
    """What one call has for one partition. `offsets` has one for each once `done` is set without an error."""

    __slots__ = ("done", "emits", "given_up", "offsets", "sent")

    def __init__(self, emits: Sequence[Emit], done: "asyncio.Future[None]") -> None:
        self.emits = emits
        self.done = done
        self.offsets: list[int] = []
        self.sent = 0  # how many are in a batch
        self.given_up = False  # nobody waits any more: what was not sent is not sent

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

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
        self._under_way: asyncio.Task[None] | None = None
        self.sent_at: float | None = None  # when the batch that is under way was handed to the client

    def add(self, part: Part) -> None:
        self._waiting.append(part)
        if self._under_way is None:
            self._under_way = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._producer.create_batch()
                parts = self._fill(batch)
                if parts:
                    await self._send(batch, parts)
        except BaseException as error:
            for part in self._waiting:  # a bug of ours: told to whoever waits, who crash with it
                part.fail(error if isinstance(error, Exception) else Unavailable("the client was given up"))
            self._waiting.clear()
            raise
        finally:
            self._under_way = None
            self.sent_at = None

    def _fill(self, batch: object) -> list[tuple[Part, int]]:
        """Put in what fits, of as many parts as wait; how many of each."""
        append = batch.append  # type: ignore[attr-defined]
        parts: list[tuple[Part, int]] = []
        full = False
        while self._waiting and not full:
            part = self._waiting[0]
            if part.given_up:
                self._waiting.popleft()
                continue
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
        return parts

    async def _send(self, batch: object, parts: list[tuple[Part, int]]) -> None:
        self.sent_at = asyncio.get_running_loop().time()
        try:
            base = await self._written(batch)
        except Exception as error:  # noqa: BLE001 - told to whoever waits, as what it means to them
            meant = meaning(error, f"writing to {self._topic}[{self._partition}]")
            for part, _ in parts:
                part.fail(meant)
                part.given_up = True
            if not self._broken.done():  # a batch that failed for good leaves a hole in the client's numbering
                self._broken.set_result(None)
            return
        for part, count in parts:
            part.offsets.extend(range(base, base + count))
            base += count
            part.written()

    async def _written(self, batch: object) -> int:
        """The offset of the batch's first record, once it is durable."""
        sent = await self._producer.send_batch(batch, self._topic, partition=self._partition)
        await asyncio.wait({sent, self._broken}, return_when=asyncio.FIRST_COMPLETED)
        if not sent.done():
            raise Unavailable("the client was given up: it may have been written, or may yet be")
        base: int = sent.result().offset
        if base < 0:
            raise Unavailable("the cluster has it and did not say where: publish it again, under the same ids")
        return base

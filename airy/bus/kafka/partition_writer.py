"""Writing to Kafka: per partition one batch in flight, and everything that waits in the next.

So batches grow with load, nothing waits for a timer, and the order within a partition is the order of the calls. Each
batch is one future of the client, awaited before any of its records counts as written.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from airy.bus.kafka.client import cancel_requested
from airy.bus.kafka.errors import translate
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import ProducerRecord, TopicPartition
from airy.errors import Refused, Unavailable

ABANDONED: Final = "the client was replaced: the records may have been written, or may yet be"


class BatchRefused(Unavailable):
    """Refused as part of a batch of several publishes; which of them is the cause is unknown."""


class PendingWrite:
    """The records of one publish for one partition. `done` gets its error, or None: then `offsets` has one each."""

    __slots__ = ("abandoned", "alone", "batched", "done", "offsets", "records")

    def __init__(
        self, records: Sequence[ProducerRecord], done: "asyncio.Future[Exception | None]", *, alone: bool = False
    ) -> None:
        self.records = records
        self.done = done
        self.alone = alone  # not batched with other writes
        self.offsets: list[int] = []
        self.batched = 0  # records already in a batch
        self.abandoned = False  # its publish has returned: records not sent yet are not sent

    def abandon(self) -> None:
        self.abandoned = True
        self.records = ()
        self.done.cancel()

    def fail(self, error: Exception) -> None:
        self.abandoned = True
        if not self.done.done():
            self.done.set_result(error)

    def finish_if_written(self) -> None:
        if len(self.offsets) == len(self.records) and not self.done.done():
            self.done.set_result(None)


class PartitionWriter:
    """One partition of one client. Ends with the client, when `broken` is set."""

    def __init__(
        self, producer: AIOKafkaProducer, tp: TopicPartition, settings: KafkaSettings, broken: "asyncio.Future[None]"
    ) -> None:
        self._producer = producer
        self._topic = settings.wire_name(tp.topic)
        self._partition = tp.partition
        self._broken = broken
        self._waiting: deque[PendingWrite] = deque()
        self._abandoned = 0  # of `_waiting`
        self._running: asyncio.Task[None] | None = None
        self._sent: asyncio.Future[Any] | None = None  # of the client, for the batch in flight
        self.sent_at: float | None = None  # when that batch was handed to the client
        broken.add_done_callback(self._cancel_sent)

    def add(self, write: PendingWrite) -> None:
        self._waiting.append(write)
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())

    def abandon(self, write: PendingWrite) -> None:
        """Its publish has returned. Abandoned writes are removed, so that a stalled partition does not collect them."""
        if write.batched < len(write.records):
            self._abandoned += 1
        write.abandon()
        if self._abandoned > len(self._waiting) // 2:
            self._waiting = deque(other for other in self._waiting if not other.abandoned)
            self._abandoned = 0

    def knows_topic(self) -> bool:
        return self._producer.client.cluster.partitions_for_topic(self._topic) is not None

    async def _run(self) -> None:
        batched: list[tuple[PendingWrite, int]] = []
        try:
            while self._waiting:
                batch = self._producer.create_batch()
                batched.clear()
                self._fill(batch, batched)
                if batched:
                    await self._send(batch, batched)
        except BaseException as error:
            for write in (*(write for write, _ in batched), *self._waiting):  # our bug: their publishes raise it
                write.fail(error if isinstance(error, Exception) else Unavailable(ABANDONED))
            self._waiting.clear()
            raise
        finally:
            self._running = None
            self.sent_at = None

    def _fill(self, batch: Any, batched: list[tuple[PendingWrite, int]]) -> None:
        """Add what fits of the waiting writes to the batch, and note the number of records of each."""
        append = batch.append
        full = False
        while self._waiting and not full:
            write = self._waiting[0]
            if write.abandoned:
                self._waiting.popleft()
                self._abandoned = max(0, self._abandoned - 1)
                continue
            if write.alone and batched:
                break
            begin = write.batched
            for record in write.records[begin:] if begin else write.records:
                headers = [*record.headers]
                if append(timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=headers) is None:
                    full = True
                    break
                write.batched += 1
            if write.batched > begin:
                batched.append((write, write.batched - begin))
            if write.batched == len(write.records):
                self._waiting.popleft()
            full = full or write.alone

    async def _send(self, batch: Any, batched: list[tuple[PendingWrite, int]]) -> None:
        self.sent_at = asyncio.get_running_loop().time()
        try:
            base = await self._written(batch)
        except BaseException as error:  # the publishes raise it, translated
            self._fail(error, [write for write, _ in batched])
            if isinstance(error, asyncio.CancelledError) and cancel_requested():
                raise
            return
        for write, count in batched:
            write.offsets.extend(range(base, base + count))
            base += count
            write.finish_if_written()

    def _fail(self, error: BaseException, writes: list[PendingWrite]) -> None:
        translated = translate(error, f"writing to {self._topic}[{self._partition}]")
        if isinstance(translated, Refused) and len(writes) > 1:
            translated = BatchRefused(str(translated))
        for write in writes:
            write.fail(translated)
        if not self._broken.done():  # a failed batch leaves a gap in the client's sequence numbers
            self._broken.set_result(None)

    async def _written(self, batch: Any) -> int:
        """The offset of the first record of the batch, once the batch is durable."""
        if not self.knows_topic():
            await self._unless_broken(asyncio.ensure_future(self._producer.partitions_for(self._topic)))
        if self._broken.done():
            raise Unavailable("the client was replaced: the records were not written")
        sent = await self._producer.send_batch(batch, self._topic, partition=self._partition)
        base: int = (await self._unless_broken(sent)).offset
        if base < 0:
            raise Unavailable("the cluster returned no offset: publish again, with the same ids")
        return base

    async def _unless_broken(self, future: "asyncio.Future[Any]") -> Any:
        """The result of a future of the client. One wait per batch: a wait for two futures costs as much as sending."""
        self._sent = future
        if self._broken.done():
            future.cancel()
        try:
            return await future
        except asyncio.CancelledError:
            if cancel_requested():
                raise
            raise Unavailable(ABANDONED) from None
        finally:
            self._sent = None

    def _cancel_sent(self, _: object) -> None:
        if self._sent is not None:
            self._sent.cancel()

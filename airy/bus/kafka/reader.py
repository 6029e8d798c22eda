"""Reading from Kafka: a tail. Also what a group's subscription is built on.

Filling goes on beside `fetch`, into a shelf, so that a fetch that is cancelled loses nothing. A client that stands
still although there is something to read is thrown away, and a new one goes on where the shelf is.
"""

import asyncio
from collections.abc import Iterable, Mapping

import anyio
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from anyio.lowlevel import checkpoint

from airy.bus.api import Truncated
from airy.bus.kafka.client import connection, dispose, started
from airy.bus.kafka.ends import Ends
from airy.bus.kafka.failure import meaning
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.kafka.shelf import Shelf
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable

FILL_S = 0.25  # one wait for records; what a fetch leaves behind when it is cancelled


class KafkaReader:
    """`wire` names a partition as the cluster does. Whoever opens it closes it."""

    def __init__(self, settings: KafkaSettings, ends: Ends) -> None:
        self._settings = settings
        self._ends = ends
        self._shelf = Shelf()
        self._consumer: AIOKafkaConsumer | None = None
        self._filling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._failure: Exception | None = None
        self._heard_at = anyio.current_time()
        self._busy = False

    # --- what a caller may do

    def position(self, where: TopicPartition) -> int:
        return self._shelf.position(where)

    def seek(self, where: TopicPartition, offset: int) -> None:
        self._shelf.seek(where, offset)
        if self._consumer is not None:
            self._consumer.seek(self.wire(where), offset)
        self._failure = None
        self._news.set()

    def pause(self, where: Iterable[TopicPartition]) -> None:
        known = self._shelf.pause(where)
        if known and self._consumer is not None:
            self._consumer.pause(*map(self.wire, known))

    def resume(self, where: Iterable[TopicPartition]) -> None:
        known = self._shelf.resume(where)
        if known and self._consumer is not None:
            self._consumer.resume(*map(self.wire, known))
        self._news.set()

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        if self._busy:
            raise anyio.BusyResourceError("fetching from")
        self._busy = True
        try:
            await checkpoint()
            return await self._fetch(records_max, bytes_max, wait_s)
        finally:
            self._busy = False

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        filling, self._filling = self._filling, None
        if filling is not None:
            filling.cancel()
        if consumer is not None:
            with anyio.CancelScope(shield=True):
                await dispose(consumer, self._settings)

    # --- names

    def wire(self, where: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._settings.named(where.topic), where.partition)

    def bare(self, where: KafkaPartition) -> TopicPartition:
        return TopicPartition(self._settings.bare(where.topic), where.partition)

    # --- fetching

    async def _fetch(self, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        until = anyio.current_time() + wait_s
        while True:
            self._news.clear()
            await self._settle()
            if self._failure is not None:
                raise self._failure
            records = self._shelf.take(records_max, bytes_max)
            self._fill(records_max)
            if records:
                return records
            now = anyio.current_time()
            if now >= until:
                return []
            if records_max > 0 and now >= self._heard_at + self._settings.stall_s:
                await self._stand_still()
                continue
            await self._until_news(min(until, now + FILL_S))

    async def _settle(self) -> None:
        """A group acts on rebalances here."""

    async def _until_news(self, until: float) -> None:
        with anyio.CancelScope(deadline=until):
            await self._news.wait()

    # --- filling

    def _fill(self, records_max: int) -> None:
        """See that somebody asks the client, unless the shelf has some of everything."""
        if self._consumer is None or (self._filling is not None and not self._filling.done()):
            return
        wanted = self._shelf.wanted() if records_max > 0 else []
        if wanted or not self._shelf.positions or records_max <= 0:  # also asking for nothing keeps membership
            self._filling = asyncio.ensure_future(self._fill_once(self._consumer, wanted))

    async def _fill_once(self, consumer: AIOKafkaConsumer, wanted: list[TopicPartition]) -> None:
        try:
            found = await consumer.getmany(*map(self.wire, wanted), timeout_ms=round(FILL_S * 1000))
            if consumer is not self._consumer:
                return
            for partition, records in found.items():
                where = self.bare(partition)
                self._shelf.put(where, [_record(where, record) for record in records])
            if found:
                self._heard_at = anyio.current_time()
                self._news.set()
            else:
                await self._note_positions(consumer)
        except NoOffsetForPartitionError:
            pass  # the client wondered where to start before we told it
        except OffsetOutOfRangeError as error:
            self._fail(consumer, self._truncated(error))
        except KafkaError as error:
            self._fail(consumer, meaning(error, "reading"))
        except asyncio.CancelledError:
            if self._consumer is consumer and not _cancelled():
                self._fail(consumer, Unavailable("reading was given up by the client"))
            raise

    def _fail(self, consumer: AIOKafkaConsumer, error: Exception) -> None:
        if consumer is self._consumer:
            self._failure = error
            self._news.set()

    def _truncated(self, error: OffsetOutOfRangeError) -> Exception:
        gone = ", ".join(
            f"{where.topic}[{where.partition}]@{offset}"
            for where, offset in ((self.bare(partition), offset) for partition, offset in error.args[0].items())
            if self._shelf.positions.get(where) == offset
        )
        return Truncated(f"the log does not hold {gone}") if gone else Unavailable("the client was elsewhere")

    async def _note_positions(self, consumer: AIOKafkaConsumer) -> None:
        """Where nothing came, the client may have passed what compaction emptied."""
        for where in self._shelf.wanted():
            state = consumer._subscription.subscription.assignment.state_value(self.wire(where))  # noqa: SLF001 - `position()` waits for a position, which may never come
            if state is not None and state.has_valid_position and state.position > self._shelf.position(where):
                self._shelf.skipped_to(where, state.position)
                self._news.set()

    async def _stand_still(self) -> None:
        """Nothing for long: because there is nothing, or because the client died quietly."""
        wanted = self._shelf.wanted()
        ends = await self._ends.of(wanted)
        self._heard_at = anyio.current_time()
        behind = [where for where in wanted if ends[where] > self._shelf.position(where)]
        if behind:
            await self._renew(behind)

    async def _renew(self, behind: list[TopicPartition]) -> None:
        raise Unavailable(f"{behind[0].topic}[{behind[0].partition}] has records, and none came: connecting anew")


class KafkaTail(KafkaReader):
    async def open(self, start: Mapping[TopicPartition, int]) -> None:
        self._shelf.follow(start)
        await self._connect()

    async def _connect(self) -> None:
        settings = self._settings
        consumer = await started(lambda: AIOKafkaConsumer(**reading(settings)), settings)
        positions = self._shelf.positions
        if positions:
            consumer.assign([self.wire(where) for where in positions])
            for where, offset in positions.items():
                consumer.seek(self.wire(where), offset)
            if paused := self._shelf.paused:
                consumer.pause(*map(self.wire, paused))
        self._consumer = consumer
        self._heard_at = anyio.current_time()

    async def _renew(self, _: list[TopicPartition]) -> None:
        await self.close()
        await self._connect()


def reading(settings: KafkaSettings) -> dict[str, object]:
    return {
        **connection(settings), "enable_auto_commit": False, "auto_offset_reset": "none",
        "fetch_max_bytes": settings.fetch_bytes_max, "max_partition_fetch_bytes": settings.partition_fetch_bytes_max,
        "isolation_level": "read_committed",
    }  # fmt: skip


def _record(where: TopicPartition, record: "ConsumerRecord[bytes, bytes]") -> Record:
    return Record(
        where.topic, where.partition, record.offset, record.key or b"", record.value, tuple(record.headers),
        record.timestamp,
    )  # fmt: skip


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0



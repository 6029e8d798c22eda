"""Reading from Kafka: a tail. Also what a group's subscription is built on.

Filling goes on beside `fetch`, into a shelf, so that a fetch that is cancelled loses nothing. A client that stands
still although there is something to read is thrown away, and a new one goes on where the shelf is. Each partition is
watched by itself: one connection may stand still while the others flow.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from anyio.lowlevel import checkpoint

from airy.bus.api import Truncated
from airy.bus.kafka.client import cancelled, connection, dispose, started
from airy.bus.kafka.ends import Ends
from airy.bus.kafka.failure import meaning
from airy.bus.kafka.gathering import gathering
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.kafka.shelf import Shelf
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable

FILL_RECORDS = 500  # taken from the client at once: more at a time are slower, because memory is
FILL_S = 0.25  # one wait for records; what a fetch leaves behind when it is cancelled
LOOKS = 4  # at whether the client stands still, in the time it may


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
        self._busy = False
        self._closing = False
        self._asleep = False  # reads nothing, on purpose
        self._quiet: dict[TopicPartition, float] = {}  # for how long we asked for it, and nothing came
        self._asked_at = anyio.current_time()  # when the filling that goes on began
        self._looked_at = self._asked_at
        self._patience_s = FILL_S + settings.stall_s  # for one filling, which waits for the client whatever it was told

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
        if self._closing:
            raise RuntimeError("this reader has ended: open another")
        if self._busy:
            raise anyio.BusyResourceError("fetching from")
        self._busy = True
        try:
            await checkpoint()
            return await self._fetch(records_max, bytes_max, wait_s)
        finally:
            self._busy = False

    async def close(self) -> None:
        self._closing = True
        self._news.set()
        await self._disconnect()

    async def _disconnect(self) -> None:
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
                raise self._complaint(self._failure)
            now = anyio.current_time()
            if now >= self._looked_at + self._settings.stall_s / LOOKS:
                await self._look(now)
            records = self._shelf.take(records_max, bytes_max)
            self._fill()
            if records or now >= until or self._closing:
                return records
            await self._until_news(min(until, now + FILL_S))

    def _complaint(self, failure: Exception) -> Exception:
        """What may work later is said once, and the next fetch tries; anything else until somebody seeks."""
        if isinstance(failure, Unavailable):
            self._failure = None
        return failure

    async def _settle(self) -> None:
        """A group acts on rebalances here."""

    async def _until_news(self, until: float) -> None:
        with anyio.CancelScope(deadline=until):
            await self._news.wait()

    # --- filling

    def _fill(self) -> None:
        """See that somebody asks the client, unless the shelf has some of everything."""
        if self._consumer is None or (self._filling is not None and not self._filling.done()):
            return
        wanted = self._shelf.wanted()
        if wanted or self._shelf.idle:  # who asks for nothing still hears what is wrong with the group
            self._asked_at = anyio.current_time()
            self._filling = asyncio.ensure_future(self._fill_once(self._consumer, wanted))

    async def _fill_once(self, consumer: AIOKafkaConsumer, wanted: list[TopicPartition]) -> None:
        try:
            found = await consumer.getmany(
                *map(self.wire, wanted), timeout_ms=round(FILL_S * 1000), max_records=FILL_RECORDS
            )
            if consumer is self._consumer:
                self._keep(consumer, wanted, found)
        except NoOffsetForPartitionError:
            pass  # the client wondered where to start before we told it
        except OffsetOutOfRangeError as error:
            self._out_of_range(consumer, error.args[0])
        except Exception as error:  # noqa: BLE001 - whoever fetches is told, be it the cluster's fault or a bug
            self._fail(consumer, meaning(error, "reading"))
        except asyncio.CancelledError:
            if self._consumer is consumer and not cancelled():
                self._fail(consumer, Unavailable("reading was given up by the client"))
            raise

    def _keep(
        self,
        consumer: AIOKafkaConsumer,
        wanted: list[TopicPartition],
        found: "Mapping[KafkaPartition, list[ConsumerRecord[bytes, bytes]]]",
    ) -> None:
        asked_s = anyio.current_time() - self._asked_at
        for where in () if self._asleep else wanted:
            self._quiet[where] = self._quiet.get(where, 0.0) + asked_s
        for partition, records in found.items():
            where = self.bare(partition)
            self._quiet[where] = 0.0
            topic, number = where
            kept = self._shelf.put(
                where,
                [
                    Record(topic, number, r.offset, r.key or b"", r.value, tuple(r.headers), r.timestamp)
                    for r in records
                ],
            )
            if not kept and (tip := self._shelf.tip(where)) is not None:
                consumer.seek(partition, tip)
        if found:
            self._news.set()
        else:
            self._note_positions(consumer)

    def _fail(self, consumer: AIOKafkaConsumer, error: Exception) -> None:
        if consumer is self._consumer:
            self._failure = error
            self._news.set()

    def _out_of_range(self, consumer: AIOKafkaConsumer, places: Mapping[KafkaPartition, int]) -> None:
        """Loud where we want to read; where only the client did, it is told the place."""
        gone = []
        for partition, offset in places.items():
            where = self.bare(partition)
            tip = self._shelf.tip(where)
            if tip == offset:
                gone.append(f"{where.topic}[{where.partition}]@{offset}")
            elif tip is not None:
                consumer.seek(partition, tip)
        if gone:
            self._fail(consumer, Truncated(f"the log does not hold {', '.join(gone)}"))

    def _note_positions(self, consumer: AIOKafkaConsumer) -> None:
        """Where nothing came, the client may have passed what compaction emptied."""
        assignment: Any = getattr(consumer._subscription.subscription, "assignment", None)  # noqa: SLF001 - `position()` waits for a position, which may never come
        for where in self._shelf.wanted() if assignment is not None else ():
            state = assignment.state_value(self.wire(where))
            if state is not None and state.has_valid_position and state.position > self._shelf.position(where):
                self._shelf.skipped_to(where, state.position)
                self._news.set()

    # --- watching

    async def _look(self, now: float) -> None:
        """Nothing for long: because there is nothing, or because the client died quietly."""
        self._looked_at = now
        if self._filling is not None and not self._filling.done() and now > self._asked_at + self._patience_s:
            await self._renew("the client does not answer")
            return
        wanted = self._shelf.wanted()
        quiet = [where for where in wanted if self._quiet.get(where, 0.0) >= self._settings.stall_s]
        if not quiet:
            return
        try:
            ends = await self._ends.of(quiet)
        except Unavailable:
            if len(quiet) == len(self._shelf.positions):
                raise
            return  # the others flow: what ails these ails part of the cluster, and is looked at again
        for where in quiet:
            self._quiet[where] = 0.0
        behind = [where for where in quiet if ends[where] > (self._shelf.tip(where) or 0)]
        if behind:
            await self._renew(f"{behind[0].topic}[{behind[0].partition}] has records, and none came")

    async def _renew(self, why: str) -> None:
        raise Unavailable(f"{why}: connecting anew")


class KafkaTail(KafkaReader):
    async def open(self, start: Mapping[TopicPartition, int]) -> None:
        self._shelf.follow(start)
        await self._connect()

    async def _settle(self) -> None:
        if self._consumer is None and not self._closing:
            await self._connect()

    async def _connect(self) -> None:
        settings = self._settings
        consumer = await started(lambda: gathering(AIOKafkaConsumer(**reading(settings)), settings.gather_s), settings)
        positions = self._shelf.positions
        consumer.assign([self.wire(where) for where in positions])  # nothing too: who was told nothing waits for it
        for where, offset in positions.items():
            consumer.seek(self.wire(where), offset)
        if paused := self._shelf.paused:
            consumer.pause(*map(self.wire, paused))
        self._consumer = consumer
        self._quiet.clear()

    async def _renew(self, _: str) -> None:
        await self._disconnect()
        await self._connect()


def reading(settings: KafkaSettings) -> dict[str, object]:
    return {
        **connection(settings),
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "fetch_max_bytes": settings.fetch_bytes_max,
        "max_partition_fetch_bytes": settings.partition_fetch_bytes_max,
        "isolation_level": "read_committed",
    }

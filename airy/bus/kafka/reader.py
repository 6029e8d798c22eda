"""Reading from Kafka: a tail, and the base of a group's subscription.

A task beside `fetch` fills a buffer, so that a cancelled fetch loses no record. A client that returns nothing although
there are records is replaced, and the new one continues where the buffer ends. Stalls are detected per partition,
because one connection may be dead while the others deliver.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from anyio.lowlevel import checkpoint

from airy.bus.api import OffsetOutOfRange
from airy.bus.kafka.client import cancel_requested, connect, connection_options, dispose
from airy.bus.kafka.errors import translate
from airy.bus.kafka.fetch_buffer import FetchBuffer
from airy.bus.kafka.fetch_pacing import with_fetch_delay
from airy.bus.kafka.offsets import OffsetQueries
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable

POLL_RECORDS = 500  # taken from the client at once; larger polls are slower, because memory is
POLL_S = 0.25  # one wait of the client for records, which outlives a cancelled fetch
STALL_CHECKS = 4  # per `stall_s`


class KafkaReader:
    """Its opener closes it."""

    def __init__(self, settings: KafkaSettings, offsets: OffsetQueries) -> None:
        self._settings = settings
        self._offsets = offsets
        self._buffer = FetchBuffer()
        self._consumer: AIOKafkaConsumer | None = None
        self._polling: asyncio.Task[None] | None = None
        self._wakeup = asyncio.Event()
        self._failure: Exception | None = None
        self._busy = False
        self._closing = False
        self._suspended = False  # a subscription that only keeps its membership alive
        self._silent_s: dict[TopicPartition, float] = {}  # how long a partition was polled without a record
        self._polled_at = anyio.current_time()  # when the current poll began
        self._checked_at = self._polled_at
        self._poll_s_max = POLL_S + settings.stall_s  # the client may ignore the time limit of a poll

    # --- for callers

    def position(self, tp: TopicPartition) -> int:
        return self._buffer.position(tp)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._buffer.seek(tp, offset)
        if self._consumer is not None:
            self._consumer.seek(self.to_wire(tp), offset)
        self._failure = None
        self._wakeup.set()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        known = self._buffer.pause(partitions)
        if known and self._consumer is not None:
            self._consumer.pause(*map(self.to_wire, known))

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        known = self._buffer.resume(partitions)
        if known and self._consumer is not None:
            self._consumer.resume(*map(self.to_wire, known))
        self._wakeup.set()

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
        self._wakeup.set()
        await self._disconnect()

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
        if consumer is not None:
            with anyio.CancelScope(shield=True):
                await dispose(consumer, self._settings)

    # --- partitions under their names on the wire

    def to_wire(self, tp: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._settings.wire_name(tp.topic), tp.partition)

    def from_wire(self, tp: KafkaPartition) -> TopicPartition:
        return TopicPartition(self._settings.local_name(tp.topic), tp.partition)

    # --- fetching

    async def _fetch(self, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        until = anyio.current_time() + wait_s
        while True:
            self._wakeup.clear()
            await self._before_take()
            if self._failure is not None:
                raise self._taken_failure(self._failure)
            now = anyio.current_time()
            if now >= self._checked_at + self._settings.stall_s / STALL_CHECKS:
                await self._check_stall(now)
            records = self._buffer.take(records_max, bytes_max)
            self._poll_if_needed()
            if records or now >= until or self._closing:
                return records
            await self._wait(min(until, now + POLL_S))

    def _taken_failure(self, failure: Exception) -> Exception:
        """`Unavailable` is raised once, and the next fetch tries again; any other error until a `seek`."""
        if isinstance(failure, Unavailable):
            self._failure = None
        return failure

    async def _before_take(self) -> None:
        """A subscription acts on rebalances here."""

    async def _wait(self, until: float) -> None:
        with anyio.CancelScope(deadline=until):
            await self._wakeup.wait()

    # --- polling the client

    def _poll_if_needed(self) -> None:
        """Start a poll, unless one is running or the buffer has records of every partition."""
        if self._consumer is None or (self._polling is not None and not self._polling.done()):
            return
        wanted = self._buffer.wanted()
        if wanted or self._buffer.idle:  # an idle poll still reports errors of the group
            self._polled_at = anyio.current_time()
            self._polling = asyncio.ensure_future(self._poll(self._consumer, wanted))

    async def _poll(self, consumer: AIOKafkaConsumer, wanted: list[TopicPartition]) -> None:
        try:
            found = await consumer.getmany(
                *map(self.to_wire, wanted), timeout_ms=round(POLL_S * 1000), max_records=POLL_RECORDS
            )
            if consumer is self._consumer:
                self._keep(consumer, wanted, found)
        except NoOffsetForPartitionError:
            pass  # the client asked for a start offset before it was told one
        except OffsetOutOfRangeError as error:
            self._out_of_range(consumer, error.args[0])
        except Exception as error:  # noqa: BLE001 - `fetch` raises it, be it the cluster's fault or a bug
            self._fail(consumer, translate(error, "reading"))
        except asyncio.CancelledError:
            if self._consumer is consumer and not cancel_requested():
                self._fail(consumer, Unavailable("reading was cancelled by the client"))
            raise

    def _keep(
        self,
        consumer: AIOKafkaConsumer,
        wanted: list[TopicPartition],
        found: "Mapping[KafkaPartition, list[ConsumerRecord[bytes, bytes]]]",
    ) -> None:
        polled_s = anyio.current_time() - self._polled_at
        for tp in () if self._suspended else wanted:
            self._silent_s[tp] = self._silent_s.get(tp, 0.0) + polled_s
        for partition, records in found.items():
            tp = self.from_wire(partition)
            self._silent_s[tp] = 0.0
            topic, number = tp
            kept = self._buffer.put(
                tp,
                [
                    Record(topic, number, r.offset, r.key or b"", r.value, tuple(r.headers), r.timestamp)
                    for r in records
                ],
            )
            if not kept and (offset := self._buffer.next_fetch_offset(tp)) is not None:
                consumer.seek(partition, offset)
        if found:
            self._wakeup.set()
        else:
            self._skip_empty_offsets(consumer)

    def _fail(self, consumer: AIOKafkaConsumer, error: Exception) -> None:
        if consumer is self._consumer:
            self._failure = error
            self._wakeup.set()

    def _out_of_range(self, consumer: AIOKafkaConsumer, offsets: Mapping[KafkaPartition, int]) -> None:
        """Fails where the buffer wants the missing offset; elsewhere only the client's own position is corrected."""
        missing = []
        for partition, offset in offsets.items():
            tp = self.from_wire(partition)
            wanted = self._buffer.next_fetch_offset(tp)
            if wanted == offset:
                missing.append(f"{tp.topic}[{tp.partition}]@{offset}")
            elif wanted is not None:
                consumer.seek(partition, wanted)
        if missing:
            self._fail(consumer, OffsetOutOfRange(f"the log does not hold {', '.join(missing)}"))

    def _skip_empty_offsets(self, consumer: AIOKafkaConsumer) -> None:
        """Where no record came, the client may have passed offsets that compaction emptied."""
        assignment: Any = getattr(consumer._subscription.subscription, "assignment", None)  # noqa: SLF001 - `position()` waits for a position, which may never come
        for tp in self._buffer.wanted() if assignment is not None else ():
            state = assignment.state_value(self.to_wire(tp))
            if state is not None and state.has_valid_position and state.position > self._buffer.position(tp):
                self._buffer.skip_to(tp, state.position)
                self._wakeup.set()

    # --- watching for stalls

    async def _check_stall(self, now: float) -> None:
        """A partition without records for long has none, or its client has stalled without an error."""
        self._checked_at = now
        if self._polling is not None and not self._polling.done() and now > self._polled_at + self._poll_s_max:
            await self._reconnect("the client does not answer")
            return
        silent = [tp for tp in self._buffer.wanted() if self._silent_s.get(tp, 0.0) >= self._settings.stall_s]
        if not silent:
            return
        try:
            ends = await self._offsets.end(silent)
        except Unavailable:
            if len(silent) == len(self._buffer.positions):
                raise
            return  # other partitions deliver: part of the cluster is down, and these are checked again
        for tp in silent:
            self._silent_s[tp] = 0.0
        behind = [tp for tp in silent if ends[tp] > (self._buffer.next_fetch_offset(tp) or 0)]
        if behind:
            await self._reconnect(f"{behind[0].topic}[{behind[0].partition}] has records, and none came")

    async def _reconnect(self, why: str) -> None:
        raise Unavailable(f"{why}: connecting anew")


class KafkaTail(KafkaReader):
    async def open(self, start: Mapping[TopicPartition, int]) -> None:
        self._buffer.follow(start)
        await self._connect()

    async def _before_take(self) -> None:
        if self._consumer is None and not self._closing:
            await self._connect()

    async def _connect(self) -> None:
        settings = self._settings
        consumer = await connect(
            lambda: with_fetch_delay(AIOKafkaConsumer(**consumer_options(settings)), settings.fetch_delay_s), settings
        )
        positions = self._buffer.positions
        consumer.assign([self.to_wire(tp) for tp in positions])  # even if empty: an unassigned client waits for it
        for tp, offset in positions.items():
            consumer.seek(self.to_wire(tp), offset)
        if paused := self._buffer.paused:
            consumer.pause(*map(self.to_wire, paused))
        self._consumer = consumer
        self._silent_s.clear()

    async def _reconnect(self, _: str) -> None:
        await self._disconnect()
        await self._connect()


def consumer_options(settings: KafkaSettings) -> dict[str, object]:
    return {
        **connection_options(settings),
        "enable_auto_commit": False,
        "auto_offset_reset": "none",
        "fetch_max_bytes": settings.fetch_bytes_max,
        "max_partition_fetch_bytes": settings.partition_fetch_bytes_max,
        "isolation_level": "read_committed",
    }

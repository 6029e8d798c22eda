"""The bus on Apache Kafka: the same promises as in one process.

Callers cannot tell it from the in-process bus. Namespace, security and every time limit are in the settings; topics
are created by `airy topics apply`, never here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from airy.bus.api import RebalanceListener, Subscription, Tail
from airy.bus.append_health import AppendHealth
from airy.bus.kafka import log_throttle
from airy.bus.kafka.offsets import OffsetQueries
from airy.bus.kafka.producer import Producer
from airy.bus.kafka.reader import KafkaTail
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.kafka.subscription import KafkaSubscription
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable
from airy.histogram import SHORT_S, Histograms
from airy.lifecycle import Lifecycle


class KafkaBus:
    """`Bus` over a cluster. Calls wait until `run` has connected."""

    def __init__(self, topics: Sequence[Topic[Any]], settings: KafkaSettings) -> None:
        self._topics = {topic.name: topic for topic in topics}
        self._settings = settings
        self._connection: _Connection | None = None
        self._connected = anyio.Event()
        self.rebalances: Counter[str] = Counter()  # by group, since this process started
        self.appends = Histograms(SHORT_S)  # duration of `publish`, by topic
        self.append_health = AppendHealth()

    async def run(self, lifecycle: Lifecycle) -> None:
        log_throttle.install()
        connection = _Connection(Producer(self._settings), OffsetQueries(self._settings))
        try:
            await connection.producer.start()
            self._connection = connection
            self._connected.set()
            lifecycle.ready()
            with lifecycle.waiting():
                await lifecycle.draining.wait()
        finally:
            self._connection = None
            if self._connected.is_set():  # an event that callers still wait for is kept
                self._connected = anyio.Event()
            with anyio.CancelScope(shield=True):
                await connection.producer.close()
                await connection.offsets.close()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        if not records:
            return []
        for record in records:
            self._check(record.topic, record.partition)
        began = anyio.current_time()
        try:
            positions = await (await self._ready()).producer.publish(records)
        except Unavailable as error:
            self.append_health.failed(str(error))
            raise
        else:
            self.append_health.succeeded()
            return positions
        finally:
            self.appends.add({record.topic for record in records}, anyio.current_time() - began)

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        listener: RebalanceListener | None = None,
    ) -> AsyncIterator[Subscription]:
        for topic in topics:
            self._check(topic.name, 0)
        subscription = KafkaSubscription(
            self._settings,
            (await self._ready()).offsets,
            topics=topics,
            group=group,
            listener=listener,
            rebalances=self.rebalances,
        )
        await subscription.open()
        try:
            yield subscription
        finally:
            await subscription.close()

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        for tp in start:
            self._check(*tp)
        tail = KafkaTail(self._settings, (await self._ready()).offsets)
        await tail.open(start)
        try:
            yield tail
        finally:
            await tail.close()

    async def beginning_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return await (await self._ready()).offsets.beginning(self._partitions(topics))

    async def end_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return await (await self._ready()).offsets.end(self._partitions(topics))

    async def offsets_at(self, topics: Sequence[Topic[Any]], at_ms: int) -> dict[TopicPartition, int]:
        return await (await self._ready()).offsets.at(self._partitions(topics), at_ms)

    async def counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for tp, count in (await self.partition_counts_from(starts)).items():
            counts[tp.topic] += count
        return dict(counts)

    async def partition_counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        for tp in starts:
            self._check(*tp)
        ends = await (await self._ready()).offsets.end(starts)
        return {tp: max(0, end - starts[tp]) for tp, end in ends.items()}

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return await (await self._ready()).offsets.committed(group, self._partitions(topics))

    # --- implementation

    async def _ready(self) -> "_Connection":
        connection = self._connection
        if connection is not None:  # before the time limit, which costs a quarter of a publish
            return connection
        with anyio.move_on_after(self._settings.call_s):
            while self._connection is None:
                await self._connected.wait()
        if self._connection is None:
            raise Unavailable("there is no connection to the cluster")
        return self._connection

    def _partitions(self, topics: Iterable[Topic[Any]]) -> list[TopicPartition]:
        for topic in topics:
            self._check(topic.name, 0)
        return [tp for topic in topics for tp in topic.topic_partitions]

    def _check(self, name: str, partition: int) -> None:
        topic = self._topics.get(name)
        if topic is None:
            raise Refused(f"there is no topic {name!r}: declare it where the bus is made", field="topic")
        if not 0 <= partition < topic.partitions:
            raise Refused(f"{name} has no partition {partition}", field="partition")


class _Connection:
    """What exists while `run` runs."""

    def __init__(self, producer: Producer, offsets: OffsetQueries) -> None:
        self.producer = producer
        self.offsets = offsets

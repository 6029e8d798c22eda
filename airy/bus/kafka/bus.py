"""The bus on Apache Kafka: the same promises as in one process, kept by a cluster.

Nothing above `airy.bus` can tell it from the memory bus. Namespaces, security and every deadline are in the settings;
topics are made by `airy topics apply`, never here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from airy.bus.api import Ownership, Pulse, Subscription, Tail
from airy.bus.kafka.ends import Ends
from airy.bus.kafka.producer import Producer
from airy.bus.kafka.quiet import hush
from airy.bus.kafka.reader import KafkaTail
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.kafka.subscription import KafkaSubscription
from airy.bus.record import Emit, Position, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable
from airy.histogram import SHORT_S, Histograms


class KafkaBus:
    """`Bus` over a cluster. `run` has to be running; calls wait for it."""

    def __init__(self, topics: Sequence[Topic[Any]], settings: KafkaSettings) -> None:
        self._topics = {topic.name: topic for topic in topics}
        self._settings = settings
        self._open: _Open | None = None
        self._opened = anyio.Event()
        self.rebalances: Counter[str] = Counter()  # by group, since this process started
        self.appends = Histograms(SHORT_S)  # how long `publish` took, by topic

    async def run(self, pulse: Pulse) -> None:
        hush()
        opened = _Open(Producer(self._settings), Ends(self._settings))
        try:
            await opened.producer.start()
            self._open = opened
            self._opened.set()
            pulse.ready()
            with pulse.waiting():
                await pulse.draining.wait()
        finally:
            self._open = None
            if self._opened.is_set():  # those who wait for the first start go on waiting for the same
                self._opened = anyio.Event()
            with anyio.CancelScope(shield=True):
                await opened.producer.close()
                await opened.ends.close()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        if not emits:
            return []
        for emit in emits:
            self._check(emit.topic, emit.partition)
        began = anyio.current_time()
        try:
            return await (await self._ready()).producer.publish(emits)
        finally:
            self.appends.add({emit.topic for emit in emits}, anyio.current_time() - began)

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        ownership: Ownership | None = None,
    ) -> AsyncIterator[Subscription]:
        for topic in topics:
            self._check(topic.name, 0)
        subscription = KafkaSubscription(
            self._settings,
            (await self._ready()).ends,
            topics=topics,
            group=group,
            ownership=ownership,
            rebalances=self.rebalances,
        )
        await subscription.open()
        try:
            yield subscription
        finally:
            await subscription.close()

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        for where in start:
            self._check(*where)
        tail = KafkaTail(self._settings, (await self._ready()).ends)
        await tail.open(start)
        try:
            yield tail
        finally:
            await tail.close()

    async def starts(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return await (await self._ready()).ends.starts(self._partitions(topics))

    async def ends(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return await (await self._ready()).ends.of(self._partitions(topics))

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return await (await self._ready()).ends.committed(group, self._partitions(topics))

    # --- how it works

    async def _ready(self) -> "_Open":
        opened = self._open
        if opened is not None:  # a time limit costs a quarter of a publish
            return opened
        with anyio.move_on_after(self._settings.call_s):
            while self._open is None:
                await self._opened.wait()
        if self._open is None:
            raise Unavailable("there is no connection to the cluster")
        return self._open

    def _partitions(self, topics: Iterable[Topic[Any]]) -> list[TopicPartition]:
        for topic in topics:
            self._check(topic.name, 0)
        return [where for topic in topics for where in topic.where]

    def _check(self, name: str, partition: int) -> None:
        topic = self._topics.get(name)
        if topic is None:
            raise Refused(f"there is no topic {name!r}: declare it where the bus is made", field="topic")
        if not 0 <= partition < topic.partitions:
            raise Refused(f"{name} has no partition {partition}", field="partition")


class _Open:
    """What there is while `run` runs."""

    def __init__(self, producer: Producer, ends: Ends) -> None:
        self.producer = producer
        self.ends = ends

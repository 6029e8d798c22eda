"""The bus in one process: partitions, groups, rebalances, retention and compaction, as in a Kafka cluster.

Without a journal the log exists as long as the object. With one, records become readable, and `publish` returns, once
they are on disk; memory then is a bounded cache of the newest records.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from airy.bus.api import RebalanceListener, Subscription, Tail
from airy.bus.append_health import AppendHealth
from airy.bus.memory.faults import FaultKind, FaultPoint, Faults
from airy.bus.memory.group import Group
from airy.bus.memory.journal import Journal
from airy.bus.memory.journaled_storage import JournaledStorage
from airy.bus.memory.pending_append import declared_log
from airy.bus.memory.reader import LogReader
from airy.bus.memory.settings import GroupTimeouts, MemoryLimits, RetentionSettings
from airy.bus.memory.storage import MemoryStorage, Storage
from airy.bus.memory.subscription import GroupSubscription
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.topic import Topic
from airy.clock import Clock
from airy.errors import Unavailable
from airy.histogram import SHORT_S, Histograms
from airy.lifecycle import Lifecycle
from airy.task_group import task_group

DEFAULT_LIMITS = MemoryLimits()
DEFAULT_TIMEOUTS = GroupTimeouts()
DEFAULT_RETENTION = RetentionSettings()


class MemoryBus:
    """`Bus` for one process. Without a journal it outlives its `run`, so that a test can crash its users."""

    def __init__(
        self,
        topics: Sequence[Topic[Any]],
        *,
        clock: Clock,
        journal: Journal | None = None,
        faults: Faults | None = None,
        limits: MemoryLimits = DEFAULT_LIMITS,
        timeouts: GroupTimeouts = DEFAULT_TIMEOUTS,
        retention: RetentionSettings = DEFAULT_RETENTION,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._timeouts = timeouts
        self._retention = retention
        self._groups: dict[str, Group] = {}
        self.appends = Histograms(SHORT_S)  # duration of `publish`, by topic
        self.append_health = AppendHealth()
        self._storage: Storage = (
            MemoryStorage(topics, clock=clock, limits=limits, retention=retention)
            if journal is None
            else JournaledStorage(topics, journal=journal, clock=clock, limits=limits, retention=retention)
        )
        self._logs = self._storage.logs

    async def run(self, lifecycle: Lifecycle) -> None:
        async with task_group() as tasks:
            tasks.start_soon(self._retention_loop)
            await self._storage.run(lifecycle)
            tasks.cancel_scope.cancel()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        if not records:
            return []
        began = anyio.current_time()
        try:
            positions = await self._publish(records)
        except Unavailable as error:
            self.append_health.failed(str(error))
            raise
        else:
            self.append_health.succeeded()
            return positions
        finally:
            self.appends.add({record.topic for record in records}, anyio.current_time() - began)

    async def _publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        if self._faults is None:
            return await self._storage.publish(records)
        if await self._inject("publish") == "duplicate":
            await self._storage.publish(records)
        positions = await self._storage.publish(records)
        await self._inject("published")
        return positions

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        listener: RebalanceListener | None = None,
    ) -> AsyncIterator[Subscription]:
        for topic in topics:
            declared_log(self._logs, topic.name)
        subscription = GroupSubscription(
            self._logs,
            self._storage.read,
            topics=topics,
            group=self._group(group),
            listener=listener,
            commit=self._commit,
            before_fetch=self._before_fetch,
        )
        try:
            yield subscription
        finally:
            subscription.leave()

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        for tp in start:
            declared_log(self._logs, *tp)
        reader = LogReader(self._logs, self._storage.read)
        reader.follow(start)
        try:
            yield reader
        finally:
            reader.follow({})

    async def beginning_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return {tp: declared_log(self._logs, *tp).starts[tp.partition] for tp in _partitions(topics)}

    async def end_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return {tp: declared_log(self._logs, *tp).ends[tp.partition] for tp in _partitions(topics)}

    async def offsets_at(self, topics: Sequence[Topic[Any]], at_ms: int) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        for topic in topics:
            log = declared_log(self._logs, topic.name)
            offset = await self._storage.offset_at(topic.name, at_ms)
            for tp in topic.topic_partitions:
                end = log.ends[tp.partition]
                found[tp] = end if offset is None else min(max(offset, log.starts[tp.partition]), end)
        return found

    async def counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[str, int]:
        return {
            topic: declared_log(self._logs, topic).count_from(wanted) for topic, wanted in _by_topic(starts).items()
        }

    async def partition_counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        return {
            TopicPartition(topic, partition): count
            for topic, wanted in _by_topic(starts).items()
            for partition, count in declared_log(self._logs, topic).partition_counts_from(wanted).items()
        }

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        committed = self._group(group).committed
        return {tp: committed[tp] for tp in _partitions(topics) if tp in committed}

    # --- beyond the protocol

    @property
    def rebalances(self) -> Counter[str]:
        """Completed rebalances since start, by group."""
        return Counter({name: group.rebalances for name, group in self._groups.items()})

    def rebalance(self, group: str) -> None:
        """PartitionAssignment the partitions of a group out again, as if a member had come or gone."""
        self._group(group).rebalance(anyio.current_time())

    async def run_retention(self) -> None:
        """Apply retention and compaction now; `run` does so at every interval."""
        await self._storage.run_retention(self._clock.now_ms())

    # --- implementation

    async def _retention_loop(self) -> None:
        while True:
            await anyio.sleep(self._retention.interval_s)
            with suppress(Unavailable):  # a full disk: publishers get the error, and the next interval tries again
                await self.run_retention()

    async def _commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        await self._inject("commit")
        await self._storage.commit(group, offsets)
        await self._inject("committed")

    async def _before_fetch(self, group: Group) -> None:
        if await self._inject("fetch") == "rebalance":
            group.rebalance(anyio.current_time())

    async def _inject(self, point: FaultPoint) -> FaultKind | None:
        return None if self._faults is None else await self._faults.inject(point)

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            group = Group(name, session_s=self._timeouts.session_s, rebalance_s=self._timeouts.rebalance_s)
            group.committed = self._storage.committed(name)
            self._groups[name] = group
        return self._groups[name]


def _partitions(topics: Sequence[Topic[Any]]) -> list[TopicPartition]:
    return [tp for topic in topics for tp in topic.topic_partitions]


def _by_topic(offsets: Mapping[TopicPartition, int]) -> dict[str, dict[int, int]]:
    """By topic and partition."""
    found: dict[str, dict[int, int]] = {}
    for tp, offset in offsets.items():
        found.setdefault(tp.topic, {})[tp.partition] = offset
    return found

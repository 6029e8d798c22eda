"""The bus in one process: partitions, groups, rebalances, retention and compaction, as a cluster has them.

Without a journal the log lives and dies with the object. With one, records become readable, and `publish` returns,
once they are on disk; memory then is a bounded cache of the newest.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import anyio

from airy.bus.api import Ownership, Pulse, Subscription, Tail
from airy.bus.draft import find
from airy.bus.durable import Durable
from airy.bus.faults import Faults, Kind, Point
from airy.bus.group import Group
from airy.bus.journal import Journal
from airy.bus.reader import LogReader
from airy.bus.record import Emit, Position, TopicPartition
from airy.bus.storage import Storage, Volatile
from airy.bus.subscription import GroupSubscription
from airy.bus.topic import Topic
from airy.bus.worker import task_group
from airy.clock import Clock
from airy.errors import Unavailable
from airy.histogram import SHORT_S, Histograms

MIB: Final = 1_048_576
DAY_MS: Final = 86_400_000


class MemoryBus:
    """`Bus` for one process. Without a journal it outlives its `run`, so that a test can crash what uses it."""

    def __init__(
        self,
        topics: Sequence[Topic[Any]],
        *,
        clock: Clock,
        journal: Journal | None = None,
        faults: Faults | None = None,
        record_bytes_max: int = 4 * MIB,
        memory_bytes_max: int | None = None,
        publish_records_max: int = 10_000,
        publish_bytes_max: int = 32 * MIB,
        session_s: float = 45.0,
        rebalance_s: float = 60.0,
        upkeep_s: float = 60.0,
        tombstone_ms: int = 30 * DAY_MS,
        compact_records_min: int = 1_000,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._session_s = session_s
        self._rebalance_s = rebalance_s
        self._upkeep_s = upkeep_s
        self._groups: dict[str, Group] = {}
        self.appends = Histograms(SHORT_S)  # how long `publish` took, by topic
        self._storage: Storage
        if journal is None:
            self._storage = Volatile(
                topics,
                clock=clock,
                bytes_max=memory_bytes_max or 1024 * MIB,
                tombstone_ms=tombstone_ms,
                compact_records_min=compact_records_min,
                record_bytes_max=record_bytes_max,
            )
        else:
            self._storage = Durable(
                topics,
                journal=journal,
                clock=clock,
                bytes_max=memory_bytes_max or 64 * MIB,
                tombstone_ms=tombstone_ms,
                compact_records_min=compact_records_min,
                publish_records_max=publish_records_max,
                publish_bytes_max=publish_bytes_max,
                record_bytes_max=record_bytes_max,
            )
        self._logs = self._storage.logs

    async def run(self, pulse: Pulse) -> None:
        async with task_group() as tasks:
            tasks.start_soon(self._keep_up)
            await self._storage.run(pulse)
            tasks.cancel_scope.cancel()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        if not emits:
            return []
        began = anyio.current_time()
        try:
            return await self._publish(emits)
        finally:
            self.appends.add({emit.topic for emit in emits}, anyio.current_time() - began)

    async def _publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        if self._faults is None:
            return await self._storage.publish(emits)
        if await self._strike("publish") == "duplicate":
            await self._storage.publish(emits)
        positions = await self._storage.publish(emits)
        await self._strike("published")
        return positions

    @asynccontextmanager
    async def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        ownership: Ownership | None = None,
    ) -> AsyncIterator[Subscription]:
        for topic in topics:
            find(self._logs, topic.name)
        subscription = GroupSubscription(
            self._logs,
            self._storage.read,
            topics=topics,
            group=self._group(group),
            ownership=ownership,
            commit=self._commit,
            before=self._before_fetch,
        )
        try:
            yield subscription
        finally:
            subscription.leave()

    @asynccontextmanager
    async def tail(self, start: Mapping[TopicPartition, int]) -> AsyncIterator[Tail]:
        for where in start:
            find(self._logs, *where)
        reader = LogReader(self._logs, self._storage.read)
        reader.follow(start)
        try:
            yield reader
        finally:
            reader.follow({})

    async def starts(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return {where: find(self._logs, *where).starts[where.partition] for where in _partitions(topics)}

    async def ends(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        return {where: find(self._logs, *where).ends[where.partition] for where in _partitions(topics)}

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        committed = self._group(group).committed
        return {where: committed[where] for where in _partitions(topics) if where in committed}

    # --- beyond the protocol

    @property
    def rebalances(self) -> Counter[str]:
        """How often the partitions of each group were dealt out since start."""
        return Counter({name: group.deals for name, group in self._groups.items()})

    def rebalance(self, group: str) -> None:
        """Deal the partitions of a group out again, as if a member had come or gone."""
        self._group(group).rebalance(anyio.current_time())

    async def upkeep(self) -> None:
        """Retention and compaction, now; `run` does it every `upkeep_s`."""
        await self._storage.upkeep(self._clock.now_ms())

    # --- how it works

    async def _keep_up(self) -> None:
        while True:
            await anyio.sleep(self._upkeep_s)
            with suppress(Unavailable):  # a full disk: whoever publishes is told, and the next round tries again
                await self.upkeep()

    async def _commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        await self._strike("commit")
        await self._storage.commit(group, offsets)
        await self._strike("committed")

    async def _before_fetch(self, group: Group) -> None:
        if await self._strike("fetch") == "rebalance":
            group.rebalance(anyio.current_time())

    async def _strike(self, point: Point) -> Kind | None:
        return None if self._faults is None else await self._faults.strike(point)

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            group = Group(name, session_s=self._session_s, rebalance_s=self._rebalance_s)
            group.committed = self._storage.committed(name)
            self._groups[name] = group
        return self._groups[name]


def _partitions(topics: Sequence[Topic[Any]]) -> list[TopicPartition]:
    return [where for topic in topics for where in topic.where]

"""A log in a journal, with its newest records in memory. Blocking calls run in three threads of their own."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio

from airy.bus.memory.cache import RecordCache
from airy.bus.memory.committer import Committer
from airy.bus.memory.compaction import compact_journal
from airy.bus.memory.group import Group
from airy.bus.memory.journal import Journal
from airy.bus.memory.log import Log, ReadResult, memory_bytes
from airy.bus.memory.pending_append import PendingAppend
from airy.bus.memory.retention import expire_journal
from airy.bus.memory.settings import MIB, MemoryLimits, RetentionSettings
from airy.bus.memory.thread_worker import ThreadWorker
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.topic import Topic
from airy.clock import Clock
from airy.errors import Unavailable
from airy.lifecycle import Lifecycle
from airy.task_group import task_group

MEMORY_BYTES_MAX = 64 * MIB


class JournaledStorage:
    def __init__(
        self,
        topics: Sequence[Topic[Any]],
        *,
        journal: Journal,
        clock: Clock,
        limits: MemoryLimits,
        retention: RetentionSettings,
    ) -> None:
        ranges = journal.declare(topics)
        self.logs = {topic.name: Log(topic, ranges[topic.name]) for topic in topics}
        self._journal = journal
        self._retention = retention
        self._cache = RecordCache(self.logs, bytes_max=limits.memory_bytes_max or MEMORY_BYTES_MAX)
        self._writer = ThreadWorker(inline=journal.inline)
        self._reader = ThreadWorker(inline=journal.inline)
        self._checkpointer = ThreadWorker(inline=journal.inline)
        self._committer = Committer(
            journal, self.logs, clock=clock, writer=self._writer, on_durable=self._apply, limits=limits
        )

    def committed(self, group: str) -> dict[TopicPartition, int]:
        return {each.topic_partition: each.offset for each in self._journal.committed_offsets() if each.group == group}

    async def run(self, lifecycle: Lifecycle) -> None:
        async with task_group() as tasks:
            tasks.start_soon(self._drain_with, lifecycle)
            tasks.start_soon(self._checkpoint)
            lifecycle.ready()
            await self._committer.run(lifecycle)
            tasks.cancel_scope.cancel()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        return await self._committer.publish(records)

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        await self._committer.commit(group, offsets)

    async def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> ReadResult:
        return await self._reader(self._journal.read, topic, wanted, records_max, bytes_max)

    async def offset_at(self, topic: str, at_ms: int) -> int | None:
        return await self._reader(self._journal.offset_at, topic, at_ms)

    async def run_retention(self, now_ms: int) -> None:
        retention = self._retention
        for log in self.logs.values():
            topic = log.topic
            if topic.retention == "compacted":
                await compact_journal(
                    self._journal,
                    self._writer,
                    log,
                    now_ms - retention.tombstone_ms,
                    new_records_min=retention.compact_records_min,
                )
            elif topic.retention == "time" and topic.retention_ms is not None:
                before_ms = now_ms - topic.retention_ms
                self._cache.freed(await expire_journal(self._journal, self._writer, log, before_ms))

    def _apply(self, pending: PendingAppend) -> None:
        pending.apply()
        for topic, records in pending.records.items():
            self._cache.added(topic, memory_bytes(records))

    async def _drain_with(self, lifecycle: Lifecycle) -> None:
        await lifecycle.draining.wait()
        self._committer.drain()

    async def _checkpoint(self) -> None:
        """Checkpoint first beside the writer, then in the writer's thread, so that the write-ahead log can restart."""
        while True:
            await self._committer.wal_full.wait()
            self._committer.wal_full = anyio.Event()
            with suppress(Unavailable):  # a full disk: the next commit group sets `wal_full` again
                await self._writer(self._journal.save)
                await self._checkpointer(self._journal.checkpoint)
                await self._writer(self._journal.checkpoint)

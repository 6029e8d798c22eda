"""A log in a journal, with its newest records in memory. What blocks runs in threads of its own."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio

from airy.bus.api import Pulse
from airy.bus.cache import Cache
from airy.bus.committer import Committer
from airy.bus.draft import Draft
from airy.bus.group import Group
from airy.bus.journal import Journal
from airy.bus.log import Found, Log, held
from airy.bus.record import Emit, Position, TopicPartition
from airy.bus.topic import Topic
from airy.bus.upkeep import compact_journal, expire_journal
from airy.bus.worker import Worker, task_group
from airy.clock import Clock
from airy.errors import Unavailable


class Durable:
    def __init__(
        self,
        topics: Sequence[Topic[Any]],
        *,
        journal: Journal,
        clock: Clock,
        bytes_max: int,
        tombstone_ms: int,
        compact_records_min: int,
        publish_records_max: int,
        publish_bytes_max: int,
        record_bytes_max: int,
    ) -> None:
        spans = journal.declare(topics)
        self.logs = {topic.name: Log(topic, spans[topic.name]) for topic in topics}
        self._journal = journal
        self._tombstone_ms = tombstone_ms
        self._compact_records_min = compact_records_min
        self._cache = Cache(self.logs, bytes_max=bytes_max)
        self._writer = Worker(inline=journal.inline)
        self._reader = Worker(inline=journal.inline)
        self._checkpointer = Worker(inline=journal.inline)
        self._committer = Committer(
            journal,
            self.logs,
            clock=clock,
            writer=self._writer,
            enter=self._enter,
            records_max=publish_records_max,
            bytes_max=publish_bytes_max,
            record_bytes_max=record_bytes_max,
        )

    def committed(self, group: str) -> dict[TopicPartition, int]:
        return {mark.where: mark.offset for mark in self._journal.marks() if mark.group == group}

    async def run(self, pulse: Pulse) -> None:
        async with task_group() as tasks:
            tasks.start_soon(self._drain_with, pulse)
            tasks.start_soon(self._checkpoint)
            pulse.ready()
            await self._committer.run(pulse)
            tasks.cancel_scope.cancel()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        return await self._committer.publish(emits)

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        await self._committer.commit(group, offsets)

    async def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> Found:
        return await self._reader(self._journal.read, topic, wanted, records_max, bytes_max)

    async def upkeep(self, now_ms: int) -> None:
        for log in self.logs.values():
            topic = log.topic
            if topic.retention == "compacted":
                await compact_journal(
                    self._journal,
                    self._writer,
                    log,
                    now_ms - self._tombstone_ms,
                    fresh_records_min=self._compact_records_min,
                )
            elif topic.retention == "time" and topic.retention_ms is not None:
                before_ms = now_ms - topic.retention_ms
                self._cache.freed(await expire_journal(self._journal, self._writer, log, before_ms))

    def _enter(self, draft: Draft) -> None:
        draft.enter()
        for topic, records in draft.records.items():
            self._cache.entered(topic, held(records))

    async def _drain_with(self, pulse: Pulse) -> None:
        await pulse.draining.wait()
        self._committer.drain()

    async def _checkpoint(self) -> None:
        """Most of it beside the writer; the rest while the writer waits, so that the log can start over."""
        while True:
            await self._committer.wal_full.wait()
            self._committer.wal_full = anyio.Event()
            with suppress(Unavailable):  # a full disk: the next group asks for it again
                await self._writer(self._journal.save)
                await self._checkpointer(self._journal.checkpoint)
                await self._writer(self._journal.checkpoint)

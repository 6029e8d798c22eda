"""Where the in-process bus keeps its log: the protocol, and the storage that keeps it in memory only."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from anyio.lowlevel import checkpoint

from airy.bus.memory.compaction import compact_memory
from airy.bus.memory.group import Group
from airy.bus.memory.log import OVERHEAD_BYTES, CompactionState, Log, ReadResult
from airy.bus.memory.pending_append import PendingAppend
from airy.bus.memory.retention import expire_memory
from airy.bus.memory.settings import MIB, MemoryLimits, RetentionSettings
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.topic import Topic
from airy.clock import Clock
from airy.errors import Unavailable
from airy.lifecycle import Lifecycle

MEMORY_BYTES_MAX = 1024 * MIB


class Storage(Protocol):
    """Callers read declared topics only; `publish` checks its records itself."""

    @property
    def logs(self) -> Mapping[str, Log]: ...

    def committed(self, group: str) -> dict[TopicPartition, int]: ...
    async def run(self, lifecycle: Lifecycle) -> None: ...
    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]: ...
    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None: ...
    async def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> ReadResult:
        """Records that are not in memory: see `JournalRead`."""
        ...

    async def offset_at(self, topic: str, at_ms: int) -> int | None:
        """The first offset of the topic, in any partition, whose record is as new as `at_ms`; None: none is."""
        ...

    async def run_retention(self, now_ms: int) -> None:
        """Remove records as the retention of their topics says."""
        ...


class MemoryStorage:
    """Keeps every record in memory. Refuses publishes when full, because it has nowhere to evict records to."""

    def __init__(
        self, topics: Sequence[Topic[Any]], *, clock: Clock, limits: MemoryLimits, retention: RetentionSettings
    ) -> None:
        self.logs = {topic.name: Log(topic) for topic in topics}
        self._clock = clock
        self._limits = limits
        self._bytes_max = limits.memory_bytes_max or MEMORY_BYTES_MAX
        self._retention = retention
        self._compacted: dict[str, CompactionState] = {}
        self._bytes_held = 0

    def committed(self, _: str) -> dict[TopicPartition, int]:
        return {}

    async def run(self, lifecycle: Lifecycle) -> None:
        lifecycle.ready()
        with lifecycle.waiting():
            await lifecycle.draining.wait()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        if self._bytes_held > self._bytes_max:
            raise Unavailable(f"the log in memory exceeds {self._bytes_max} bytes: keep a journal on disk")
        pending = PendingAppend(self.logs, now_ms=self._clock.now_ms(), record_bytes_max=self._limits.record_bytes_max)
        positions = pending.add(records)
        pending.apply()
        self._bytes_held += pending.size + OVERHEAD_BYTES * len(records)
        await checkpoint()  # lets other tasks run, because nothing else here waits
        return positions

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        group.committed.update(offsets)
        await checkpoint()

    async def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> ReadResult:
        raise AssertionError(f"all of {topic} is in memory: {wanted}, {records_max}, {bytes_max}")

    async def offset_at(self, topic: str, at_ms: int) -> int | None:
        await checkpoint()
        return next((each.offset for each in self.logs[topic].records if each.timestamp_ms >= at_ms), None)

    async def run_retention(self, now_ms: int) -> None:
        retention = self._retention
        for name, log in self.logs.items():
            topic = log.topic
            if topic.retention == "compacted":
                last = self._compacted.get(name, CompactionState())
                if last.due(log.next, retention.compact_records_min):
                    freed, kept = compact_memory(log, now_ms - retention.tombstone_ms)
                    self._bytes_held -= freed
                    self._compacted[name] = CompactionState(log.next, kept)
            elif topic.retention == "time" and topic.retention_ms is not None:
                self._bytes_held -= expire_memory(log, now_ms - topic.retention_ms)
            await checkpoint()

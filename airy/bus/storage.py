"""Where a memory bus keeps its log: a port, and the answer that keeps it nowhere but in memory."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from anyio.lowlevel import checkpoint

from airy.bus.api import Pulse
from airy.bus.draft import Draft
from airy.bus.group import Group
from airy.bus.log import OVERHEAD_BYTES, Compacted, Found, Log
from airy.bus.record import Emit, Position, TopicPartition
from airy.bus.topic import Topic
from airy.bus.upkeep import compact, expire
from airy.clock import Clock
from airy.errors import Unavailable


class Storage(Protocol):
    """What a memory bus asks of its storage. Topics to read are declared; what is to be written may be anything."""

    @property
    def logs(self) -> Mapping[str, Log]: ...

    def committed(self, group: str) -> dict[TopicPartition, int]: ...
    async def run(self, pulse: Pulse) -> None: ...
    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]: ...
    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None: ...
    async def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> Found:
        """What is not in memory: see `ColdRead`."""
        ...

    async def upkeep(self, now_ms: int) -> None:
        """Let go of what retention and compaction say."""
        ...


class Volatile:
    """Everything is in memory and gone with it. Full, it refuses: it has nowhere to put the oldest."""

    def __init__(
        self,
        topics: Sequence[Topic[Any]],
        *,
        clock: Clock,
        bytes_max: int,
        tombstone_ms: int,
        compact_records_min: int,
        record_bytes_max: int,
    ) -> None:
        self.logs = {topic.name: Log(topic) for topic in topics}
        self._clock = clock
        self._bytes_max = bytes_max
        self._tombstone_ms = tombstone_ms
        self._compact_records_min = compact_records_min
        self._record_bytes_max = record_bytes_max
        self._compacted: dict[str, Compacted] = {}
        self._held = 0

    def committed(self, _: str) -> dict[TopicPartition, int]:
        return {}

    async def run(self, pulse: Pulse) -> None:
        pulse.ready()
        with pulse.waiting():
            await pulse.draining.wait()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        if self._held > self._bytes_max:
            raise Unavailable(f"the log in memory is over its {self._bytes_max} bytes: keep a journal on disk")
        draft = Draft(self.logs, now_ms=self._clock.now_ms(), record_bytes_max=self._record_bytes_max)
        positions = draft.add(emits)
        draft.enter()
        self._held += draft.total + OVERHEAD_BYTES * len(emits)
        await checkpoint()  # a publisher that never waits for anything must still let others run
        return positions

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        group.committed.update(offsets)
        await checkpoint()

    async def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> Found:
        raise AssertionError(f"all of {topic} is in memory: {wanted}, {records_max}, {bytes_max}")

    async def upkeep(self, now_ms: int) -> None:
        for name, log in self.logs.items():
            topic = log.topic
            if topic.retention == "compacted":
                last = self._compacted.get(name, Compacted())
                if last.again(log.next, self._compact_records_min):
                    freed, kept = compact(log, now_ms - self._tombstone_ms)
                    self._held -= freed
                    self._compacted[name] = Compacted(log.next, kept)
            elif topic.retention == "time" and topic.retention_ms is not None:
                self._held -= expire(log, now_ms - topic.retention_ms)
            await checkpoint()

"""Where a memory bus keeps its log: a port, and the answer that keeps it nowhere but in memory."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from anyio.lowlevel import checkpoint

from airy.bus.api import Pulse
from airy.bus.draft import Draft
from airy.bus.group import Group
from airy.bus.log import Compacted, TopicLog
from airy.bus.record import Emit, Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.bus.upkeep import compact, expire
from airy.clock import Clock
from airy.errors import Unavailable


class Storage(Protocol):
    """What a memory bus asks of its storage. All it is handed is checked."""

    @property
    def topics(self) -> Mapping[str, TopicLog]: ...

    def committed(self, group: str) -> dict[TopicPartition, int]: ...
    async def run(self, pulse: Pulse) -> None: ...
    async def publish(self, emits: Sequence[Emit], weights: Sequence[int]) -> list[Position]: ...
    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None: ...
    async def read(
        self, positions: Mapping[TopicPartition, int], records_max: int, bytes_max: int
    ) -> tuple[list[Record], int]:
        """What is not in memory: see `ColdRead`."""
        ...

    async def upkeep(self, now_ms: int) -> None:
        """Let go of what retention and compaction say."""
        ...


class Volatile:
    """Everything is in memory and gone with it. Full, it refuses: it has nowhere to put the oldest."""

    def __init__(
        self, topics: Sequence[Topic[object]], *, clock: Clock, bytes_max: int, tombstone_ms: int,
        compact_records_min: int,
    ) -> None:  # fmt: skip
        self.topics = {topic.name: TopicLog(topic) for topic in topics}
        self._clock = clock
        self._bytes_max = bytes_max
        self._tombstone_ms = tombstone_ms
        self._compact_records_min = compact_records_min
        self._compacted: dict[str, Compacted] = {}
        self._held = 0

    def committed(self, _: str) -> dict[TopicPartition, int]:
        return {}

    async def run(self, pulse: Pulse) -> None:
        pulse.ready()
        with pulse.waiting():
            await pulse.draining.wait()

    async def publish(self, emits: Sequence[Emit], weights: Sequence[int]) -> list[Position]:
        if self._held > self._bytes_max:
            raise Unavailable(
                f"the log in memory is over its {self._bytes_max} bytes: keep a journal on disk"
            )
        draft = Draft(self.topics, self._clock.now_ms())
        positions = draft.add(emits, weights)
        self._held += sum(draft.enter().values())
        await checkpoint()  # a publisher that never waits for anything must still let others run
        return positions

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        group.committed.update(offsets)
        await checkpoint()

    async def read(
        self, positions: Mapping[TopicPartition, int], _: int, __: int
    ) -> tuple[list[Record], int]:
        raise AssertionError(f"{next(iter(positions))} is in memory")

    async def upkeep(self, now_ms: int) -> None:
        for name, topic in self.topics.items():
            if topic.topic.retention == "compacted":
                last = self._compacted.get(name, Compacted())
                if last.again(topic.next, self._compact_records_min):
                    freed, kept = await compact(topic, now_ms - self._tombstone_ms)
                    self._held -= freed
                    self._compacted[name] = Compacted(topic.next, kept)
            elif topic.topic.retention == "time" and topic.topic.retention_ms is not None:
                self._held -= expire(topic, now_ms - topic.topic.retention_ms)
                await checkpoint()

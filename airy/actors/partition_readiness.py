"""Tracks which assigned partitions the local store has fully folded; only those are acted on.

Group membership assigns a partition to a process; its store may still lag, for example after an assignment, a start or
a suspension, and a held partition stays behind until the process is upgraded. Log order makes acting on such a view
harmless but useless, so actors wait. End offsets are read every `REFRESH_S` seconds, not per record: a store is always
a few seconds behind.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

import anyio

from airy.actors.fold_progress import FoldProgress
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable

REFRESH_S = 5.0


class EndOffsets:
    """The end offsets of topics, read at most every `refresh_s`. One instance may serve several groups."""

    def __init__(self, bus: Bus, topics: Sequence[Topic[Any]], *, refresh_s: float = REFRESH_S) -> None:
        self.refresh_s = refresh_s
        self._bus = bus
        self._topics = topics
        self._read_at = -inf
        self._ends: Mapping[TopicPartition, int] = {}

    async def since(self, at: float) -> Mapping[TopicPartition, int] | None:
        """Offsets read at or after the time `at`, and not more than `refresh_s` ago. None: they cannot be read."""
        now = anyio.current_time()
        if self._read_at < at or now >= self._read_at + self.refresh_s:
            try:
                self._ends = await self._bus.end_offsets(self._topics)
            except Unavailable:
                return None
            self._read_at = now
        return self._ends


class PartitionReadiness:
    def __init__(
        self,
        bus: Bus,
        progress: FoldProgress,
        topics: Sequence[Topic[Any]],
        *,
        refresh_s: float = REFRESH_S,
        end_offsets: EndOffsets | None = None,
    ) -> None:
        self._progress = progress
        self._topics = topics
        self._ends = end_offsets or EndOffsets(bus, topics, refresh_s=refresh_s)
        self._targets: dict[TopicPartition, int | None] = {}  # owned partition → offset to reach; None: not read yet
        self._assigned_at = -inf
        self._refreshed_at = -inf

    @property
    def share(self) -> float:
        """The fraction of the topics' partitions that is assigned."""
        return len(self._targets) / sum(topic.partitions for topic in self._topics)

    @property
    def assigned_count(self) -> int:
        return len(self._targets)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self._targets |= dict.fromkeys(partitions)
        self._assigned_at = anyio.current_time()

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            self._targets.pop(tp, None)

    async def ready(self) -> list[TopicPartition]:
        """Partitions to act on now. While end offsets cannot be read, the last known ones apply."""
        now = anyio.current_time()
        if self._targets and (None in self._targets.values() or now >= self._refreshed_at + self._ends.refresh_s):
            ends = await self._ends.since(self._assigned_at)
            if ends is not None:
                self._refreshed_at = now
                self._targets = {tp: ends[tp] for tp in self._targets}
        positions, held = self._progress.positions(), self._progress.held
        return sorted(
            tp
            for tp, end in self._targets.items()
            if end is not None and tp not in held and positions.get(tp, 0) >= end
        )

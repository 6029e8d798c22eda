"""Detects a webhook queue that was filled from a different log. Its positions would make undelivered changes look
already queued, and they would be committed without being sent.

Two signs. A partition's start is committed before anything of it is queued for the first time, so entries in the queue
without a commit in this log were put there from another one. And the queue cannot be ahead of the end of the log.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from airy.actors.fold_progress import FoldProgress
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.queue.api import NO_ENTRY, QueuePosition

Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]
Positions = Mapping[TopicPartition, QueuePosition]
Mismatches = dict[TopicPartition, Unavailable]
"""Why nothing of these partitions may be queued or committed."""


class QueueLogCheck:
    def __init__(self, bus: Bus, progress: FoldProgress, group: str, topics: Sequence[Topic[Any]]) -> None:
        self._bus = bus
        self._progress = progress
        self._group = group
        self._topics = topics
        self._confirmed: set[TopicPartition] = set()  # this log has a commit

    def reset(self, partitions: Iterable[TopicPartition]) -> None:
        """After they were assigned anew."""
        self._confirmed.difference_update(partitions)

    async def mismatches(
        self, positions: Positions, starts: Mapping[TopicPartition, int], commit: Commit
    ) -> Mismatches:
        """Partitions whose queue positions are from another log. `starts` is committed where there is no commit yet."""
        return await self._without_commit(positions, starts, commit) | await self._beyond_the_end(positions)

    async def _without_commit(
        self, positions: Positions, starts: Mapping[TopicPartition, int], commit: Commit
    ) -> Mismatches:
        unconfirmed = {tp: position for tp, position in positions.items() if tp not in self._confirmed}
        if not unconfirmed:
            return {}
        committed = await self._bus.committed(self._group, self._topics)
        new = {
            tp: starts[tp] for tp, position in unconfirmed.items() if tp not in committed and position.last == NO_ENTRY
        }
        if new:
            await commit(new)
        self._confirmed |= unconfirmed.keys() & {*committed, *new}
        return {
            tp: _mismatch(tp, position, "nothing of it was ever committed")
            for tp, position in unconfirmed.items()
            if tp not in self._confirmed
        }

    async def _beyond_the_end(self, positions: Positions) -> Mismatches:
        folded = self._progress.positions()
        ahead = {tp: position for tp, position in positions.items() if position.last[0] >= folded.get(tp, 0)}
        if not ahead:
            return {}  # the usual case: what is queued was folded here before
        names = {tp.topic for tp in ahead}
        ends = await self._bus.end_offsets([topic for topic in self._topics if topic.name in names])
        return {
            tp: _mismatch(tp, position, f"the log ends at {ends[tp]}")
            for tp, position in ahead.items()
            if position.last[0] >= ends[tp]
        }


def _mismatch(tp: TopicPartition, position: QueuePosition, why: str) -> Unavailable:
    return Unavailable(
        f"the webhook queue has deliveries of {tp.topic}[{tp.partition}] up to offset {position.last[0]}, and {why}: "
        "they are of another log. Empty the queue, or give this log a queue.redis.namespace of its own"
    )

"""Whether what the webhook queue has is of this log. Were it another one's, all of ours would pass for queued long ago,
and would then be committed as delivered.

Two signs. Before anything of a partition is queued for the first time its place is committed, so where this log has no
commit and the queue has something, somebody else has put it there. And nothing can be queued that the log has not got.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from airy.actors.progress import Progress
from airy.actors.webhooks.queue import NOTHING, Mark
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable

Commit = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]
Strange = dict[TopicPartition, Unavailable]
"""Why nothing of these partitions may be queued or committed."""


class AnotherLog:
    def __init__(self, bus: Bus, progress: Progress, group: str, topics: Sequence[Topic[Any]]) -> None:
        self._bus = bus
        self._progress = progress
        self._group = group
        self._topics = topics
        self._ours: set[TopicPartition] = set()  # there is a commit

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """They are dealt out anew."""
        self._ours.difference_update(partitions)

    async def of(
        self, marks: Mapping[TopicPartition, Mark], starts: Mapping[TopicPartition, int], commit: Commit
    ) -> Strange:
        """Those of the queue's shards that are another log's. `starts` is what is committed where nothing is yet."""
        return await self._without_commit(marks, starts, commit) | await self._beyond_the_end(marks)

    async def _without_commit(
        self, marks: Mapping[TopicPartition, Mark], starts: Mapping[TopicPartition, int], commit: Commit
    ) -> Strange:
        asked = {where: mark for where, mark in marks.items() if where not in self._ours}
        if not asked:
            return {}
        committed = await self._bus.committed(self._group, self._topics)
        new = {where: starts[where] for where, mark in asked.items() if where not in committed and mark.last == NOTHING}
        if new:
            await commit(new)
        self._ours |= asked.keys() & {*committed, *new}
        return {
            where: _stranger(where, mark, "nothing of it was ever committed")
            for where, mark in asked.items()
            if where not in self._ours
        }

    async def _beyond_the_end(self, marks: Mapping[TopicPartition, Mark]) -> Strange:
        folded = self._progress.positions()
        ahead = {where: mark for where, mark in marks.items() if mark.last[0] >= folded.get(where, 0)}
        if not ahead:
            return {}  # as nearly always: what is queued was folded here first
        names = {where.topic for where in ahead}
        ends = await self._bus.ends([topic for topic in self._topics if topic.name in names])
        return {
            where: _stranger(where, mark, f"the log ends at {ends[where]}")
            for where, mark in ahead.items()
            if mark.last[0] >= ends[where]
        }


def _stranger(where: TopicPartition, mark: Mark, why: str) -> Unavailable:
    return Unavailable(
        f"the webhook queue has deliveries of {where.topic}[{where.partition}] up to offset {mark.last[0]}, and {why}: "
        "they are of another log. Empty the queue, or give this log a queue.redis.namespace of its own"
    )

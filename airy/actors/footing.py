"""Where a member of a group stands: the partitions it owns, and those of them its own store is abreast of the log in.

Membership says who acts; the store says on what. A process that has just been given a partition, has just started, or
was away for a while (stopped, swapped out, paused by its machine) may own what its store has not caught up with. The
log's order makes acting on such a view harmless, yet it would be work for nothing, so whoever acts waits first. Where
the log ends is asked now and then, not for each record: being a few seconds behind is what every store always is.
"""

from collections.abc import Iterable
from typing import Any

import anyio

from airy.actors.follower import Follower
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable

LOOK_S = 5.0


class Footing:
    def __init__(self, bus: Bus, follower: Follower, topic: Topic[Any], *, look_s: float = LOOK_S) -> None:
        self._bus = bus
        self._follower = follower
        self._topic = topic
        self._look_s = look_s
        self._wanted: dict[int, int | None] = {}  # partition we own → where our store has to be; None: not asked yet
        self._looked_at = -look_s

    @property
    def share(self) -> float:
        """How much of the topic is ours."""
        return len(self._wanted) / self._topic.partitions

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self._wanted |= {where.partition: None for where in partitions}

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        for where in partitions:
            self._wanted.pop(where.partition, None)

    async def firm(self) -> list[int]:
        """Partitions to act on now. While the log cannot be asked, what was known of the others holds."""
        now = anyio.current_time()
        if self._wanted and (None in self._wanted.values() or now >= self._looked_at + self._look_s):
            try:
                ends = await self._bus.ends([self._topic])
            except Unavailable:
                pass
            else:
                self._looked_at = now
                self._wanted = {number: ends[TopicPartition(self._topic.name, number)] for number in self._wanted}
        positions = self._follower.positions()
        return sorted(
            number
            for number, end in self._wanted.items()
            if end is not None and positions.get(TopicPartition(self._topic.name, number), 0) >= end
        )

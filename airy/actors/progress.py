"""How far the log is folded, for those who act on the fold: what is asked of the follower, and the wait that several of
them need.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anyio

from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic


class Progress(Protocol):
    """What is asked of whoever folds the log into the store."""

    @property
    def version(self) -> int: ...
    def positions(self) -> Mapping[TopicPartition, int]:
        """Per folded partition, the next offset to fold."""
        ...

    async def progressed(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or after `within_s` whatever it is then."""
        ...


async def current(bus: Bus, progress: Progress, topics: Sequence[Topic[Any]], within_s: float) -> bool:
    """Whether the store holds what was in these topics when this was asked. Raises `Unavailable` for a log that cannot
    say where it ends.
    """
    ends = await bus.ends(topics)
    with anyio.move_on_after(within_s):
        while True:
            version, positions = progress.version, progress.positions()
            if all(positions.get(where, 0) >= end for where, end in ends.items()):
                return True
            await progress.progressed(version, within_s)
    return False

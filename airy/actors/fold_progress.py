"""How far the store has folded the log: the protocol of the projector, and a wait several actors need."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anyio

from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic


class FoldProgress(Protocol):
    """The part of the projector that readers of the store use."""

    @property
    def version(self) -> int: ...
    def positions(self) -> Mapping[TopicPartition, int]:
        """Per folded partition, the next offset to fold."""
        ...

    async def wait_for_progress(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or the current one after `within_s`."""
        ...


async def wait_until_current(bus: Bus, progress: FoldProgress, topics: Sequence[Topic[Any]], within_s: float) -> bool:
    """Whether the store has folded what these topics held at the time of the call. Raises `Unavailable` if their end
    offsets cannot be read.
    """
    ends = await bus.end_offsets(topics)
    with anyio.move_on_after(within_s):
        while True:
            version, positions = progress.version, progress.positions()
            if all(positions.get(tp, 0) >= end for tp, end in ends.items()):
                return True
            await progress.wait_for_progress(version, within_s)
    return False

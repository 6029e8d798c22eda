"""How far the store has folded the log: the protocol of the projector, and waits and checks several actors need."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anyio

from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.bus.record_schema import Hold
from airy.bus.topic import Topic


class FoldProgress(Protocol):
    """The part of the projector that readers of the store use."""

    @property
    def version(self) -> int: ...
    @property
    def held(self) -> Mapping[TopicPartition, Hold]:
        """Partitions that are not folded any further, because a record is newer than this process."""
        ...

    def positions(self) -> Mapping[TopicPartition, int]:
        """Per folded partition, the next offset to fold."""
        ...

    async def wait_for_progress(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or the current one after `within_s`."""
        ...


async def wait_until_current(
    bus: Bus, progress: FoldProgress, topics: Sequence[Topic[Any]], within_s: float, *, partition: int | None = None
) -> bool:
    """Whether the store has folded what these topics (or this partition of each) held at the time of the call; False at
    once while a partition is held. Raises `Unavailable` if their end offsets cannot be read.
    """
    ends = {tp: end for tp, end in (await bus.end_offsets(topics)).items() if partition in (None, tp.partition)}
    with anyio.move_on_after(within_s):
        while not ends.keys() & progress.held.keys():
            version, positions = progress.version, progress.positions()
            if all(positions.get(tp, 0) >= end for tp, end in ends.items()):
                return True
            await progress.wait_for_progress(version, within_s)
    return False

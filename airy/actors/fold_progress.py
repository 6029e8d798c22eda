"""How far the store has folded the log: what actors use of the projector, and waits and checks several of them need."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import anyio

from airy.bus.api import Bus
from airy.bus.record import Position, TopicPartition
from airy.bus.record_schema import Hold
from airy.bus.topic import Topic
from airy.store.api import WorkKey

OnWork = Callable[[Collection[WorkKey]], None]
"""Called after each folded batch that touched pending work, with the parts it touched."""


OnRead = Callable[[Collection[str]], None]
"""Called after each folded batch that marked conversations as read, with their ids; not while the fold catches up."""


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


class WorkProgress(FoldProgress, Protocol):
    """The part of the projector that the connector uses."""

    @property
    def caught_up(self) -> bool: ...
    async def wait_for_position(self, position: Position, within_s: float) -> bool:
        """Whether the store has folded the record at `position`, waiting up to `within_s`. Raises `PartitionHeld`."""
        ...

    async def wait_until_current(
        self, topics_: Sequence[Topic[Any]], within_s: float, *, partition: int | None = None
    ) -> bool: ...
    def watching_work(self, on_work: OnWork) -> AbstractContextManager[None]:
        """Calls `on_work` inside the block. It must not block or raise."""
        ...

    def watching_reads(self, on_read: OnRead) -> AbstractContextManager[None]:
        """Likewise."""
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

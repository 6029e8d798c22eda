"""Reading in bounded batches: the half that tails and subscriptions share.

A position moves only in the step that returns the records, so a fetch that is cancelled has skipped nothing.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf

import anyio
from anyio.lowlevel import checkpoint

from airy.bus.api import Truncated
from airy.bus.log import Log
from airy.bus.record import Record, TopicPartition

ColdRead = Callable[[Mapping[TopicPartition, int], int, int], Awaitable[tuple[list[Record], int]]]
"""Positions in one topic, records_max and bytes_max, to records that are not in memory and the offset below which
nothing else is there for these positions."""


class LogReader:
    """Positions over a set of partitions."""

    def __init__(self, logs: Mapping[TopicPartition, Log], cold: ColdRead) -> None:
        self._logs = logs
        self._cold = cold
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0  # which partition is asked first, so that a busy one cannot starve the others
        self._news: anyio.Event | None = None
        self._busy = False

    # --- what a caller may do

    def seek(self, where: TopicPartition, offset: int) -> None:
        self.position(where)
        self._positions[where] = offset
        self.wake()

    def pause(self, where: Iterable[TopicPartition]) -> None:
        self._paused.update(where)

    def resume(self, where: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(where)
        self.wake()

    def position(self, where: TopicPartition) -> int:
        try:
            return self._positions[where]
        except KeyError:
            raise LookupError(f"{where.topic}[{where.partition}] is not read here") from None

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        if self._busy:
            raise anyio.BusyResourceError("fetching from")
        self._busy = True
        try:
            await checkpoint()  # before anything is taken: a cancelled fetch skips nothing
            return await self._fetch(records_max, bytes_max, anyio.current_time() + wait_s)
        finally:
            self._busy = False

    # --- how it works

    def wake(self) -> None:
        if self._news is not None:
            self._news.set()

    def follow(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from now on, and no others."""
        for where in self._positions:
            self._logs[where].wakers.pop(self.wake, None)
        self._positions = dict(positions)
        self._paused &= self._positions.keys()
        for where in self._positions:
            self._logs[where].wakers[self.wake] = None

    async def _fetch(self, records_max: int, bytes_max: int, until: float) -> list[Record]:
        while True:
            records = await self._take(records_max, bytes_max)
            if records or not await self._wait(until):
                return records

    async def _wait(self, until: float) -> bool:
        """For news, until a time; False when there was none."""
        seconds = until - anyio.current_time()
        if seconds <= 0:
            return False
        news = self._news = anyio.Event()
        try:
            if seconds == inf:
                await news.wait()
                return True
            with anyio.move_on_after(seconds):
                await news.wait()
            return news.is_set()
        finally:
            self._news = None

    async def _take(self, records_max: int, bytes_max: int) -> list[Record]:
        """What is there now. Waits only when the partition whose turn it is has to be read from disk."""
        if records_max <= 0:
            return []
        while behind := self._behind():
            log = behind[0]
            self._turn += 1
            if self._positions[log.where] >= log.hot:
                return self._take_hot(behind, records_max, bytes_max)
            if records := await self._take_cold(log.topic.name, behind, records_max, bytes_max):
                return records
        return []

    def _behind(self) -> list[Log]:
        """Partitions with something to read, the one whose turn it is first."""
        behind = []
        for where, position in self._positions.items():
            log = self._logs[where]
            if position == log.end or where in self._paused:
                continue
            if position < log.start:
                text = f"{where.topic}[{where.partition}] starts at {log.start}, {position} is gone"
                raise Truncated(f"{text}: rebuild from the start, or seek on purpose")
            if position > log.end:
                text = f"{where.topic}[{where.partition}] ends at {log.end}, before {position}"
                raise Truncated(f"{text}: this is another log than was read; rebuild, or seek on purpose")
            behind.append(log)
        if len(behind) > 1:
            turn = self._turn % len(behind)
            behind = behind[turn:] + behind[:turn]
        return behind

    def _take_hot(self, behind: list[Log], records_max: int, bytes_max: int) -> list[Record]:
        taken: list[Record] = []
        for log in behind:
            position = self._positions[log.where]
            if position < log.hot:
                continue
            found = log.read(
                position, records_max=records_max - len(taken), bytes_max=bytes_max, force=not taken
            )
            self._positions[log.where] = found.next
            taken += found.records
            bytes_max -= found.weight
            if len(taken) >= records_max or bytes_max <= 0:
                break
        return taken

    async def _take_cold(
        self, topic: str, behind: list[Log], records_max: int, bytes_max: int
    ) -> list[Record]:
        """One pass over a topic serves all its partitions that are read here and not in memory."""
        asked = {log.where: self._positions[log.where] for log in behind if log.topic.name == topic}
        records, reached = await self._cold(asked, records_max, bytes_max)
        moved = {where for where, position in asked.items() if self._positions.get(where) != position}
        for where in asked.keys() - moved:  # whoever sought meanwhile goes on from there
            self._positions[where] = max(asked[where], min(reached, self._logs[where].end))
        return [record for record in records if record.where not in moved] if moved else records

"""Reading in bounded batches: the half that tails and subscriptions share.

A cursor advances only in the step that returns the records, so a fetch that is cancelled has skipped nothing.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio
from anyio.lowlevel import checkpoint

from airy.bus.cursor import Cursor
from airy.bus.log import Found, Log
from airy.bus.record import Record, TopicPartition

ColdRead = Callable[[str, Mapping[int, int], int, int], Awaitable[Found]]
"""Topic, from which offset on by partition, records_max and bytes_max: what is not in memory."""


class LogReader:
    """Cursors over the topics it reads."""

    def __init__(self, logs: Mapping[str, Log], cold: ColdRead) -> None:
        self._logs = logs
        self._cold = cold
        self._cursors: dict[str, Cursor] = {}
        self._turn = 0  # which topic is asked first, so that a busy one cannot starve the others
        self._news: anyio.Event | None = None
        self._busy = False

    # --- what a caller may do

    def seek(self, where: TopicPartition, offset: int) -> None:
        self.position(where)
        self._cursors[where.topic].seek(where.partition, offset)
        self._wake()

    def pause(self, where: Iterable[TopicPartition]) -> None:
        for topic, partitions in _by_topic(where).items():
            if topic in self._cursors:
                self._cursors[topic].pause(partitions)

    def resume(self, where: Iterable[TopicPartition]) -> None:
        for topic, partitions in _by_topic(where).items():
            if topic in self._cursors:
                self._cursors[topic].resume(partitions)
        self._wake()

    def position(self, where: TopicPartition) -> int:
        try:
            return self._cursors[where.topic].position(where.partition)
        except KeyError:
            raise LookupError(f"{where.topic}[{where.partition}] is not read here") from None

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        if self._busy:
            raise anyio.BusyResourceError("fetching from")
        self._busy = True
        try:
            await checkpoint()  # lets others run, who may publish: a wait costs five times as much
            return await self._fetch(records_max, bytes_max, wait_s)
        finally:
            self._busy = False

    def follow(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from now on, and no others."""
        for cursor in self._cursors.values():
            cursor.log.wakers.pop(self._wake, None)
        by_topic: dict[str, dict[int, int]] = defaultdict(dict)
        for (topic, partition), offset in positions.items():
            by_topic[topic][partition] = offset
        self._cursors = {topic: Cursor(self._logs[topic], offsets) for topic, offsets in by_topic.items()}
        for cursor in self._cursors.values():
            cursor.log.wakers[self._wake] = None

    # --- how it works

    def _wake(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.set()

    async def _fetch(self, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        if records := await self._take(records_max, bytes_max):
            return records
        until = anyio.current_time() + wait_s
        while await self._wait(until):
            if records := await self._take(records_max, bytes_max):
                return records
        return []

    async def _wait(self, until: float) -> bool:
        """For news, until a time; False when there was none."""
        if until <= anyio.current_time():
            return False
        news = self._news = anyio.Event()
        try:
            with anyio.CancelScope(deadline=until):
                await news.wait()
            return news.is_set()
        finally:
            self._news = None

    async def _take(self, records_max: int, bytes_max: int) -> list[Record]:
        """What is there now. Waits only when the topic whose turn it is has to be read from disk."""
        if records_max <= 0:
            return []
        while behind := self._behind():
            self._turn += 1
            if behind[0].base >= behind[0].log.hot:
                records = _take_hot(behind, records_max, bytes_max)
            else:
                records = await self._take_cold(behind[0], records_max, bytes_max)
            if records:
                return records
        return []

    def _behind(self) -> list[Cursor]:
        """Where there may be something to read, the one whose turn it is first."""
        behind = [cursor for cursor in self._cursors.values() if cursor.behind]
        turn = self._turn % len(behind) if behind else 0
        return behind[turn:] + behind[:turn]

    async def _take_cold(self, cursor: Cursor, records_max: int, bytes_max: int) -> list[Record]:
        moves, topic = cursor.moves, cursor.log.topic.name
        found = await self._cold(topic, cursor.wanted(), records_max, bytes_max)
        if cursor.moves != moves or self._cursors.get(topic) is not cursor:
            return []  # sought, paused or taken away meanwhile: ask again
        cursor.advance(found.next)
        return found.records


def _take_hot(behind: Iterable[Cursor], records_max: int, bytes_max: int) -> list[Record]:
    taken: list[Record] = []
    for cursor in behind:
        log = cursor.log
        if cursor.base < log.hot:
            continue
        found = log.read(
            cursor.base,
            None if cursor.reads_all else cursor.wanted(),
            records_max=records_max - len(taken),
            bytes_max=bytes_max,
            force=not taken,
        )
        cursor.advance(found.next)
        taken += found.records
        bytes_max -= found.weight
        if len(taken) >= records_max or bytes_max <= 0:
            break
    return taken


def _by_topic(where: Iterable[TopicPartition]) -> dict[str, list[int]]:
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, partition in where:
        by_topic[topic].append(partition)
    return by_topic

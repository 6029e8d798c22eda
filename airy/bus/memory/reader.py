"""Reading in bounded batches: what tails and subscriptions share.

A cursor advances only in the step that returns the records, so a cancelled fetch has skipped no record.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

import anyio
from anyio.lowlevel import checkpoint

from airy.bus.memory.cursor import Cursor
from airy.bus.memory.log import Log, ReadResult
from airy.bus.record import Record, TopicPartition

JournalRead = Callable[[str, Mapping[int, int], int, int], Awaitable[ReadResult]]
"""Topic, start offset by partition, records_max, bytes_max: reads records that are not in memory."""


class LogReader:
    """Holds a cursor for each topic it reads."""

    def __init__(self, logs: Mapping[str, Log], read_journal: JournalRead) -> None:
        self._logs = logs
        self._read_journal = read_journal
        self._cursors: dict[str, Cursor] = {}
        self._turn = 0  # which topic is read first, so that a busy one cannot starve the others
        self._wakeup: anyio.Event | None = None
        self._busy = False
        self._wants_records = True  # False: a fetch that only keeps a membership alive

    # --- for callers

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.position(tp)
        self._cursors[tp.topic].seek(tp.partition, offset)
        self._wake()

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        for topic, numbers in _by_topic(partitions).items():
            if topic in self._cursors:
                self._cursors[topic].pause(numbers)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        for topic, numbers in _by_topic(partitions).items():
            if topic in self._cursors:
                self._cursors[topic].resume(numbers)
        self._wake()

    def position(self, tp: TopicPartition) -> int:
        try:
            return self._cursors[tp.topic].position(tp.partition)
        except KeyError:
            raise LookupError(f"{tp.topic}[{tp.partition}] is not read here") from None

    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        if self._busy:
            raise anyio.BusyResourceError("fetching from")
        self._busy = True
        self._wants_records = records_max > 0
        try:
            await checkpoint()  # lets publishers run first: waiting for them costs five times as much
            return await self._fetch(records_max, bytes_max, wait_s)
        finally:
            self._busy = False

    def follow(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from now on, and no others."""
        for cursor in self._cursors.values():
            cursor.log.wakers.pop(self._wake_for_records, None)
        by_topic: dict[str, dict[int, int]] = defaultdict(dict)
        for (topic, partition), offset in positions.items():
            by_topic[topic][partition] = offset
        self._cursors = {topic: Cursor(self._logs[topic], offsets) for topic, offsets in by_topic.items()}
        for cursor in self._cursors.values():
            cursor.log.wakers[self._wake_for_records] = None

    # --- implementation

    def _wake_for_records(self) -> None:
        if self._wants_records:
            self._wake()

    def _wake(self) -> None:
        wakeup, self._wakeup = self._wakeup, None
        if wakeup is not None:
            wakeup.set()

    async def _fetch(self, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        if records := await self._take(records_max, bytes_max):
            return records
        until = anyio.current_time() + wait_s
        while await self._wait(until):
            if records := await self._take(records_max, bytes_max):
                return records
        return []

    async def _wait(self, until: float) -> bool:
        """Wait for a wake-up, at most until a time. False: there was none."""
        if until <= anyio.current_time():
            return False
        wakeup = self._wakeup = anyio.Event()
        try:
            with anyio.CancelScope(deadline=until):
                await wakeup.wait()
            return wakeup.is_set()
        finally:
            self._wakeup = None

    async def _take(self, records_max: int, bytes_max: int) -> list[Record]:
        """Records available now. Waits only when the topic whose turn it is has to be read from the journal."""
        if records_max <= 0:
            return []
        while behind := self._behind():
            self._turn += 1
            if behind[0].base >= behind[0].log.cached_from:
                records = _take_from_memory(behind, records_max, bytes_max)
            else:
                records = await self._take_from_journal(behind[0], records_max, bytes_max)
            if records:
                return records
        return []

    def _behind(self) -> list[Cursor]:
        """Cursors that may have something to read, the one whose turn it is first."""
        behind = [cursor for cursor in self._cursors.values() if cursor.behind]
        turn = self._turn % len(behind) if behind else 0
        return behind[turn:] + behind[:turn]

    async def _take_from_journal(self, cursor: Cursor, records_max: int, bytes_max: int) -> list[Record]:
        version, topic = cursor.version, cursor.log.topic.name
        found = await self._read_journal(topic, cursor.wanted(), records_max, bytes_max)
        if cursor.version != version or self._cursors.get(topic) is not cursor:
            return []  # positions or partitions changed meanwhile: the caller reads again
        cursor.advance(found.next)
        return found.records


def _take_from_memory(behind: Iterable[Cursor], records_max: int, bytes_max: int) -> list[Record]:
    taken: list[Record] = []
    for cursor in behind:
        log = cursor.log
        if cursor.base < log.cached_from:
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
        bytes_max -= found.size
        if len(taken) >= records_max or bytes_max <= 0:
            break
    return taken


def _by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, partition in partitions:
        by_topic[topic].append(partition)
    return by_topic

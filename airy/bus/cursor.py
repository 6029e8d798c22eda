"""Where a reader is in one topic. Decides only.

A topic is read in the order it was written, so one offset, the base, says where a reader is in all of its
partitions. Those that were told to be elsewhere are ahead of it, until the base has caught up with them.
"""

from collections.abc import Iterable, Mapping

from airy.bus.api import Truncated
from airy.bus.log import Log


class Cursor:
    __slots__ = ("_paused", "_told", "ahead", "base", "log", "moves", "reading")

    def __init__(self, log: Log, positions: Mapping[int, int]) -> None:
        self.log = log
        self.moves = 0  # by anybody but the reader: what it was about to take is not wanted any more
        self.base = 0
        self.ahead: dict[int, int] = {}
        self.reading: frozenset[int] = frozenset()
        self._told: dict[int, int] | None = None  # where to go, not looked at yet
        self._paused: dict[int, int] = {}
        self._go_to(dict(positions))

    # --- what a caller may do

    def position(self, partition: int) -> int:
        """Raises `KeyError` for a partition that is not read here."""
        if partition in self._paused:
            return self._paused[partition]
        if self._told is not None:
            return self._told[partition]
        if partition not in self.reading:
            raise KeyError(partition)
        return min(self._from(partition), self.log.ends[partition])

    def seek(self, partition: int, offset: int) -> None:
        self.position(partition)
        if partition in self._paused:
            self._paused[partition] = offset
        else:
            self._go_to(self._positions() | {partition: offset})

    def pause(self, partitions: Iterable[int]) -> None:
        positions = self._positions()
        self._paused |= {number: positions.pop(number) for number in partitions if number in positions}
        self._go_to(positions)

    def resume(self, partitions: Iterable[int]) -> None:
        resumed = {number: self._paused.pop(number) for number in partitions if number in self._paused}
        self._go_to(self._positions() | resumed)

    # --- what a reader does

    @property
    def behind(self) -> bool:
        """Whether there may be something to read. Raises `Truncated`."""
        if self._told is not None:
            for partition, offset in self._told.items():
                self._check(partition, offset)
            self._level(self._told)
            self._told = None
        elif self.base < self.log.gone:
            for partition in self.reading:
                self._check(partition, min(self._from(partition), self.log.ends[partition]))
        return self.base < self.log.next and bool(self.reading)

    @property
    def reads_all(self) -> bool:
        """Everything from the base on."""
        return not self.ahead and len(self.reading) == len(self.log.ends)

    def wanted(self) -> dict[int, int]:
        """From which offset on to read, by partition."""
        return {partition: self._from(partition) for partition in self.reading}

    def advance(self, offset: int) -> None:
        """Everything wanted below it is read."""
        self.base = offset
        if self.ahead:
            self._level(self.wanted())

    # --- how it works

    def _from(self, partition: int) -> int:
        return max(self.base, self.ahead.get(partition, 0))

    def _positions(self) -> dict[int, int]:
        return {partition: self.position(partition) for partition in self.reading}

    def _go_to(self, positions: dict[int, int]) -> None:
        self.moves += 1
        self.reading = frozenset(positions)
        self._told = positions

    def _level(self, offsets: Mapping[int, int]) -> None:
        """Where there is nothing left the base need not look: an idle partition does not hold it back."""
        log = self.log
        level = {
            partition: log.next if offset >= log.ends[partition] else offset for partition, offset in offsets.items()
        }
        self.base = min(level.values(), default=log.next)
        self.ahead = {partition: offset for partition, offset in level.items() if offset > self.base}

    def _check(self, partition: int, offset: int) -> None:
        start, end = self.log.starts[partition], self.log.ends[partition]
        text = f"{self.log.topic.name}[{partition}]"
        if offset < start:
            text = f"{text} starts at {start}, {offset} is gone"
            raise Truncated(f"{text}: rebuild from the start, or seek on purpose")
        if offset > end:
            text = f"{text} ends at {end}, before {offset}"
            raise Truncated(f"{text}: this is another log than was read; rebuild, or seek on purpose")

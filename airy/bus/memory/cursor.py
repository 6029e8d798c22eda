"""The position of a reader in one topic. Decides only.

A topic is read in write order, so one offset, the base, is the reader's position in all of its partitions. Partitions
that were sought to a later offset are `ahead` of the base until it catches up with them.
"""

from collections.abc import Iterable, Mapping

from airy.bus.api import OffsetOutOfRange
from airy.bus.memory.log import Log


class Cursor:
    __slots__ = ("_paused", "_sought", "ahead", "base", "log", "reading", "version")

    def __init__(self, log: Log, positions: Mapping[int, int]) -> None:
        self.log = log
        self.version = 0  # raised by seek, pause and resume: a read that began before must be discarded
        self.base = 0
        self.ahead: dict[int, int] = {}
        self.reading: frozenset[int] = frozenset()
        self._sought: dict[int, int] | None = None  # positions that are set but not checked yet
        self._paused: dict[int, int] = {}
        self._set_positions(dict(positions))

    # --- for callers

    def position(self, partition: int) -> int:
        """Raises `KeyError` for a partition that is not read here."""
        if partition in self._paused:
            return self._paused[partition]
        if self._sought is not None:
            return self._sought[partition]
        if partition not in self.reading:
            raise KeyError(partition)
        return min(self._from(partition), self.log.ends[partition])

    def seek(self, partition: int, offset: int) -> None:
        self.position(partition)
        if partition in self._paused:
            self._paused[partition] = offset
        else:
            self._set_positions(self._positions() | {partition: offset})

    def pause(self, partitions: Iterable[int]) -> None:
        positions = self._positions()
        self._paused |= {number: positions.pop(number) for number in partitions if number in positions}
        self._set_positions(positions)

    def resume(self, partitions: Iterable[int]) -> None:
        resumed = {number: self._paused.pop(number) for number in partitions if number in self._paused}
        self._set_positions(self._positions() | resumed)

    # --- for the reader

    @property
    def behind(self) -> bool:
        """Whether there may be something to read. Raises `OffsetOutOfRange`."""
        if self._sought is not None:
            for partition, offset in self._sought.items():
                self._check(partition, offset)
            self._set_base(self._sought)
            self._sought = None
        elif self.base < self.log.removed_below:
            for partition in self.reading:
                self._check(partition, min(self._from(partition), self.log.ends[partition]))
        return self.base < self.log.next and bool(self.reading)

    @property
    def reads_all(self) -> bool:
        """Whether every record from the base on is wanted."""
        return not self.ahead and len(self.reading) == len(self.log.ends)

    def wanted(self) -> dict[int, int]:
        """The offset to read from, by partition."""
        return {partition: self._from(partition) for partition in self.reading}

    def advance(self, offset: int) -> None:
        """Every wanted record below `offset` has been read."""
        self.base = offset
        if self.ahead:
            self._set_base(self.wanted())

    # --- implementation

    def _from(self, partition: int) -> int:
        return max(self.base, self.ahead.get(partition, 0))

    def _positions(self) -> dict[int, int]:
        return {partition: self.position(partition) for partition in self.reading}

    def _set_positions(self, positions: dict[int, int]) -> None:
        self.version += 1
        self.reading = frozenset(positions)
        self._sought = positions

    def _set_base(self, offsets: Mapping[int, int]) -> None:
        """A partition read to its end counts as at the end of the topic, so that an idle one does not hold the base."""
        log = self.log
        reached = {
            partition: log.next if offset >= log.ends[partition] else offset for partition, offset in offsets.items()
        }
        self.base = min(reached.values(), default=log.next)
        self.ahead = {partition: offset for partition, offset in reached.items() if offset > self.base}

    def _check(self, partition: int, offset: int) -> None:
        start, end = self.log.starts[partition], self.log.ends[partition]
        text = f"{self.log.topic.name}[{partition}]"
        if offset < start:
            text = f"{text} starts at {start}, {offset} is gone"
            raise OffsetOutOfRange(f"{text}: rebuild from the start, or seek on purpose")
        if offset > end:
            text = f"{text} ends at {end}, before {offset}"
            raise OffsetOutOfRange(f"{text}: this is another log than was read; rebuild, or seek on purpose")

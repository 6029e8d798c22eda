"""What was fetched and not handed out yet: bounded hand-outs, in turn, and positions that move only with them.

No client in here. A partition is asked for again only when nothing of it is left, so a shelf holds at most one
fetched batch of each.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from airy.bus.record import Record, TopicPartition

RECORD_BYTES: Final = 128  # reckoned for key and headers: counting them takes as long as handing out the record


class Shelf:
    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._held: dict[TopicPartition, _Batch] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0

    def follow(self, positions: Mapping[TopicPartition, int]) -> None:
        """Hold these partitions from now on, and no others."""
        self._next = dict(positions)
        self._held.clear()
        self._paused.clear()

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        return self._next

    @property
    def paused(self) -> frozenset[TopicPartition]:
        return frozenset(self._paused)

    @property
    def idle(self) -> bool:
        """Nothing can be wanted: there are no partitions, or all are paused."""
        return len(self._paused) == len(self._next)

    def position(self, where: TopicPartition) -> int:
        try:
            return self._next[where]
        except KeyError:
            raise LookupError(f"{where.topic}[{where.partition}] is not read here") from None

    def seek(self, where: TopicPartition, offset: int) -> None:
        self.position(where)
        self._next[where] = offset
        self._held.pop(where, None)

    def pause(self, where: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Those of them that are held here."""
        known = [one for one in where if one in self._next]
        self._paused.update(known)
        return known

    def resume(self, where: Iterable[TopicPartition]) -> list[TopicPartition]:
        known = [one for one in where if one in self._next]
        self._paused.difference_update(known)
        return known

    def wanted(self) -> list[TopicPartition]:
        """Those of which nothing is left."""
        return [where for where in self._next if where not in self._held and where not in self._paused]

    def put(self, where: TopicPartition, records: Sequence[Record]) -> bool:
        """What comes next. False: it was not kept, and has to be asked for again, from `tip`."""
        expected = self._next.get(where)
        if expected is None or where in self._held:
            return False
        if records and records[0].offset < expected:  # the client gives whole batches of the log
            records = [record for record in records if record.offset >= expected]
        if records:
            self._held[where] = _Batch(records)
        return True

    def tip(self, where: TopicPartition) -> int | None:
        """The next offset to fetch."""
        held = self._held.get(where)
        return held.records[-1].offset + 1 if held else self._next.get(where)

    def skipped_to(self, where: TopicPartition, offset: int) -> None:
        """Nothing readable is below `offset`: compaction, or a transaction's marks."""
        if where in self._next and where not in self._held:
            self._next[where] = max(self._next[where], offset)

    def take(self, records_max: int, bytes_max: int) -> list[Record]:
        """At most so much, though always one; another partition's turn each time."""
        ready = [where for where in self._held if where not in self._paused]
        if not ready or records_max <= 0:
            return []
        self._turn += 1
        turn = self._turn % len(ready)
        taken: list[Record] = []
        for where in ready[turn:] + ready[:turn]:
            held = self._held[where]
            some, weight = held.next(records_max - len(taken), bytes_max, force=not taken)
            if some:
                taken += some
                bytes_max -= weight
                self._next[where] = some[-1].offset + 1
            if not held:
                del self._held[where]
            if len(taken) >= records_max or bytes_max <= 0:
                break
        return taken


class _Batch:
    """Fetched records of a partition, handed out from the front. Weighed as a whole: one by one takes as long again."""

    __slots__ = ("at", "records", "weight")

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.at = 0
        self.weight = sum(map(_weight, records))  # of what is left

    def __len__(self) -> int:
        return len(self.records) - self.at

    def next(self, records_max: int, bytes_max: int, *, force: bool) -> tuple[Sequence[Record], int]:
        """At most so much, one at least when forced to; and its weight."""
        end = min(self.at + records_max, len(self.records))
        if self.weight > bytes_max:
            end, left = self.at, bytes_max
            for record in self.records[self.at : self.at + records_max]:
                left -= _weight(record)
                if left < 0 and not (force and end == self.at):
                    break
                end += 1
        some = self.records[self.at : end]
        weight = self.weight if end == len(self.records) else sum(map(_weight, some))
        self.at = end
        self.weight -= weight
        return some, weight


def _weight(record: Record) -> int:
    return len(record.value or b"") + RECORD_BYTES

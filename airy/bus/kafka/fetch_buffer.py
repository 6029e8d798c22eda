"""Records fetched from Kafka and not returned yet. Positions move only when records are returned.

Independent of the client. A partition is fetched again only when none of its records is left, so the buffer holds at
most one fetched batch of each.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from airy.bus.record import Record, TopicPartition

RECORD_BYTES: Final = 128  # an estimate for key and headers: counting them takes as long as returning the record


class FetchBuffer:
    def __init__(self) -> None:
        self._next: dict[TopicPartition, int] = {}
        self._held: dict[TopicPartition, _FetchedBatch] = {}
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
        """There are no partitions, or all are paused."""
        return len(self._paused) == len(self._next)

    def position(self, tp: TopicPartition) -> int:
        try:
            return self._next[tp]
        except KeyError:
            raise LookupError(f"{tp.topic}[{tp.partition}] is not read here") from None

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.position(tp)
        self._next[tp] = offset
        self._held.pop(tp, None)

    def pause(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Returns those of them that are read here."""
        known = [tp for tp in partitions if tp in self._next]
        self._paused.update(known)
        return known

    def resume(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Returns those of them that are read here."""
        known = [tp for tp in partitions if tp in self._next]
        self._paused.difference_update(known)
        return known

    def wanted(self) -> list[TopicPartition]:
        """Partitions to fetch: not paused, and without a record left."""
        return [tp for tp in self._next if tp not in self._held and tp not in self._paused]

    def put(self, tp: TopicPartition, records: Sequence[Record]) -> bool:
        """Add the next records. False: they were discarded, and must be fetched again from `next_fetch_offset`."""
        expected = self._next.get(tp)
        if expected is None or tp in self._held:
            return False
        if records and records[0].offset < expected:  # the client returns whole batches of the log
            records = [record for record in records if record.offset >= expected]
        if records:
            self._held[tp] = _FetchedBatch(records)
        return True

    def next_fetch_offset(self, tp: TopicPartition) -> int | None:
        held = self._held.get(tp)
        return held.records[-1].offset + 1 if held else self._next.get(tp)

    def skip_to(self, tp: TopicPartition, offset: int) -> None:
        """No readable record is below `offset`: compaction removed them, or they are transaction markers."""
        if tp in self._next and tp not in self._held:
            self._next[tp] = max(self._next[tp], offset)

    def take(self, records_max: int, bytes_max: int) -> list[Record]:
        """Records within both limits, but at least one. Starts with the next partition each time."""
        ready = [tp for tp in self._held if tp not in self._paused]
        if not ready or records_max <= 0:
            return []
        self._turn += 1
        turn = self._turn % len(ready)
        taken: list[Record] = []
        for tp in ready[turn:] + ready[:turn]:
            held = self._held[tp]
            some, size = held.next(records_max - len(taken), bytes_max, force=not taken)
            if some:
                taken += some
                bytes_max -= size
                self._next[tp] = some[-1].offset + 1
            if not held:
                del self._held[tp]
            if len(taken) >= records_max or bytes_max <= 0:
                break
        return taken


class _FetchedBatch:
    """Records of one partition, returned from the front. Their size is summed once: per record takes twice as long."""

    __slots__ = ("at", "records", "size")

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        self.at = 0
        self.size = sum(map(_size, records))  # of the records from `at` on

    def __len__(self) -> int:
        return len(self.records) - self.at

    def next(self, records_max: int, bytes_max: int, *, force: bool) -> tuple[Sequence[Record], int]:
        """Records within both limits and their size. With `force`, at least one."""
        end = min(self.at + records_max, len(self.records))
        if self.size > bytes_max:
            end, left = self.at, bytes_max
            for record in self.records[self.at : self.at + records_max]:
                left -= _size(record)
                if left < 0 and not (force and end == self.at):
                    break
                end += 1
        some = self.records[self.at : end]
        size = self.size if end == len(self.records) else sum(map(_size, some))
        self.at = end
        self.size -= size
        return some, size


def _size(record: Record) -> int:
    return len(record.value or b"") + RECORD_BYTES

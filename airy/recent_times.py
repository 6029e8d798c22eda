"""When this process did something with a range of offsets: kept in memory for traces, no part of the folded state.

What happened before the process started, or longer ago than the bound, has no time.
"""

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

from airy.bus.record import Position, TopicPartition

BATCHES_MAX = 2_000  # of the fold
BROADCASTS_MAX = 10_000  # records whose changes were handed to subscribers, or ranges that no subscriber wanted


class FoldedBatch(Struct, frozen=True, gc=False):
    """`fetched_ms`: when it was read from the log; `stored_ms`: when its transaction had been committed. A range has
    gaps, so it does not tell the number of `records`.
    """

    records: int
    ranges: Mapping[TopicPartition, tuple[int, int]]  # from the first offset to the next one
    fetched_ms: int
    stored_ms: int


class FoldTimes:
    """The last `BATCHES_MAX` batches that the fold of this process committed."""

    def __init__(self) -> None:
        self._batches: deque[FoldedBatch] = deque(maxlen=BATCHES_MAX)

    def add(self, batch: FoldedBatch) -> None:
        self._batches.append(batch)

    @property
    def forgets(self) -> bool:
        """Whether batches since the start of the process are forgotten."""
        return len(self._batches) == BATCHES_MAX

    def find(self, position: Position) -> FoldedBatch | None:
        """The batch that contained the record, looking back from the newest."""
        for batch in reversed(self._batches):
            first, following = batch.ranges.get(position.topic_partition, (0, 0))
            if first <= position.offset < following:
                return batch
        return None


class Broadcast(Struct, gc=False):
    """Of the changes of the records in `range(first, following)`. `at_ms`: when the last one was handed over."""

    tp: TopicPartition
    first: int
    following: int
    at_ms: int
    subscribers: int = 0  # the largest number that one change was handed to
    cut: int = 0  # subscribers whose queue was full


class BroadcastTimes:
    """The last `BROADCASTS_MAX` records whose changes this process handed to the subscribers of its events."""

    def __init__(self) -> None:
        self._broadcasts: deque[Broadcast] = deque(maxlen=BROADCASTS_MAX)

    def add(self, position: Position, at_ms: int, *, subscribers: int, cut: int) -> None:
        """One change of a record."""
        last = self._broadcasts[-1] if self._broadcasts else None
        tp, offset = position.topic_partition, position.offset
        if last is None or last.tp != tp or last.following != offset + 1 or last.first != offset:
            last = Broadcast(tp, offset, offset + 1, at_ms)
            self._broadcasts.append(last)
        last.at_ms = at_ms
        last.subscribers = max(last.subscribers, subscribers)
        last.cut += cut

    def add_unwanted(self, tp: TopicPartition, first: int, following: int, at_ms: int) -> None:
        """Records that were folded while nothing subscribed."""
        self._broadcasts.append(Broadcast(tp, first, following, at_ms))

    @property
    def forgets(self) -> bool:
        """Whether broadcasts since the start of the process are forgotten."""
        return len(self._broadcasts) == BROADCASTS_MAX

    def find(self, position: Position) -> Broadcast | None:
        """Of the record, looking back from the newest."""
        for one in reversed(self._broadcasts):
            if one.tp == position.topic_partition and one.first <= position.offset < one.following:
                return one
        return None

"""Searches the log for the delivery attempts of a message's changes.

Attempts have no index: they are searched forward from the time of the change, and an attempt that was followed by
another one names the time of that. The number of records and the time of a search are bounded.
"""

import heapq
from collections.abc import Iterable, Sequence

import anyio
import msgspec
from msgspec import Struct

from airy import topics
from airy.bus.api import Bus, OffsetOutOfRange, Tail
from airy.bus.record import Position, Record, TopicPartition
from airy.commands.message_traces.fact_changes import FactChanges
from airy.model.delivery_attempt import DeliveryAttempt

RECORDS_MAX = 12_000  # of one trace
SEARCH_S = 2.0
QUIET_RECORDS = (
    125  # of a partition, read behind the last attempt: deliveries that are not expected, of webhooks that were deleted
)
CLOCKS_MS = 2_000  # by which the clocks of two processes may differ
NEAR_MS = 5_000  # between two times that one search reads
FETCH_RECORDS = 500
FETCH_S = 0.2

_decode = msgspec.json.Decoder(DeliveryAttempt).decode


class FoundAttempt(Struct, frozen=True):
    """`offset`: of the fact that caused the change."""

    attempt: DeliveryAttempt
    position: Position
    offset: int


class FoundAttempts(Struct, frozen=True):
    """By time. Not `complete`: the search ended at a limit."""

    attempts: Sequence[FoundAttempt]
    complete: bool


class _Scanned:
    """How far a partition was read from one time: the time of the newest record, and records since an attempt."""

    def __init__(self) -> None:
        self.seen_ms = 0
        self.quiet = 0


class AttemptSearch:
    """The search for one trace."""

    def __init__(self, bus: Bus, facts: Iterable[FactChanges], search_s: float = SEARCH_S) -> None:
        self._bus = bus
        self._search_s = search_s
        facts = list(facts)
        self._offsets = {event_id: each.offset for each in facts for event_id in each.event_ids}
        self._times = [(each.at_ms, "") for each in facts]  # to search from, and the delivery that is due then; a heap
        heapq.heapify(self._times)
        self._open = {one.id: each.at_ms for each in facts for one in each.expected}  # without an attempt since
        self._ends: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}  # up to here
        self._found: dict[Position, FoundAttempt] = {}
        self._left = RECORDS_MAX

    async def run(self) -> FoundAttempts:
        scope = anyio.move_on_after(self._search_s)
        with scope:
            self._ends = await self._bus.end_offsets([topics.ATTEMPTS])
            while self._times and self._left > 0:
                await self._search(*self._next_times())
        found = sorted(self._found.values(), key=lambda each: (each.attempt.at_ms, each.attempt.attempt))
        return FoundAttempts(found, complete=not (scope.cancelled_caught or self._times or self._left <= 0))

    def _next_times(self) -> tuple[int, int]:
        """The first and the last of the next times that are so near to each other that one search reads all of them."""
        first_ms = last_ms = self._times[0][0]
        while self._times and self._times[0][0] <= last_ms + NEAR_MS:
            last_ms, delivery_id = heapq.heappop(self._times)
            if delivery_id:
                self._open[delivery_id] = last_ms
        return first_ms, last_ms

    async def _search(self, first_ms: int, last_ms: int) -> None:
        """Read from a time, or from where an earlier search ended if that is later.

        A reader of its own for each search, of what it reads only: one at the end of a partition would wait there.
        """
        starts = await self._bus.offsets_at([topics.ATTEMPTS], first_ms - CLOCKS_MS)
        starts = {tp: max(start, self._read.get(tp, 0)) for tp, start in starts.items()}
        starts = {tp: start for tp, start in starts.items() if start < self._ends[tp]}
        if not starts:
            return
        try:
            async with self._bus.tail(starts) as tail:
                await self._scan(tail, {tp: _Scanned() for tp in starts}, last_ms)
        except OffsetOutOfRange:
            return  # retention deleted the records just now

    async def _scan(self, tail: Tail, reading: dict[TopicPartition, _Scanned], last_ms: int) -> None:
        while reading and self._left > 0:
            records = await tail.fetch(records_max=FETCH_RECORDS, wait_s=FETCH_S)
            self._left -= len(records)
            for record in records:
                if (scanned := reading.get(record.topic_partition)) is not None:
                    scanned.seen_ms = max(scanned.seen_ms, record.timestamp_ms)
                    scanned.quiet = 0 if self._take(record) else scanned.quiet + 1
            for tp, scanned in list(reading.items()):
                self._read[tp] = tail.position(tp)
                if self._read[tp] >= self._ends[tp] or self._ended(tp, scanned, last_ms):
                    del reading[tp]
                    tail.pause([tp])

    def _ended(self, tp: TopicPartition, scanned: _Scanned, last_ms: int) -> bool:
        """Whether no attempt of the times that are searched for is expected in the rest of the partition."""
        if scanned.quiet < QUIET_RECORDS or scanned.seen_ms < last_ms:
            return False
        due = (delivery for delivery, due_ms in self._open.items() if due_ms <= scanned.seen_ms)
        return all(topics.ATTEMPTS.partition(delivery) != tp.partition for delivery in due)

    def _take(self, record: Record) -> bool:
        """Whether it is an attempt of the message."""
        event_id = record.key.partition(b":")[0].decode("utf-8", "replace")
        if event_id not in self._offsets or record.value is None or record.position in self._found:
            return False
        try:
            attempt = _decode(record.value)
        except msgspec.MsgspecError:
            return False
        self._found[record.position] = FoundAttempt(attempt, record.position, self._offsets[event_id])
        self._open.pop(attempt.id, None)
        if attempt.again_at_ms is not None:
            heapq.heappush(self._times, (attempt.again_at_ms, attempt.id))
        return True

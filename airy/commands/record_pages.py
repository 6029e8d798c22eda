"""Reads a page of records of one topic, in order of time over its partitions, towards newer or towards older records.

The log is read forward only, so a page of older records is searched in steps: a stretch of each partition before the
position, then one four times as long, until there are enough records. Every page reads a bounded number of records, in
a bounded time; a search that ends for that says where to go on.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import anyio
from msgspec import Struct

from airy.bus.api import Bus, OffsetOutOfRange, Tail
from airy.bus.record import Record, TopicPartition
from airy.errors import Refused, Unavailable

SCANNED_RECORDS_MAX: Final = 20_000  # of one page
SCAN_S: Final = 8.0
FETCH_S: Final = 0.5
FETCH_RECORDS: Final = 500
FETCH_BYTES: Final = 1_048_576
PAGE_BYTES_MAX: Final = 1_048_576  # keys and values as they are in the log; a page has at least one record
STEP_GROWTH: Final = 4

Direction = Literal["newer", "older"]
Offsets = Mapping[TopicPartition, int]


class RecordPage(Struct, frozen=True, kw_only=True):
    """In order of time. `older` and `newer` are where the neighbouring pages are; `older` None: there are no older
    records. Not `complete`: the search ended at a limit, and the neighbouring page goes on from there.
    """

    records: Sequence[Record]
    older: Offsets | None
    newer: Offsets
    complete: bool


class WantedRecords(Struct, frozen=True, kw_only=True):
    """Of these partitions: from `starts` towards newer, or before `starts` towards older records."""

    starts: Offsets
    begins: Offsets
    ends: Offsets
    direction: Direction
    count: int
    key: bytes | None = None

    def takes(self, record: Record) -> bool:
        return self.key is None or record.key == self.key


async def read_page(bus: Bus, wanted: WantedRecords) -> RecordPage:
    """Raises `Unavailable` if the log returns nothing in time, `Refused` if retention removed the position."""
    budget = _Budget(anyio.current_time() + SCAN_S)
    read = _newer if wanted.direction == "newer" else _older
    try:
        return await read(bus, wanted, budget)
    except OffsetOutOfRange as error:
        raise Refused(f"the log no longer holds this position: {error}", field="positions") from error


class _Budget:
    def __init__(self, until: float) -> None:
        self.until = until
        self.records = SCANNED_RECORDS_MAX

    @property
    def left(self) -> bool:
        return self.records > 0 and anyio.current_time() < self.until


class _Kept:
    """Records of one partition: the first ones until there are enough, or always the last ones."""

    def __init__(self, count: int) -> None:
        self.records: deque[Record] = deque()
        self._count = count
        self._size = 0

    @property
    def full(self) -> bool:
        return len(self.records) >= self._count or self._size >= PAGE_BYTES_MAX

    def add(self, record: Record) -> None:
        self.records.append(record)
        self._size += _size(record)

    def push(self, record: Record) -> bool:
        """Add, and drop the oldest beyond the limits. Whether one was dropped."""
        self.add(record)
        dropped = False
        while len(self.records) > self._count or (len(self.records) > 1 and self._size > PAGE_BYTES_MAX):
            self._size -= _size(self.records.popleft())
            dropped = True
        return dropped


# --- towards newer records


async def _newer(bus: Bus, wanted: WantedRecords, budget: _Budget) -> RecordPage:
    following = dict(wanted.starts)
    kept = {tp: _Kept(wanted.count) for tp in wanted.starts}
    reading = {tp for tp, start in wanted.starts.items() if start < wanted.ends[tp]}
    async with bus.tail({tp: wanted.starts[tp] for tp in reading}) as tail:
        while reading and budget.left:
            for record in await _fetch(tail, budget):
                tp = record.topic_partition
                if tp in reading and record.offset < wanted.ends[tp] and wanted.takes(record):
                    kept[tp].add(record)
                    following[tp] = record.offset + 1
                    if kept[tp].full:
                        _leave(tail, reading, tp)
            for tp in [tp for tp in reading if tail.position(tp) >= wanted.ends[tp]]:
                following[tp] = wanted.ends[tp]
                _leave(tail, reading, tp)
        for tp in reading:
            following[tp] = tail.position(tp)
    merged = heapq.merge(*(each.records for each in kept.values()), key=_time)
    page = _bounded(merged, wanted.count)
    shown = _last_offsets(page)
    for tp, each in kept.items():
        if len(each.records) and each.records[-1].offset != shown.get(tp):
            following[tp] = shown[tp] + 1 if tp in shown else each.records[0].offset
    older = wanted.starts if any(start > wanted.begins[tp] for tp, start in wanted.starts.items()) else None
    return RecordPage(records=page, older=older, newer=following, complete=not reading)


# --- towards older records


async def _older(bus: Bus, wanted: WantedRecords, budget: _Budget) -> RecordPage:
    reached = dict(wanted.starts)  # below it nothing has been read
    kept: dict[TopicPartition, deque[Record]] = {tp: deque() for tp in wanted.starts}
    searching = {tp for tp, start in wanted.starts.items() if start > wanted.begins[tp]}
    step = wanted.count
    if searching:
        async with bus.tail({tp: reached[tp] for tp in searching}) as tail:
            while searching and budget.left:
                lows = {tp: max(wanted.begins[tp], reached[tp] - step) for tp in searching}
                found = await _stretch(tail, wanted, lows, reached, budget)
                if found is None:
                    break
                for tp, (some, low) in found.items():
                    kept[tp].extendleft(reversed(some))
                    reached[tp] = low
                    if len(kept[tp]) >= wanted.count or low <= wanted.begins[tp] or low > lows[tp]:
                        searching.discard(tp)
                step *= STEP_GROWTH
        if reached == wanted.starts:
            raise Unavailable(f"the log could not be read within {SCAN_S:g} s")
    newest_first = heapq.merge(*(reversed(each) for each in kept.values()), key=lambda record: -record.timestamp_ms)
    page = _bounded(newest_first, wanted.count)[::-1]
    return RecordPage(
        records=page,
        older=_before(page, kept, reached, wanted.begins),
        newer=wanted.starts,
        complete=not searching or len(page) < sum(map(len, kept.values())) or len(page) >= wanted.count,
    )


def _before(
    page: Sequence[Record], kept: Mapping[TopicPartition, Sequence[Record]], reached: Offsets, begins: Offsets
) -> Offsets | None:
    """Where the page before `page` ends. None: nothing is left."""
    shown = _first_offsets(page)
    older = {}
    for tp, low in reached.items():
        records = kept[tp]
        if not records or records[0].offset == shown.get(tp):
            older[tp] = low
        else:
            older[tp] = shown.get(tp, records[-1].offset + 1)
    return older if any(offset > begins[tp] for tp, offset in older.items()) else None


async def _stretch(
    tail: Tail, wanted: WantedRecords, lows: Offsets, highs: Offsets, budget: _Budget
) -> dict[TopicPartition, tuple[Sequence[Record], int]] | None:
    """The last wanted records of each partition from its low to its high offset, and from where on they are all there
    are. None: a limit was reached first.
    """
    kept = {tp: _Kept(wanted.count) for tp in lows}
    from_offset = dict(lows)
    reading = set(lows)
    for tp, low in lows.items():
        tail.seek(tp, low)
    tail.resume(lows)
    while reading:
        if not budget.left:
            return None
        for record in await _fetch(tail, budget):
            tp = record.topic_partition
            if tp in reading and record.offset < highs[tp] and wanted.takes(record) and kept[tp].push(record):
                from_offset[tp] = kept[tp].records[0].offset
        for tp in [tp for tp in reading if tail.position(tp) >= highs[tp]]:
            _leave(tail, reading, tp)
    return {tp: (each.records, from_offset[tp]) for tp, each in kept.items()}


async def _fetch(tail: Tail, budget: _Budget) -> Sequence[Record]:
    records = await tail.fetch(records_max=FETCH_RECORDS, bytes_max=FETCH_BYTES, wait_s=FETCH_S)
    budget.records -= len(records)
    return records


def _bounded(records: Iterable[Record], count: int) -> list[Record]:
    """The first ones within the limits of a page, but at least one."""
    page: list[Record] = []
    left = PAGE_BYTES_MAX
    for record in records:
        left -= _size(record)
        if len(page) >= count or (page and left < 0):
            break
        page.append(record)
    return page


def _leave(tail: Tail, reading: set[TopicPartition], tp: TopicPartition) -> None:
    reading.discard(tp)
    tail.pause([tp])


def _first_offsets(page: Sequence[Record]) -> dict[TopicPartition, int]:
    return {record.topic_partition: record.offset for record in reversed(page)}


def _last_offsets(page: Sequence[Record]) -> dict[TopicPartition, int]:
    return {record.topic_partition: record.offset for record in page}


def _time(record: Record) -> int:
    return record.timestamp_ms


def _size(record: Record) -> int:
    return len(record.key) + len(record.value or b"")

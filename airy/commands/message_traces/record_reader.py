"""Reads single records of the log by position."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
from msgspec import Struct

from airy.bus.api import Bus, Tail
from airy.bus.record import Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.topics import BY_NAME

READ_S = 5.0
FETCH_S = 1.0
FETCH_RECORDS = 64
NEAR_OFFSETS = 256  # records so near to the next one are read on, without another seek


class ReadRecords(Struct, frozen=True):
    """`beyond_retention`: positions below the beginning of their partition. What is in neither is not in this log."""

    records: Mapping[Position, Record]
    beyond_retention: frozenset[Position]


async def read_records(bus: Bus, positions: Iterable[Position]) -> ReadRecords:
    """Raises `Unavailable` if the log does not return them within `READ_S`."""
    wanted: dict[TopicPartition, list[int]] = defaultdict(list)
    for position in sorted(set(positions)):
        topic = BY_NAME.get(position.topic)
        if topic is not None and position.partition < topic.partitions:
            wanted[position.topic_partition].append(position.offset)
    if not wanted:
        return ReadRecords({}, frozenset())
    read: list[Topic[Any]] = [BY_NAME[name] for name in {tp.topic for tp in wanted}]
    begins, ends = await bus.beginning_offsets(read), await bus.end_offsets(read)
    expired = {Position(*tp, offset) for tp, offsets in wanted.items() for offset in offsets if offset < begins[tp]}
    left = {
        tp: kept
        for tp, offsets in wanted.items()
        if (kept := [offset for offset in offsets if begins[tp] <= offset < ends[tp]])
    }
    records: dict[Position, Record] = {}
    if left:
        with anyio.move_on_after(READ_S):
            async with bus.tail({tp: offsets[0] for tp, offsets in left.items()}) as tail:
                while left:
                    for record in await tail.fetch(records_max=FETCH_RECORDS, wait_s=FETCH_S):
                        if record.offset in left.get(record.topic_partition, ()):
                            records[record.position] = record
                    left = _advance(tail, left)
            return ReadRecords(records, frozenset(expired))
        raise Unavailable(f"{sum(map(len, left.values()))} records could not be read within {READ_S:g} s")
    return ReadRecords(records, frozenset(expired))


def _advance(tail: Tail, left: Mapping[TopicPartition, list[int]]) -> dict[TopicPartition, list[int]]:
    """What is still to be read; the tail is at it, or near before it."""
    remaining = {}
    for tp, offsets in left.items():
        at = tail.position(tp)
        ahead = [offset for offset in offsets if offset >= at]
        if not ahead:
            tail.pause([tp])
            continue
        if ahead[0] - at > NEAR_OFFSETS:
            tail.seek(tp, ahead[0])
        remaining[tp] = ahead
    return remaining

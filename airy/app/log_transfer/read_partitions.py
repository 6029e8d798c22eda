"""Reads partitions from their beginning to their present end, in bounded batches and without a group."""

from collections.abc import AsyncGenerator, Mapping

from airy.bus.api import Bus, OffsetOutOfRange
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable

RECORDS_MAX = 1_000
WAIT_S = 1.0
EMPTY_FETCHES_MAX = 30  # in a row, before the end is reached

Offsets = Mapping[TopicPartition, int]


async def read_partitions(bus: Bus, starts: Offsets, ends: Offsets) -> AsyncGenerator[list[Record], None]:
    """Close the generator when you leave early. Raises `Unavailable`, also if retention removes records meanwhile."""
    ends = {tp: end for tp, end in ends.items() if starts[tp] < end}
    if not ends:
        return
    empty_fetches = 0
    async with bus.tail({tp: starts[tp] for tp in ends}) as tail:
        while behind := [tp for tp, end in ends.items() if tail.position(tp) < end]:
            try:
                records = await tail.fetch(records_max=RECORDS_MAX, wait_s=WAIT_S)
            except OffsetOutOfRange as error:
                raise Unavailable(f"records were removed while they were read ({error}): run it again") from error
            empty_fetches = 0 if records else empty_fetches + 1
            if empty_fetches >= EMPTY_FETCHES_MAX:
                tp = behind[0]
                text = f"{tp.topic}[{tp.partition}] returns no records from {tail.position(tp)} on"
                raise Unavailable(f"{text}, although it ends at {ends[tp]}")
            below = [record for record in records if record.offset < ends[record.topic_partition]]
            if below:
                yield below

"""Partitions of a log from where they start to where they end now, in bounded batches: no group, and an end."""

from collections.abc import AsyncGenerator, Mapping

from airy.bus.api import Bus, Truncated
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable

RECORDS_MAX = 1_000
WAIT_S = 1.0
SILENCE_MAX = 30  # so many waits in a row without a record although there are some

Offsets = Mapping[TopicPartition, int]


async def read(bus: Bus, starts: Offsets, ends: Offsets) -> AsyncGenerator[list[Record], None]:
    """Close it when you leave early. Raises `Unavailable`, also when retention took records away meanwhile."""
    ends = {where: end for where, end in ends.items() if starts[where] < end}
    if not ends:
        return
    silence = 0
    async with bus.tail({where: starts[where] for where in ends}) as tail:
        while behind := [where for where, end in ends.items() if tail.position(where) < end]:
            try:
                records = await tail.fetch(records_max=RECORDS_MAX, wait_s=WAIT_S)
            except Truncated as error:
                raise Unavailable(f"records went away while they were read ({error}): run it again") from error
            silence = 0 if records else silence + 1
            if silence >= SILENCE_MAX:
                where = behind[0]
                text = f"{where.topic}[{where.partition}] gives nothing from {tail.position(where)} on"
                raise Unavailable(f"{text}, although it ends at {ends[where]}")
            below = [record for record in records if record.offset < ends[record.where]]
            if below:
                yield below

"""A process that publishes to a journal and prints acknowledged records, until it is killed."""

import os
import sys
from pathlib import Path
from typing import Any

import anyio

from airy.bus import Bus, Topic
from airy.bus.memory import MemoryBus, open_journal
from airy.clock import SystemClock
from tests.kit.lifecycle import RecordingLifecycle

TOPIC: Topic[Any] = Topic("facts", bytes, partitions=4, retention="kept")


async def publish(bus: Bus, cycle: str, name: int) -> None:
    number = 0
    while True:
        records = [TOPIC.record(f"{name}", b"%s-%d-%d-%d" % (cycle.encode(), name, number, n)) for n in range(3)]
        positions = await bus.publish(records)
        lines = [
            b"%d %d %s\n" % (position.partition, position.offset, record.value or b"")
            for position, record in zip(positions, records, strict=True)
        ]
        os.write(1, b"".join(lines))
        number += 1


async def main(directory: Path, cycle: str) -> None:
    with open_journal(directory) as journal:
        bus = MemoryBus([TOPIC], clock=SystemClock(), journal=journal)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run, RecordingLifecycle())
            for name in range(8):
                tasks.start_soon(publish, bus, cycle, name)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])

"""A running bus for tests, and its clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from airy.bus.api import Bus, Reader
from airy.bus.record import Record
from airy.task_group import task_group
from tests.kit.lifecycle import RecordingLifecycle

READ_S = 120.0  # for records that must come: the machine may be busy

B = TypeVar("B", bound=Bus)


class StepClock:
    """Wall time that a test sets."""

    def __init__(self, ms: int = 1_767_225_600_000) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


@asynccontextmanager
async def running(bus: B) -> AsyncIterator[B]:
    """Runs inside the block, drained afterwards."""
    lifecycle = RecordingLifecycle()
    async with task_group() as tasks:
        tasks.start_soon(bus.run, lifecycle)
        await lifecycle.is_ready.wait()
        yield bus
        lifecycle.draining.set()


async def read(reader: Reader, count: int, *, records_max: int = 10_000) -> list[Record]:
    """This many records; fails when they do not come."""
    records: list[Record] = []
    with anyio.fail_after(READ_S):
        while len(records) < count:
            records += await reader.fetch(records_max=records_max, wait_s=READ_S)
    assert len(records) == count, f"{len(records)} records came, not {count}"
    return records

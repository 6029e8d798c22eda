"""Log lines of a fleet: each process publishes its own, and a process with the API has those of all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from airy import topics
from airy.actors.log_publisher import BATCH_LINES_MAX, LogPublisher
from airy.actors.process_logs import PROCESSES_MAX, ProcessLogs
from airy.actors.runtime import Context
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock
from airy.errors import Unavailable
from airy.log_ring import LogRing
from tests.kit.builders import START_MS

CLOCK = LoopClock(START_MS)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(topics.ALL, clock=CLOCK)


@asynccontextmanager
async def reading(bus: MemoryBus) -> AsyncIterator[ProcessLogs]:
    """A process named api:1 that follows the lines of the others."""
    logs = ProcessLogs(LogRing(epoch="own"))
    logs.instance = lambda: "api:1"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(logs.run, Context("process-logs", clock=CLOCK, random=Random(0)), bus)
        yield logs
        tasks.cancel_scope.cancel()


def lines(logs: ProcessLogs, instance: str) -> list[bytes]:
    ring = logs.rings().get(instance)
    return [] if ring is None else ring.after(None).lines


async def settled() -> None:
    await anyio.sleep(0.1)


async def test_lines_of_other_processes_arrive_with_their_numbers_and_without_a_repeat(bus: MemoryBus) -> None:
    ring = LogRing(epoch="run 1")
    publisher = LogPublisher(bus, ring, lambda: "facebook:1")
    ring.append(b"before")
    await publisher.publish()
    async with reading(bus) as logs:
        ring.append(b"after")
        await publisher.publish()
        await LogPublisher(bus, ring, lambda: "facebook:1").publish()  # a restarted actor publishes all again
        await settled()
        assert lines(logs, "facebook:1") == [b"before", b"after"]
        assert logs.rings()["facebook:1"].after(None).end == ("run 1", 2)
        assert set(logs.rings()) == {"api:1", "facebook:1"}


async def test_a_new_run_of_a_process_replaces_the_lines_of_the_former_one(bus: MemoryBus) -> None:
    async with reading(bus) as logs:
        for run in ("run 1", "run 2"):
            ring = LogRing(epoch=run)
            ring.append(run.encode())
            await LogPublisher(bus, ring, lambda: "facebook:1").publish()
        await settled()
        assert lines(logs, "facebook:1") == [b"run 2"]


async def test_own_lines_come_from_the_own_ring_and_old_or_unreadable_ones_are_left_out(bus: MemoryBus) -> None:
    ring = LogRing(epoch="own")
    ring.append(b"own")
    await LogPublisher(bus, ring, lambda: "api:1").publish()
    await bus.publish([topics.PROCESS_LOGS.record("newer:1", None)])
    old = topics.PROCESS_LOGS.record("old:1", None, timestamp_ms=START_MS - 3_600_000)
    await bus.publish([old])
    async with reading(bus) as logs:
        await settled()
        assert set(logs.rings()) == {"api:1"}
        assert lines(logs, "api:1") == []


async def test_lines_wait_for_the_log_and_for_the_name_of_the_process(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    ring = LogRing(epoch="run 1")
    publisher = LogPublisher(bus, ring, lambda: names[0] if names else None)
    for number in range(BATCH_LINES_MAX + 1):
        ring.append(b"%d" % number)
    await publisher.publish()
    names.append("facebook:1")
    with monkeypatch.context() as away:

        async def unavailable(_records: object) -> None:
            raise Unavailable("the log is away")

        away.setattr(bus, "publish", unavailable)
        await publisher.publish()
    await publisher.publish()
    async with reading(bus) as logs:
        await settled()
        assert len(lines(logs, "facebook:1")) == BATCH_LINES_MAX + 1


async def test_the_number_of_processes_is_bounded(bus: MemoryBus) -> None:
    async with reading(bus) as logs:
        for number in range(PROCESSES_MAX + 5):
            ring = LogRing(epoch="e")
            ring.append(b"line")
            await LogPublisher(bus, ring, lambda number=number: f"p:{number}").publish()  # type: ignore[misc]
        await settled()
        assert len(logs.rings()) == PROCESSES_MAX + 1
        assert "p:0" not in logs.rings()

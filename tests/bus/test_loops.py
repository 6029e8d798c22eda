"""A transform loses no record and commits nothing before its outputs are durable, whatever goes wrong."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import anyio
import pytest

from airy.bus import Bus, Emit, Faults, MemoryBus, Record, Topic, origin, transform
from airy.bus.api import Pulse
from airy.bus.faults import Crashed
from airy.bus.loops import TRIES_MAX
from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from tests.kit.bus import read
from tests.kit.pulse import LonePulse

RAW: Topic[Any] = Topic("raw", bytes, partitions=3, retention="kept")
OUT: Topic[Any] = Topic("out", bytes, partitions=2, retention="kept")
DEAD: Topic[Any] = Topic("dlq.raw", bytes, partitions=1, retention="kept")
GROUP = "router"


def make_bus(faults: Faults | None = None, **options: Any) -> MemoryBus:
    return MemoryBus([RAW, OUT, DEAD], clock=LoopClock(), faults=faults, **options)


def copy(record: Record) -> list[Emit]:
    return [OUT.emit(record.key.decode(), record.value)]


def bury(record: Record, reason: str, attempts: int) -> Emit:
    return DEAD.emit("", record.value, headers=origin(record, reason, attempts))


def route(step: Callable[[Record], Sequence[Emit]] = copy, **options: Any) -> Callable[[Bus, Pulse], Any]:
    async def run(bus: Bus, pulse: Pulse) -> None:
        await transform(bus, pulse, [RAW], group=GROUP, step=step, dead_letter=bury, **options)

    return run


async def until_idle(bus: MemoryBus, run: Callable[[Bus, Pulse], Any]) -> None:
    """Runs it for a while of virtual time and drains it."""
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, bus, pulse)
        await anyio.sleep(20)
        pulse.draining.set()


async def values(bus: MemoryBus, topic: Topic[Any]) -> list[bytes]:
    async with bus.tail(await bus.starts([topic])) as tail:
        return sorted(record.value or b"" for record in await tail.fetch(records_max=10_000, wait_s=0))


def numbers(count: int) -> list[bytes]:
    return sorted(b"%d" % number for number in range(count))


async def publish(bus: MemoryBus, count: int) -> None:
    await bus.publish([RAW.emit(f"key-{number}", b"%d" % number) for number in range(count)])


async def test_every_record_is_stepped_published_and_committed() -> None:
    bus = make_bus()
    await publish(bus, 1_200)
    await until_idle(bus, route())
    assert await values(bus, OUT) == numbers(1_200)
    assert await bus.committed(GROUP, [RAW]) == await bus.ends([RAW])


async def test_the_order_of_a_partition_is_the_order_of_its_outputs() -> None:
    bus = make_bus()
    await bus.publish([RAW.emit("a", b"%d" % number) for number in range(100)])
    await until_idle(bus, route(records_max=7))
    async with bus.tail(await bus.starts([OUT])) as tail:
        assert [int(record.value or b"") for record in await read(tail, 100)] == list(range(100))


# --- poison


async def test_what_is_refused_becomes_a_dead_letter_and_delays_nobody() -> None:
    def step(record: Record) -> list[Emit]:
        if record.value == b"3":
            raise Refused("no account in it")
        return copy(record)

    bus = make_bus()
    await bus.publish([RAW.emit("key", b"%d" % number, headers=(("id", b"x"),)) for number in range(6)])
    await until_idle(bus, route(step))
    assert await values(bus, OUT) == [b"0", b"1", b"2", b"4", b"5"]
    async with bus.tail(await bus.starts([DEAD])) as tail:
        (dead,) = await read(tail, 1)
    assert dead.value == b"3"
    headers = {name: dead.header(name) for name in ("id", "topic", "partition", "offset", "reason", "attempts")}
    assert headers == {
        "id": "x",
        "topic": "raw",
        "partition": str(RAW.partition("key")),
        "offset": "3",
        "reason": "no account in it",
        "attempts": "1",
    }
    assert await bus.committed(GROUP, [RAW]) == {
        where: 6 for where in RAW.where if where.partition == RAW.partition("key")
    }


async def test_a_bug_is_tried_again_and_then_buried() -> None:
    calls = []

    def step(record: Record) -> list[Emit]:
        if record.value == b"3":
            calls.append(record)
            raise ZeroDivisionError("by zero")
        return copy(record)

    bus = make_bus()
    await publish(bus, 6)
    await until_idle(bus, route(step))
    assert len(calls) == TRIES_MAX
    assert await values(bus, OUT) == [b"0", b"1", b"2", b"4", b"5"]
    async with bus.tail(await bus.starts([DEAD])) as tail:
        (dead,) = await read(tail, 1)
    assert (dead.header("reason"), dead.header("attempts")) == ("ZeroDivisionError: by zero", str(TRIES_MAX))


async def test_a_bug_that_passes_leaves_no_trace() -> None:
    calls = []

    def step(record: Record) -> list[Emit]:
        calls.append(record)
        if len(calls) < TRIES_MAX:
            raise KeyError("not there yet")
        return copy(record)

    bus = make_bus()
    await publish(bus, 1)
    await until_idle(bus, route(step))
    assert await values(bus, OUT) == [b"0"]
    assert await values(bus, DEAD) == []


async def test_an_output_that_is_refused_buries_only_its_cause() -> None:
    def step(record: Record) -> list[Emit]:
        return [OUT.emit("a", bytes(2_000) if record.value == b"3" else record.value)]

    bus = make_bus(record_bytes_max=1_000)
    await publish(bus, 6)
    await until_idle(bus, route(step))
    assert await values(bus, OUT) == [b"0", b"1", b"2", b"4", b"5"]
    assert await values(bus, DEAD) == [b"3"]


async def test_the_largest_record_fits_as_a_dead_letter() -> None:
    def step(record: Record) -> list[Emit]:
        raise Refused("x" * 100_000)

    bus = make_bus(record_bytes_max=1_000)
    await bus.publish([RAW.emit("", bytes(1_000))])
    await until_idle(bus, route(step))
    assert await values(bus, DEAD) == [bytes(1_000)]


# --- what is not available


async def test_a_step_that_cannot_know_yet_commits_nothing() -> None:
    def step(record: Record) -> list[Emit]:
        raise Unavailable("channels are not read yet")

    bus = make_bus()
    await publish(bus, 3)
    with pytest.raises(Unavailable, match="not read yet"):
        await route(step)(bus, LonePulse())
    assert await bus.committed(GROUP, [RAW]) == {}
    await until_idle(bus, route())
    assert await values(bus, OUT) == numbers(3)


async def test_publishing_that_fails_commits_nothing() -> None:
    faults = Faults()
    bus = make_bus(faults)
    await publish(bus, 3)
    faults.script("publish", "unavailable")
    with pytest.raises(Unavailable):
        await route()(bus, LonePulse())
    assert await bus.committed(GROUP, [RAW]) == {}
    await until_idle(bus, route())
    assert await values(bus, OUT) == numbers(3)


async def test_what_comes_after_is_published_before_the_commit() -> None:
    bus = make_bus()
    committed_then = []

    async def after() -> list[Emit]:
        assert await values(bus, OUT) == numbers(3)
        committed_then.append(await bus.committed(GROUP, [RAW]))
        return [OUT.emit("a", b"more")]

    await publish(bus, 3)
    await until_idle(bus, route(after=after))
    assert committed_then == [{}]
    assert await values(bus, OUT) == [*numbers(3), b"more"]


# --- crashes, and the test of the test


async def committed_before_published(bus: Bus, pulse: Pulse) -> None:
    """A transform with the bug this module is about."""
    async with bus.subscribe([RAW], group=GROUP) as subscription:
        while not pulse.draining.is_set():
            records = await subscription.fetch(records_max=50, wait_s=1)
            if records:
                await subscription.commit({record.where: record.offset + 1 for record in records})
                await bus.publish([emit for record in records for emit in copy(record)])


async def survivors(run: Callable[[Bus, Pulse], Any], seed: int) -> list[bytes]:
    """What is in the output after crashes, lost answers and rebalances, followed by a calm while."""
    faults = Faults(
        Random(seed),
        rates={
            ("publish", "unavailable"): 0.1,
            ("publish", "crash"): 0.1,
            ("published", "unavailable"): 0.1,
            ("commit", "unavailable"): 0.1,
            ("committed", "crash"): 0.1,
            ("fetch", "rebalance"): 0.2,
            ("publish", "delay"): 0.1,
            ("publish", "duplicate"): 0.1,
        },
        delay_s_max=3.0,
    )
    bus = make_bus(faults, session_s=2.0, rebalance_s=2.0)
    supply = make_supply(bus)

    async def worker() -> None:
        while True:
            try:
                await run(bus, LonePulse())
            except (Unavailable, Crashed):
                await anyio.sleep(0.5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supply)
        for _ in range(2):
            tasks.start_soon(worker)
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    faults.calm()
    await until_idle(bus, run)
    return sorted(set(await values(bus, OUT)))


def make_supply(bus: MemoryBus) -> Callable[[], Any]:
    async def supply() -> None:
        for number in range(60):
            while True:
                try:
                    await bus.publish([RAW.emit(f"key-{number}", b"%d" % number)])
                    break
                except (Unavailable, Crashed):
                    continue
            await anyio.sleep(0.7)

    return supply


@pytest.mark.parametrize("number", range(5))
async def test_nothing_is_lost_through_crashes_and_rebalances(seed: int, number: int) -> None:
    assert await survivors(route(records_max=5), seed + number) == numbers(60)


async def test_committing_before_publishing_is_found_out(seed: int) -> None:
    assert any([await survivors(committed_before_published, seed + number) != numbers(60) for number in range(3)])


# --- draining, and being seen


async def test_draining_interrupts_the_wait_and_commits() -> None:
    bus = make_bus()
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(route(idle_s=1_000, commit_s=1_000), bus, pulse)
        await pulse.is_ready.wait()
        await publish(bus, 5)
        await anyio.sleep(1)
        assert pulse.waits == 1
        before = anyio.current_time()
        pulse.draining.set()
    assert anyio.current_time() - before < 0.1
    assert pulse.waits == 0
    assert pulse.beats > 0
    assert sum((await bus.committed(GROUP, [RAW])).values()) > 0
    assert await values(bus, OUT) == numbers(5)


async def test_commits_are_few() -> None:
    bus = make_bus(faults := Faults())
    faults.script("committed", "delay", times=1_000)
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(route(), bus, pulse)
        for number in range(100):
            await bus.publish([RAW.emit("a", b"%d" % number)])
            await anyio.sleep(0.05)
        await anyio.sleep(2)
        pulse.draining.set()
    assert await bus.committed(GROUP, [RAW]) == {
        where: 100 for where in RAW.where if where.partition == RAW.partition("a")
    }
    assert 4 <= len(faults.struck) <= 7


async def test_a_rebalance_commits_what_is_finished() -> None:
    bus = make_bus()
    seen: list[Record] = []

    def step(record: Record) -> list[Emit]:
        seen.append(record)
        return copy(record)

    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(route(step, commit_s=1_000, idle_s=1), bus, pulse)
            await publish(bus, 20)
            await anyio.sleep(5)
        pulse.draining.set()
    assert len(seen) == 40

"""A transform loses no record and commits nothing before its outputs are durable, under any injected fault."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import anyio
import pytest

from airy.bus import Bus, ProducerRecord, Record, Topic, transform
from airy.bus.dead_letter import make_dead_letter
from airy.bus.loops import ATTEMPTS_MAX
from airy.bus.memory import Faults, GroupTimeouts, InjectedCrash, MemoryBus, MemoryLimits
from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from airy.lifecycle import Lifecycle
from tests.kit.bus import read
from tests.kit.lifecycle import RecordingLifecycle

RAW: Topic[Any] = Topic("raw", bytes, partitions=3, retention="kept")
OUT: Topic[Any] = Topic("out", bytes, partitions=2, retention="kept")
DEAD: Topic[Any] = Topic("dlq.raw", bytes, partitions=1, retention="kept")
GROUP = "router"


def make_bus(faults: Faults | None = None, **options: Any) -> MemoryBus:
    return MemoryBus([RAW, OUT, DEAD], clock=LoopClock(), faults=faults, **options)


def copy(record: Record) -> list[ProducerRecord]:
    return [OUT.record(record.key.decode(), record.value)]


def dead_letter(record: Record, reason: str, attempts: int) -> ProducerRecord:
    return make_dead_letter(DEAD, record, reason, attempts)


def route(step: Callable[[Record], Sequence[ProducerRecord]] = copy, **options: Any) -> Callable[[Bus, Lifecycle], Any]:
    async def run(bus: Bus, lifecycle: Lifecycle) -> None:
        await transform(bus, lifecycle, [RAW], group=GROUP, step=step, dead_letter=dead_letter, **options)

    return run


async def until_idle(bus: MemoryBus, run: Callable[[Bus, Lifecycle], Any]) -> None:
    """Run the loop for a while of virtual time, then drain it."""
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, bus, lifecycle)
        await anyio.sleep(20)
        lifecycle.draining.set()


async def values(bus: MemoryBus, topic: Topic[Any]) -> list[bytes]:
    async with bus.tail(await bus.beginning_offsets([topic])) as tail:
        return sorted(record.value or b"" for record in await tail.fetch(records_max=10_000, wait_s=0))


def numbers(count: int) -> list[bytes]:
    return sorted(b"%d" % number for number in range(count))


async def publish(bus: MemoryBus, count: int) -> None:
    await bus.publish([RAW.record(f"key-{number}", b"%d" % number) for number in range(count)])


async def test_every_record_is_transformed_published_and_committed() -> None:
    bus = make_bus()
    await publish(bus, 1_200)
    await until_idle(bus, route())
    assert await values(bus, OUT) == numbers(1_200)
    assert await bus.committed(GROUP, [RAW]) == await bus.end_offsets([RAW])


async def test_outputs_keep_the_order_of_their_partition() -> None:
    bus = make_bus()
    await bus.publish([RAW.record("a", b"%d" % number) for number in range(100)])
    await until_idle(bus, route(records_max=7))
    async with bus.tail(await bus.beginning_offsets([OUT])) as tail:
        assert [int(record.value or b"") for record in await read(tail, 100)] == list(range(100))


# --- poison records


async def test_a_refused_record_becomes_a_dead_letter_and_delays_no_other() -> None:
    def step(record: Record) -> list[ProducerRecord]:
        if record.value == b"3":
            raise Refused("no account in it")
        return copy(record)

    bus = make_bus()
    await bus.publish([RAW.record("key", b"%d" % number, headers=(("id", b"x"),)) for number in range(6)])
    await until_idle(bus, route(step))
    assert await values(bus, OUT) == [b"0", b"1", b"2", b"4", b"5"]
    async with bus.tail(await bus.beginning_offsets([DEAD])) as tail:
        (dead,) = await read(tail, 1)
    assert dead.value == b"3"
    headers = {
        name: dead.header(name)
        for name in ("id", "dlq-topic", "dlq-partition", "dlq-offset", "dlq-reason", "dlq-attempts")
    }
    assert headers == {
        "id": "x",
        "dlq-topic": "raw",
        "dlq-partition": str(RAW.partition("key")),
        "dlq-offset": "3",
        "dlq-reason": "no account in it",
        "dlq-attempts": "1",
    }
    assert await bus.committed(GROUP, [RAW]) == {
        tp: 6 for tp in RAW.topic_partitions if tp.partition == RAW.partition("key")
    }


async def test_a_record_a_step_crashes_on_is_retried_and_then_dead_lettered() -> None:
    calls = []

    def step(record: Record) -> list[ProducerRecord]:
        if record.value == b"3":
            calls.append(record)
            raise ZeroDivisionError("by zero")
        return copy(record)

    bus = make_bus()
    await publish(bus, 6)
    await until_idle(bus, route(step))
    assert len(calls) == ATTEMPTS_MAX
    assert await values(bus, OUT) == [b"0", b"1", b"2", b"4", b"5"]
    async with bus.tail(await bus.beginning_offsets([DEAD])) as tail:
        (dead,) = await read(tail, 1)
    assert (dead.header("dlq-reason"), dead.header("dlq-attempts")) == ("ZeroDivisionError: by zero", str(ATTEMPTS_MAX))


async def test_a_step_that_succeeds_on_a_retry_leaves_no_dead_letter() -> None:
    calls = []

    def step(record: Record) -> list[ProducerRecord]:
        calls.append(record)
        if len(calls) < ATTEMPTS_MAX:
            raise KeyError("not there yet")
        return copy(record)

    bus = make_bus()
    await publish(bus, 1)
    await until_idle(bus, route(step))
    assert await values(bus, OUT) == [b"0"]
    assert await values(bus, DEAD) == []


async def test_a_refused_output_dead_letters_only_its_input() -> None:
    def step(record: Record) -> list[ProducerRecord]:
        return [OUT.record("a", bytes(2_000) if record.value == b"3" else record.value)]

    bus = make_bus(limits=MemoryLimits(record_bytes_max=1_000))
    await publish(bus, 6)
    await until_idle(bus, route(step))
    assert await values(bus, OUT) == [b"0", b"1", b"2", b"4", b"5"]
    assert await values(bus, DEAD) == [b"3"]


async def test_the_largest_record_fits_as_a_dead_letter() -> None:
    def step(record: Record) -> list[ProducerRecord]:
        raise Refused("x" * 100_000)

    bus = make_bus(limits=MemoryLimits(record_bytes_max=1_000))
    await bus.publish([RAW.record("", bytes(1_000))])
    await until_idle(bus, route(step))
    assert await values(bus, DEAD) == [bytes(1_000)]


# --- unavailable dependencies


async def test_a_step_that_raises_unavailable_commits_nothing() -> None:
    def step(record: Record) -> list[ProducerRecord]:
        raise Unavailable("channels are not read yet")

    bus = make_bus()
    await publish(bus, 3)
    with pytest.raises(Unavailable, match="not read yet"):
        await route(step)(bus, RecordingLifecycle())
    assert await bus.committed(GROUP, [RAW]) == {}
    await until_idle(bus, route())
    assert await values(bus, OUT) == numbers(3)


async def test_a_failed_publish_commits_nothing() -> None:
    faults = Faults()
    bus = make_bus(faults)
    await publish(bus, 3)
    faults.script("publish", "unavailable")
    with pytest.raises(Unavailable):
        await route()(bus, RecordingLifecycle())
    assert await bus.committed(GROUP, [RAW]) == {}
    await until_idle(bus, route())
    assert await values(bus, OUT) == numbers(3)


async def test_the_after_hook_runs_between_publishing_and_committing() -> None:
    bus = make_bus()
    committed_then = []

    async def after() -> None:
        assert await values(bus, OUT) == numbers(3)
        committed_then.append(await bus.committed(GROUP, [RAW]))

    await publish(bus, 3)
    await until_idle(bus, route(after=after))
    assert committed_then == [{}]
    assert await bus.committed(GROUP, [RAW]) != {}


# --- crashes, and a planted bug


async def committed_before_published(bus: Bus, lifecycle: Lifecycle) -> None:
    """A transform that commits before it has published."""
    async with bus.subscribe([RAW], group=GROUP) as subscription:
        while not lifecycle.draining.is_set():
            records = await subscription.fetch(records_max=50, wait_s=1)
            if records:
                await subscription.commit({record.topic_partition: record.offset + 1 for record in records})
                await bus.publish([each for record in records for each in copy(record)])


async def survivors(run: Callable[[Bus, Lifecycle], Any], seed: int) -> list[bytes]:
    """The output after crashes, lost replies and rebalances, followed by a run without faults."""
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
    bus = make_bus(faults, timeouts=GroupTimeouts(session_s=2.0, rebalance_s=2.0))
    supply = make_supply(bus)

    async def worker() -> None:
        while True:
            try:
                await run(bus, RecordingLifecycle())
            except (Unavailable, InjectedCrash):
                await anyio.sleep(0.5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(supply)
        for _ in range(2):
            tasks.start_soon(worker)
        await anyio.sleep(60)
        tasks.cancel_scope.cancel()
    faults.clear()
    await until_idle(bus, run)
    return sorted(set(await values(bus, OUT)))


def make_supply(bus: MemoryBus) -> Callable[[], Any]:
    async def supply() -> None:
        for number in range(60):
            while True:
                try:
                    await bus.publish([RAW.record(f"key-{number}", b"%d" % number)])
                    break
                except (Unavailable, InjectedCrash):
                    continue
            await anyio.sleep(0.7)

    return supply


@pytest.mark.parametrize("number", range(5))
async def test_nothing_is_lost_through_crashes_and_rebalances(seed: int, number: int) -> None:
    """X-12."""
    assert await survivors(route(records_max=5), seed + number) == numbers(60)


async def test_committing_before_publishing_is_detected(seed: int) -> None:
    assert any([await survivors(committed_before_published, seed + number) != numbers(60) for number in range(3)])


# --- draining and progress


async def test_draining_interrupts_the_wait_and_commits() -> None:
    bus = make_bus()
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(route(fetch_wait_s=1_000, commit_s=1_000), bus, lifecycle)
        await lifecycle.is_ready.wait()
        await publish(bus, 5)
        await anyio.sleep(1)
        assert lifecycle.waits == 1
        before = anyio.current_time()
        lifecycle.draining.set()
    assert anyio.current_time() - before < 0.1
    assert lifecycle.waits == 0
    assert lifecycle.progress_calls > 0
    assert sum((await bus.committed(GROUP, [RAW])).values()) > 0
    assert await values(bus, OUT) == numbers(5)


async def test_commits_are_batched() -> None:
    bus = make_bus(faults := Faults())
    faults.script("committed", "delay", times=1_000)
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(route(), bus, lifecycle)
        for number in range(100):
            await bus.publish([RAW.record("a", b"%d" % number)])
            await anyio.sleep(0.05)
        await anyio.sleep(2)
        lifecycle.draining.set()
    assert await bus.committed(GROUP, [RAW]) == {
        tp: 100 for tp in RAW.topic_partitions if tp.partition == RAW.partition("a")
    }
    assert 4 <= len(faults.injected) <= 7


async def test_a_rebalance_commits_finished_offsets() -> None:
    bus = make_bus()
    seen: list[Record] = []

    def step(record: Record) -> list[ProducerRecord]:
        seen.append(record)
        return copy(record)

    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(route(step, commit_s=1_000, fetch_wait_s=1), bus, lifecycle)
            await publish(bus, 20)
            await anyio.sleep(5)
        lifecycle.draining.set()
    assert len(seen) == 40

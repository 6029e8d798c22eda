"""Faults are injected at their point; otherwise the bus behaves as without them."""

from contextlib import suppress
from random import Random
from typing import Any

import anyio
import pytest

from airy.bus import Topic
from airy.bus.memory import Faults, InjectedCrash, MemoryBus
from airy.errors import Unavailable
from tests.kit.bus import StepClock, read

TOPIC: Topic[Any] = Topic("facts", bytes, partitions=1, retention="kept")
(WHERE,) = TOPIC.topic_partitions


def make() -> tuple[MemoryBus, Faults]:
    faults = Faults()
    return MemoryBus([TOPIC], clock=StepClock(), faults=faults), faults


async def written(bus: MemoryBus) -> list[bytes | None]:
    async with bus.tail({WHERE: 0}) as tail:
        return [record.value for record in await tail.fetch(records_max=100, wait_s=0)]


async def test_unavailable_before_the_write() -> None:
    bus, faults = make()
    faults.script("publish", "unavailable", after=1)
    await bus.publish([TOPIC.record("a", b"1")])
    with pytest.raises(Unavailable):
        await bus.publish([TOPIC.record("a", b"2")])
    await bus.publish([TOPIC.record("a", b"3")])
    assert await written(bus) == [b"1", b"3"]


async def test_unavailable_after_the_write() -> None:
    bus, faults = make()
    faults.script("published", "unavailable")
    with pytest.raises(Unavailable):
        await bus.publish([TOPIC.record("a", b"1")])
    assert await written(bus) == [b"1"]


async def test_a_duplicated_batch() -> None:
    bus, faults = make()
    faults.script("publish", "duplicate")
    (position,) = await bus.publish([TOPIC.record("a", b"1")])
    assert await written(bus) == [b"1", b"1"]
    assert position.offset == 1


async def test_a_crash_is_not_an_airy_error() -> None:
    bus, faults = make()
    faults.script("publish", "crash")
    with pytest.raises(InjectedCrash):
        await bus.publish([TOPIC.record("a", b"1")])
    assert await written(bus) == []
    assert faults.injected == [("publish", "crash")]


async def test_a_delay_waits() -> None:
    bus, faults = make()
    faults.script("publish", "delay", delay_s=3.0)
    begin = anyio.current_time()
    await bus.publish([TOPIC.record("a", b"1")])
    assert anyio.current_time() - begin == pytest.approx(3.0)


async def test_a_commit_whose_reply_is_lost_is_committed() -> None:
    bus, faults = make()
    await bus.publish([TOPIC.record("a", b"1")])
    async with bus.subscribe([TOPIC], group="group") as member:
        await read(member, 1)
        faults.script("commit", "unavailable")
        with pytest.raises(Unavailable):
            await member.commit({WHERE: 1})
        assert await bus.committed("group", [TOPIC]) == {}
        faults.script("committed", "unavailable")
        with pytest.raises(Unavailable):
            await member.commit({WHERE: 1})
        assert await bus.committed("group", [TOPIC]) == {WHERE: 1}


async def test_an_injected_rebalance() -> None:
    bus, faults = make()
    await bus.publish([TOPIC.record("a", b"1")])
    async with bus.subscribe([TOPIC], group="group") as member:
        await read(member, 1)
        faults.script("fetch", "rebalance")
        await read(member, 1)  # from the committed offset again


async def test_the_same_seed_injects_the_same_faults() -> None:
    struck = []
    for _ in range(2):
        faults = Faults(Random(7), rates={("publish", "unavailable"): 0.3, ("published", "crash"): 0.3})
        bus = MemoryBus([TOPIC], clock=StepClock(), faults=faults)
        for _ in range(50):
            with suppress(Unavailable, InjectedCrash):
                await bus.publish([TOPIC.record("a", b"1")])
        faults.clear()
        await bus.publish([TOPIC.record("a", b"1")])
        struck.append(faults.injected)
    assert struck[0] == struck[1]
    assert {kind for _, kind in struck[0]} == {"unavailable", "crash"}


def test_rates_need_a_seed() -> None:
    with pytest.raises(ValueError, match="seeded"):
        Faults(rates={("publish", "crash"): 0.5})

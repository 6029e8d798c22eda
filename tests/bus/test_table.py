"""A table is the latest value of each key, and says when it has caught up."""

from typing import Any

import anyio
import pytest
from msgspec import Struct

from airy.bus import Emit, MemoryBus, Table, Topic, Truncated
from tests.kit.bus import StepClock
from tests.kit.pulse import LonePulse


class Tag(Struct, frozen=True):
    name: str


TAGS: Topic[Any] = Topic("tags", Tag, partitions=3, retention="compacted")
LINES: Topic[Any] = Topic("lines", bytes, partitions=1, retention="time", retention_ms=1_000)


async def test_it_is_ready_when_it_has_read_what_was_there() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    await bus.publish([TAGS.emit(f"{number % 7}", Tag(f"tag {number}")) for number in range(70)])
    table: Table[Tag] = Table(TAGS, records_max=10)
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.run, bus, pulse)
        await pulse.is_ready.wait()
        assert dict(table.items()) == {f"{number}": Tag(f"tag {63 + number}") for number in range(7)}
        assert (len(table), table.get("3"), table.get("nobody")) == (7, Tag("tag 66"), None)
        pulse.draining.set()


async def test_it_is_ready_at_once_when_nothing_is_there() -> None:
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Table(TAGS).run, MemoryBus([TAGS], clock=StepClock()), pulse)
        await pulse.is_ready.wait()
        assert anyio.current_time() < 1
        pulse.draining.set()


async def test_it_follows_and_tells_its_listener() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    heard: list[tuple[str, Tag | None]] = []
    table: Table[Tag] = Table(TAGS, listener=lambda key, value: heard.append((key, value)))
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.run, bus, pulse)
        for value in (Tag("one"), Tag("two"), None):
            await bus.publish([TAGS.emit("a", value)])
            await table.caught_up_to(await bus.ends([TAGS]))
            assert table.get("a") == value
        assert heard == [("a", Tag("one")), ("a", Tag("two")), ("a", None)]
        assert len(table) == 0
        pulse.draining.set()


async def test_catching_up_waits_for_the_run() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    await bus.publish([TAGS.emit("a", Tag("one"))])
    table: Table[Tag] = Table(TAGS)
    with anyio.move_on_after(5) as waited:
        await table.caught_up_to(await bus.ends([TAGS]))
    assert waited.cancelled_caught


async def test_what_nobody_can_read_leaves_the_last_that_could_be() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    where = TAGS.partition("a")
    await bus.publish([TAGS.emit("a", Tag("one")), Emit("tags", where, b"a", b"{"), TAGS.emit("b", Tag("b"))])
    table: Table[Tag] = Table(TAGS)
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.run, bus, pulse)
        await table.caught_up_to(await bus.ends([TAGS]))
        assert (table.get("a"), table.get("b")) == (Tag("one"), Tag("b"))
        assert "does not hold" in table.unreadable["a"]
        await bus.publish([TAGS.emit("a", Tag("two"))])
        await table.caught_up_to(await bus.ends([TAGS]))
        assert (table.get("a"), table.unreadable) == (Tag("two"), {})
        pulse.draining.set()


async def test_a_second_run_goes_on_where_the_first_stopped() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    heard: list[str] = []
    table: Table[Tag] = Table(TAGS, listener=lambda key, _: heard.append(key))
    for key in ("a", "b"):
        await bus.publish([TAGS.emit(key, Tag(key))])
        pulse = LonePulse()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(table.run, bus, pulse)
            await pulse.is_ready.wait()
            tasks.cancel_scope.cancel()
    assert heard == ["a", "b"]


async def test_after_a_truncation_it_starts_again_from_nothing() -> None:
    clock = StepClock()
    bus = MemoryBus([LINES], clock=clock)
    table: Table[bytes] = Table(LINES)
    await bus.publish([LINES.emit("old", b"1")])
    with anyio.move_on_after(1):
        await table.run(bus, LonePulse())
    assert table.get("old") == b"1"
    await bus.publish([LINES.emit("missed", b"2")])
    clock.ms += 1_001
    await bus.upkeep()
    with pytest.raises(Truncated):
        await table.run(bus, LonePulse())
    await bus.publish([LINES.emit("new", b"3")])
    with anyio.move_on_after(1):
        await table.run(bus, LonePulse())
    assert dict(table.items()) == {"new": b"3"}


async def test_draining_interrupts_the_wait() -> None:
    pulse = LonePulse()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Table(TAGS, idle_s=1_000).run, MemoryBus([TAGS], clock=StepClock()), pulse)
        await anyio.sleep(10)
        assert pulse.waits == 1
        pulse.draining.set()
    assert anyio.current_time() < 11

"""A table holds the latest value of each key, and is ready once it has caught up."""

from typing import Any

import anyio
import pytest
from msgspec import Struct

from airy.bus import OffsetOutOfRange, ProducerRecord, Table, Topic
from airy.bus.memory import MemoryBus
from tests.kit.bus import StepClock
from tests.kit.lifecycle import RecordingLifecycle


class Tag(Struct, frozen=True):
    name: str


TAGS: Topic[Any] = Topic("tags", Tag, partitions=3, retention="compacted")
LINES: Topic[Any] = Topic("lines", bytes, partitions=1, retention="time", retention_ms=1_000)


async def read_to_the_end(table: Table[Tag], bus: MemoryBus) -> None:
    ends = await bus.end_offsets([TAGS])
    while not table.has_applied(ends):
        await anyio.sleep(0.01)


async def test_a_table_is_ready_once_it_has_read_to_the_end() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    await bus.publish([TAGS.record(f"{number % 7}", Tag(f"tag {number}")) for number in range(70)])
    table: Table[Tag] = Table(TAGS, records_max=10)
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.run, bus, lifecycle)
        await lifecycle.is_ready.wait()
        assert dict(table.items()) == {f"{number}": Tag(f"tag {63 + number}") for number in range(7)}
        assert (len(table), table.get("3"), table.get("unknown")) == (7, Tag("tag 66"), None)
        lifecycle.draining.set()


async def test_a_table_of_an_empty_topic_is_ready_at_once() -> None:
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Table(TAGS).run, MemoryBus([TAGS], clock=StepClock()), lifecycle)
        await lifecycle.is_ready.wait()
        assert anyio.current_time() < 1
        lifecycle.draining.set()


async def test_a_table_follows_its_topic_and_calls_its_listener() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    heard: list[tuple[str, Tag | None]] = []
    table: Table[Tag] = Table(TAGS, listener=lambda key, value: heard.append((key, value)))
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.run, bus, lifecycle)
        for value in (Tag("one"), Tag("two"), None):
            await bus.publish([TAGS.record("a", value)])
            await read_to_the_end(table, bus)
            assert table.get("a") == value
        assert heard == [("a", Tag("one")), ("a", Tag("two")), ("a", None)]
        assert len(table) == 0
        lifecycle.draining.set()


async def test_an_undecodable_value_leaves_the_previous_one_in_place() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    tp = TAGS.partition("a")
    await bus.publish(
        [TAGS.record("a", Tag("one")), ProducerRecord("tags", tp, b"a", b"{"), TAGS.record("b", Tag("b"))]
    )
    table: Table[Tag] = Table(TAGS)
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(table.run, bus, lifecycle)
        await read_to_the_end(table, bus)
        assert (table.get("a"), table.get("b")) == (Tag("one"), Tag("b"))
        assert "does not decode" in table.undecodable["a"]
        await bus.publish([TAGS.record("a", Tag("two"))])
        await read_to_the_end(table, bus)
        assert (table.get("a"), table.undecodable) == (Tag("two"), {})
        lifecycle.draining.set()


async def test_a_second_run_continues_where_the_first_stopped() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    heard: list[str] = []
    table: Table[Tag] = Table(TAGS, listener=lambda key, _: heard.append(key))
    for key in ("a", "b"):
        await bus.publish([TAGS.record(key, Tag(key))])
        lifecycle = RecordingLifecycle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(table.run, bus, lifecycle)
            await lifecycle.is_ready.wait()
            tasks.cancel_scope.cancel()
    assert heard == ["a", "b"]


async def test_after_offset_out_of_range_a_table_starts_from_nothing() -> None:
    clock = StepClock()
    bus = MemoryBus([LINES], clock=clock)
    table: Table[bytes] = Table(LINES)
    await bus.publish([LINES.record("old", b"1")])
    with anyio.move_on_after(1):
        await table.run(bus, RecordingLifecycle())
    assert table.get("old") == b"1"
    await bus.publish([LINES.record("missed", b"2")])
    clock.ms += 1_001
    await bus.run_retention()
    with pytest.raises(OffsetOutOfRange):
        await table.run(bus, RecordingLifecycle())
    await bus.publish([LINES.record("new", b"3")])
    with anyio.move_on_after(1):
        await table.run(bus, RecordingLifecycle())
    assert dict(table.items()) == {"new": b"3"}


async def test_draining_interrupts_the_wait() -> None:
    lifecycle = RecordingLifecycle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Table(TAGS, fetch_wait_s=1_000).run, MemoryBus([TAGS], clock=StepClock()), lifecycle)
        await anyio.sleep(10)
        assert lifecycle.waits == 1
        lifecycle.draining.set()
    assert anyio.current_time() < 11

"""The in-process bus beyond the contract."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from airy.bus import ProducerRecord, Record, Topic
from airy.bus.memory import MemoryBus, MemoryLimits, RetentionSettings, log, open_journal
from airy.errors import Refused, Unavailable
from tests.kit.bus import StepClock, read, running
from tests.kit.disk import Disk

TOPIC: Topic[Any] = Topic("facts", bytes, partitions=3, retention="kept")
TAGS: Topic[Any] = Topic("tags", bytes, partitions=1, retention="compacted")
DAY_MS = 86_400_000


async def test_a_full_memory_refuses_publishes() -> None:
    bus = MemoryBus([TOPIC], clock=StepClock(), limits=MemoryLimits(memory_bytes_max=10_000))
    with pytest.raises(Unavailable, match="keep a journal"):
        for _ in range(10):
            await bus.publish([TOPIC.record("a", bytes(2_000))])
    async with bus.tail(await bus.beginning_offsets([TOPIC])) as tail:
        assert 4 <= len(await tail.fetch(records_max=100, wait_s=0)) <= 6


async def test_partitions_with_more_records_than_are_scanned_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SCAN_RECORDS_MAX", 4)
    bus = MemoryBus([TOPIC], clock=StepClock())
    await bus.publish([ProducerRecord(TOPIC.name, number % 2, b"", b"1") for number in range(6)])
    zero, one, two = TOPIC.topic_partitions

    assert await bus.partition_counts_from({zero: 2, one: 1, two: 0}) == {zero: 2, two: 0}
    assert await bus.partition_counts_from(await bus.end_offsets([TOPIC])) == {zero: 0, one: 0, two: 0}


async def test_compaction_frees_memory() -> None:
    bus = MemoryBus(
        [TAGS],
        clock=StepClock(),
        limits=MemoryLimits(memory_bytes_max=10_000),
        retention=RetentionSettings(compact_records_min=1),
    )
    for _ in range(4):
        for _ in range(4):
            await bus.publish([TAGS.record("a", bytes(2_000))])
        await bus.run_retention()


async def test_old_tombstones_are_removed_and_readers_pass_the_gap() -> None:
    clock = StepClock()
    bus = MemoryBus([TAGS], clock=clock, retention=RetentionSettings(tombstone_ms=DAY_MS, compact_records_min=1))
    await bus.publish([TAGS.record("a", b"1"), TAGS.record("b", b"2"), TAGS.record("a", None), TAGS.record("b", None)])
    await bus.run_retention()
    (tp,) = TAGS.topic_partitions
    async with bus.tail({tp: 0}) as tail:
        assert [record.value for record in await read(tail, 2)] == [None, None]
    clock.ms += DAY_MS + 1
    await bus.publish([TAGS.record("c", b"3")] * 2 + [TAGS.record("c", None, timestamp_ms=0)])
    await bus.run_retention()
    async with bus.tail({tp: 0}) as tail:
        assert await tail.fetch(records_max=10, wait_s=0) == []
        assert tail.position(tp) == (await bus.end_offsets([TAGS]))[tp] == 7


async def test_a_partition_that_lost_nothing_to_retention_is_read_from_its_start() -> None:
    clock = StepClock()
    topic: Topic[Any] = Topic("raw", bytes, partitions=2, retention="time", retention_ms=DAY_MS)
    old, new = topic.topic_partitions
    bus = MemoryBus([topic], clock=clock)
    await bus.publish([ProducerRecord("raw", old.partition, b"", b"old")] * 5)
    clock.ms += DAY_MS + 1
    await bus.publish([ProducerRecord("raw", new.partition, b"", b"new")])
    await bus.run_retention()
    assert await bus.beginning_offsets([topic]) == {old: 5, new: 0}
    async with bus.tail(await bus.beginning_offsets([topic])) as tail:
        assert [record.value for record in await read(tail, 1)] == [b"new"]


async def test_a_full_disk_does_not_end_the_retention_loop(tmp_path: Path) -> None:
    disk = Disk("full-retention")
    clock = StepClock()
    topic: Topic[Any] = Topic("raw", bytes, partitions=1, retention="time", retention_ms=DAY_MS)
    with open_journal(tmp_path / "journal", inline=True, vfs=disk.name) as journal:
        async with running(
            MemoryBus([topic], clock=clock, journal=journal, retention=RetentionSettings(interval_s=60))
        ) as bus:
            await bus.publish([topic.record("a", b"1")])
            clock.ms += DAY_MS + 1
            disk.full = True
            await anyio.sleep(90)
            disk.full = False
            await anyio.sleep(60)
            assert await bus.beginning_offsets([topic]) == await bus.end_offsets([topic])
    disk.unregister()


async def test_retention_runs_at_its_interval() -> None:
    clock = StepClock()
    topic: Topic[Any] = Topic("raw", bytes, partitions=1, retention="time", retention_ms=DAY_MS)
    async with running(MemoryBus([topic], clock=clock, retention=RetentionSettings(interval_s=60))) as bus:
        await bus.publish([topic.record("a", b"1")])
        clock.ms += DAY_MS + 1
        await anyio.sleep(61)
        assert (await bus.beginning_offsets([topic]))[topic.topic_partitions[0]] == 1


async def test_offsets_within_a_partition_have_gaps() -> None:
    bus = MemoryBus([TOPIC], clock=StepClock())
    positions = await bus.publish([TOPIC.record(str(number), b"") for number in range(30)])
    assert [position.offset for position in positions] == list(range(30))
    assert len({position.partition for position in positions}) > 1


async def test_lazy_positions_behave_as_a_sequence() -> None:
    bus = MemoryBus([TOPIC, TAGS], clock=StepClock())
    records = [TAGS.record("a", b"1"), TOPIC.record("a", b"2"), TOPIC.record("b", b"3"), TAGS.record("b", b"4")]
    positions = await bus.publish(records)
    assert len(positions) == 4
    assert list(positions) == [
        ("tags", 0, 0),
        ("facts", TOPIC.partition("a"), 0),
        ("facts", TOPIC.partition("b"), 1),
        ("tags", 0, 1),
    ]
    assert positions[-1] == ("tags", 0, 1)
    assert positions[1:3] == list(positions)[1:3]
    assert positions[0].topic_partition == TAGS.topic_partitions[0]


async def test_concurrent_fetches_raise() -> None:
    bus = MemoryBus([TOPIC], clock=StepClock())
    async with bus.tail(await bus.beginning_offsets([TOPIC])) as tail, anyio.create_task_group() as tasks:

        async def fetch() -> None:
            await tail.fetch(records_max=1, wait_s=10)

        tasks.start_soon(fetch)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await tail.fetch(records_max=1, wait_s=10)
        tasks.cancel_scope.cancel()


async def test_a_commit_beyond_the_end_is_refused() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    (tp,) = TAGS.topic_partitions
    async with bus.subscribe([TAGS], group="group") as member:
        await bus.publish([TAGS.record("a", b"1")])
        await read(member, 1)
        with pytest.raises(Refused, match="has no offset 2"):
            await member.commit({tp: 2})


async def test_a_fetch_of_an_ended_subscription_raises() -> None:
    bus = MemoryBus([TAGS], clock=StepClock())
    async with bus.subscribe([TAGS], group="group") as member:
        pass
    with pytest.raises(RuntimeError, match="subscribe again"):
        await member.fetch(records_max=1, wait_s=0)


async def test_a_partition_that_is_not_read_has_no_position() -> None:
    bus = MemoryBus([TOPIC, TAGS], clock=StepClock())
    async with bus.tail({TOPIC.topic_partitions[0]: 0}) as tail:
        for call in (lambda: tail.position(TAGS.topic_partitions[0]), lambda: tail.seek(TOPIC.topic_partitions[1], 0)):
            with pytest.raises(LookupError):
                call()


@pytest.mark.parametrize("work", ["publish", "fetch", "fetch nothing"])
async def test_calls_that_never_wait_let_other_tasks_run(work: str) -> None:
    bus = MemoryBus([TOPIC], clock=StepClock())
    steps = []

    async def count() -> None:
        while True:
            steps.append(1)
            await anyio.lowlevel.checkpoint()

    async with bus.tail(await bus.beginning_offsets([TOPIC])) as tail, anyio.create_task_group() as tasks:
        await bus.publish([TOPIC.record("a", b"")] * (0 if work == "fetch nothing" else 100))
        tasks.start_soon(count)
        for _ in range(100):
            if work == "publish":
                await bus.publish([TOPIC.record("a", b"")])
            else:
                await tail.fetch(records_max=1, wait_s=0)
        tasks.cancel_scope.cancel()
    assert len(steps) > 50


async def test_a_seek_during_a_journal_read_wins(tmp_path: Path) -> None:
    with open_journal(tmp_path / "journal", inline=True) as journal:
        bus = MemoryBus([TAGS], clock=StepClock(), journal=journal, limits=MemoryLimits(memory_bytes_max=1))
        async with running(bus):
            (tp,) = TAGS.topic_partitions
            await bus.publish([TAGS.record("a", b"%d" % number) for number in range(10)])
        async with bus.tail({tp: 0}) as tail:
            cold = tail._read_journal

            async def sought_meanwhile(*asked: Any) -> Any:
                found = await cold(*asked)
                tail._read_journal = cold
                tail.seek(tp, 7)
                return found

            tail._read_journal = sought_meanwhile
            assert [record.offset for record in await read(tail, 3)] == [7, 8, 9]


async def test_waiting_readers_do_not_poll() -> None:
    """A reader of a topic without new records wakes only at its time-out."""
    bus = MemoryBus([TOPIC, TAGS], clock=StepClock())
    async with bus.tail(await bus.beginning_offsets([TAGS])) as tail:
        asked = []
        behind = tail._behind
        tail._behind = lambda: asked.append(1) or behind()
        async with anyio.create_task_group() as tasks:

            async def fetch() -> list[Record]:
                return await tail.fetch(records_max=1, wait_s=100)

            tasks.start_soon(fetch)
            for _ in range(50):
                await bus.publish([TOPIC.record("a", b"")])
                await anyio.sleep(1)
        assert len(asked) <= 2


async def test_a_crashed_loop_can_run_again_on_the_same_bus() -> None:
    bus = MemoryBus([TOPIC], clock=StepClock())
    await bus.publish([TOPIC.record("a", b"1")])
    for _ in range(2):
        async with running(bus), bus.subscribe([TOPIC], group="group") as member:
            await read(member, 1)

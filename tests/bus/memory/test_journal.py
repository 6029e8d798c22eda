"""The journal loses no acknowledged record: killed, after a power cut, with a failing or full disk."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from airy.bus import ProducerRecord, Topic
from airy.bus.memory import JournalFailed, MemoryBus, MemoryLimits, RetentionSettings, open_journal
from airy.bus.memory.journal import VERSION
from airy.bus.memory.log import memory_bytes
from airy.clock import SystemClock
from airy.errors import Refused, Unavailable
from airy.file_lock import InUse
from airy.task_group import task_group
from tests.kit.bus import READ_S, StepClock, read, running
from tests.kit.disk import Disk
from tests.kit.journal_writer import TOPIC
from tests.kit.lifecycle import RecordingLifecycle

TAGS: Topic[Any] = Topic("tags", bytes, partitions=2, retention="compacted")
RAW: Topic[Any] = Topic("raw", bytes, partitions=2, retention="time", retention_ms=1_000)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data" / "journal"


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    disk = Disk(f"disk-{request.node.name}")
    yield disk
    disk.unregister()


async def everything(bus: MemoryBus, topic: Topic[Any]) -> dict[tuple[int, int], bytes | None]:
    starts, ends = await bus.beginning_offsets([topic]), await bus.end_offsets([topic])
    found = {}
    async with bus.tail(starts) as tail:
        while any(tail.position(tp) < end for tp, end in ends.items()):
            for record in await tail.fetch(records_max=500, wait_s=0):
                found[record.partition, record.offset] = record.value
    return found


def as_after_a_crash(directory: Path) -> Path:
    """A copy of the files as they are now, before an orderly close."""
    copy = directory.with_name("crashed")
    copy.mkdir()
    for name in ("journal.db", "journal.db-wal"):
        (copy / name).write_bytes((directory / name).read_bytes())
    return copy


# --- kills


def killed(directory: Path, cycle: int, lines: int) -> dict[tuple[int, int], bytes]:
    """The records a process reported as published before it was killed."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.kit.journal_writer", str(directory), str(cycle)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    with child.stdout as output:
        said = [output.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        said += output.readlines()
    child.wait()
    fields = [line.split() for line in said]
    return {(int(partition), int(offset)): value for partition, offset, value in fields}


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_killed_process_loses_no_acknowledged_record(directory: Path) -> None:
    acknowledged: dict[tuple[int, int], bytes] = {}
    for cycle in range(3):
        acknowledged |= killed(directory, cycle, lines=200 + 77 * cycle)
        with open_journal(directory) as journal:
            found = await everything(MemoryBus([TOPIC], clock=SystemClock(), journal=journal), TOPIC)
        assert acknowledged.items() <= found.items()
        assert len(set(found.values())) == len(found)  # no duplicates
    assert len(acknowledged) > 600


# --- power cuts


async def cut_off(directory: Path, disk: Disk, seed: int, *, synchronous: str = "FULL") -> int:
    """The number of acknowledged records lost by a power cut at a random write or sync."""
    chance = Random(seed)
    acknowledged: dict[tuple[int, int], bytes | None] = {}
    found_after: list[Path] = []
    before: dict[tuple[int, int], bytes | None] = {}

    def cut() -> None:
        found_after.append(directory.with_name(f"after-{seed}"))
        disk.power_loss(chance, found_after[0])
        before.update(acknowledged)

    async def publish(bus: MemoryBus, name: int) -> None:
        for number in range(6):
            records = [RAW.record(f"{name}", bytes([name, number, n]) * chance.randrange(1, 900)) for n in range(3)]
            for position, sent in zip(await bus.publish(records), records, strict=True):
                acknowledged[position.partition, position.offset] = sent.value
            await anyio.sleep(chance.random())

    with open_journal(directory, inline=True, vfs=disk.name) as journal:
        journal._writer.pragma("synchronous", synchronous)
        disk.cut_at(disk.steps + chance.randrange(180), cut)
        bus = MemoryBus([RAW], clock=StepClock(), journal=journal)
        async with running(bus), anyio.create_task_group() as tasks:
            for name in range(4):
                tasks.start_soon(publish, bus, name)
    if not found_after:
        cut()
    with open_journal(found_after[0], inline=True) as journal:
        found = await everything(MemoryBus([RAW], clock=StepClock(), journal=journal), RAW)
    assert all(acknowledged.get(tp, value) == value for tp, value in found.items())
    return len(before.items() - found.items())


@pytest.mark.parametrize("number", range(12))
async def test_a_power_cut_at_any_write_loses_no_acknowledged_record(
    directory: Path, disk: Disk, seed: int, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airy.bus.memory.committer.WAL_PAGES_MAX", 12)  # checkpoints all the time
    assert await cut_off(directory, disk, seed + number) == 0


async def test_a_missing_sync_is_detected_by_the_power_cut(directory: Path, disk: Disk, seed: int) -> None:
    for number in range(12):
        if await cut_off(directory / str(number), disk, seed + number, synchronous="NORMAL"):
            return
    pytest.fail("twelve power cuts without a sync lost nothing: the simulated disk is too kind")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_torn_write_ahead_log_loses_only_the_torn_part(directory: Path, tmp_path: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
            for number in range(20):
                await bus.publish([RAW.record("a", b"%d" % number)])
        database = (directory / "journal.db").read_bytes()
        log = (directory / "journal.db-wal").read_bytes()
    sizes = []
    for torn in (0, 1, 17, 4_096, 5_000, 20_000, len(log) - 1):
        copy = tmp_path / f"torn-{torn}"
        copy.mkdir()
        (copy / "journal.db").write_bytes(database)
        (copy / "journal.db-wal").write_bytes(log[: len(log) - torn])
        with open_journal(copy, inline=True) as journal:
            async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
                found = await everything(bus, RAW)
                assert list(found.values()) == [b"%d" % number for number in range(len(found))]
                await bus.publish([RAW.record("a", b"goes on")])
        sizes.append(len(found))
    assert sizes[0] == 20
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0


# --- a failing or full disk


async def test_a_disk_error_is_final(directory: Path, disk: Disk) -> None:
    journal = open_journal(directory, inline=True, vfs=disk.name)
    bus = MemoryBus([RAW], clock=StepClock(), journal=journal)
    with pytest.raises(JournalFailed, match=r"journal\.db: "):
        async with task_group() as tasks:
            tasks.start_soon(bus.run, RecordingLifecycle())
            await bus.publish([RAW.record("a", b"1")])
            disk.failing_syncs = True
            with pytest.raises(Unavailable, match="may or may not"):
                await bus.publish([RAW.record("a", b"2")])
    disk.failing_syncs = False
    with pytest.raises(Unavailable, match="failed"):
        await bus.publish([RAW.record("a", b"3")])
    with pytest.raises(JournalFailed, match="end the process"):
        journal.save()
    journal.close()
    with open_journal(directory, inline=True, vfs=disk.name) as journal:
        found = await everything(MemoryBus([RAW], clock=StepClock(), journal=journal), RAW)
    assert b"1" in found.values()
    assert b"3" not in found.values()


async def test_a_full_disk_refuses_publishes_until_there_is_space(directory: Path, disk: Disk) -> None:
    with open_journal(directory, inline=True, vfs=disk.name) as journal:
        async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
            await bus.publish([RAW.record("a", b"1")])
            disk.full = True
            with pytest.raises(Unavailable, match="full"):
                await bus.publish([RAW.record("a", b"2")])
            disk.full = False
            await bus.publish([RAW.record("a", b"3")])
            assert list((await everything(bus, RAW)).values()) == [b"1", b"3"]


async def test_undecodable_rows_fail_the_journal(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
            await bus.publish([RAW.record("a", b"1")])
        journal._writer.execute("UPDATE \"1 raw\" SET records = x'ff00'")
        with pytest.raises(JournalFailed, match="damaged"):
            journal.read("raw", {0: 0, 1: 0}, 10, 1_000)


# --- opening


def test_one_process_at_a_time(directory: Path) -> None:
    with open_journal(directory), pytest.raises(InUse, match=f"in use by process {os.getpid()}: stop it"):
        open_journal(directory)
    open_journal(directory).close()


def test_only_the_owner_can_read_the_files(directory: Path) -> None:
    with open_journal(directory):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert set(modes.values()) == {0o600}
        assert {"journal.db", "journal.db-wal", "journal.lock"} <= modes.keys()


def test_a_journal_of_a_later_airy_is_left_alone(directory: Path) -> None:
    with open_journal(directory) as journal:
        journal._writer.pragma("user_version", VERSION + 1)
    with pytest.raises(Refused, match=f"version {VERSION + 1}, this Airy reads {VERSION}"):
        open_journal(directory)


def test_another_applications_database_is_left_alone(directory: Path) -> None:
    with open_journal(directory) as journal:
        journal._writer.pragma("application_id", 7)
    with pytest.raises(Refused, match="not an Airy journal"):
        open_journal(directory)


async def test_partition_counts_are_frozen(directory: Path) -> None:
    with open_journal(directory) as journal:
        journal.declare([RAW])
    with open_journal(directory) as journal, pytest.raises(Refused, match="raw has 2 partitions"):
        journal.declare([Topic("raw", bytes, partitions=3, retention="time")])


async def test_a_reopened_journal_has_everything(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([RAW, TAGS], clock=StepClock(), journal=journal)) as bus:
            positions = await bus.publish([RAW.record(str(number), b"%d" % number) for number in range(50)])
            async with bus.subscribe([RAW], group="readers") as member:
                await read(member, 50)
                await member.commit({tp: member.position(tp) for tp in RAW.topic_partitions})
            ends, committed = await bus.end_offsets([RAW, TAGS]), await bus.committed("readers", [RAW])
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([TAGS, RAW], clock=StepClock(), journal=journal)) as bus:
            assert await bus.end_offsets([RAW, TAGS]) == ends
            assert await bus.committed("readers", [RAW]) == committed == {tp: ends[tp] for tp in RAW.topic_partitions}
            assert (await everything(bus, RAW)).keys() == {(p.partition, p.offset) for p in positions}
            (position,) = await bus.publish([RAW.record("a", b"next")])
            assert position.offset >= max(ends[tp] for tp in RAW.topic_partitions)


async def test_opening_reads_only_the_end(directory: Path, disk: Disk) -> None:
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
            for _ in range(40):
                await bus.publish([RAW.record(str(number), bytes(1_000)) for number in range(100)])
    with open_journal(directory, inline=True, vfs=disk.name) as journal:
        MemoryBus([RAW], clock=StepClock(), journal=journal)
        assert disk.reads < 60  # of about a thousand pages


# --- committing


async def test_waiting_publishes_share_a_sync(directory: Path, disk: Disk) -> None:
    with open_journal(directory, inline=True, vfs=disk.name) as journal:
        async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
            await bus.publish([RAW.record("a", b"0")])
            before = disk.syncs("-wal")
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(bus.publish, [RAW.record(str(number), b"1")])
            assert 1 <= disk.syncs("-wal") - before <= 3


async def test_records_are_in_the_order_of_the_calls(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus([TOPIC], clock=StepClock(), journal=journal, limits=MemoryLimits(publish_records_max=4))
        called: list[bytes] = []

        async def publish(number: int) -> None:
            called.append(b"%d" % number)
            await bus.publish([TOPIC.record("a", b"%d" % number)])

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(publish, number)
            await anyio.sleep(1)
            async with running(bus):
                await anyio.sleep(1)
        assert list((await everything(bus, TOPIC)).values()) == called


@pytest.mark.parametrize("records", [[RAW.record("a", b"1")] * 2, [RAW.record("a", bytes(400))] * 2])
async def test_publishes_in_flight_are_bounded(directory: Path, records: list[ProducerRecord]) -> None:
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus(
            [RAW],
            clock=StepClock(),
            journal=journal,
            limits=MemoryLimits(publish_records_max=4, publish_bytes_max=1_000),
        )
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(bus.publish, records)
            await anyio.sleep(1)
            assert len(bus._storage._committer._queue) in (1, 2)
            async with running(bus):
                await anyio.sleep(1)
        assert len(await everything(bus, RAW)) == 20


async def test_a_cancelled_publish_releases_its_capacity(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus([RAW], clock=StepClock(), journal=journal, limits=MemoryLimits(publish_records_max=1))
        for _ in range(5):
            with anyio.move_on_after(1):
                await bus.publish([RAW.record("a", b"cancelled")])
        async with running(bus):
            await bus.publish([RAW.record("a", b"1")])
            assert list((await everything(bus, RAW)).values()) == [b"cancelled", b"1"]


async def test_a_drained_bus_has_written_its_queue_and_refuses_publishes(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airy.bus.memory.committer.GROUP_BYTES_MAX", 1)  # a transaction for each
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus([RAW], clock=StepClock(), journal=journal)
        lifecycle = RecordingLifecycle()
        lifecycle.draining.set()
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(bus.publish, [RAW.record(str(number), b"1")])
            await anyio.sleep(1)
            await bus.run(lifecycle)
        assert len(await everything(bus, RAW)) == 5
        with pytest.raises(Unavailable, match="drained"):
            await bus.publish([RAW.record("a", b"late")])


async def test_a_cancelled_run_can_be_run_again(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus([RAW], clock=StepClock(), journal=journal)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run, RecordingLifecycle())
            await bus.publish([RAW.record("a", b"1")])
            tasks.cancel_scope.cancel()
        async with running(bus):
            await bus.publish([RAW.record("a", b"2")])
            assert list((await everything(bus, RAW)).values()) == [b"1", b"2"]


# --- memory, retention and compaction


async def test_memory_is_bounded_and_holds_the_newest_records(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        async with running(
            MemoryBus([RAW], clock=StepClock(), journal=journal, limits=MemoryLimits(memory_bytes_max=100_000))
        ) as bus:
            for _ in range(50):
                await bus.publish([RAW.record(str(number), bytes(1_000)) for number in range(20)])
                in_memory = sum(memory_bytes(log.records) for log in bus._logs.values())
                assert in_memory == bus._storage._cache.bytes_held <= 100_000
            assert in_memory > 50_000
            assert len(await everything(bus, RAW)) == 1_000


@pytest.mark.usefixtures("real_time")
async def test_the_write_ahead_log_is_reused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeatedly, while records are written: how many meanwhile depends on the machine."""
    monkeypatch.setattr("airy.bus.memory.committer.WAL_PAGES_MAX", full := 50)
    most = [0] * 4  # pages in the log, per round
    with open_journal(directory) as journal:
        async with running(MemoryBus([RAW], clock=StepClock(), journal=journal)) as bus:
            with anyio.fail_after(READ_S):
                for nth in range(len(most)):
                    while journal.wal_pages < full:
                        await bus.publish([RAW.record(str(number), bytes(4_000)) for number in range(10)])
                    while journal.wal_pages >= full:
                        most[nth] = journal.wal_pages
                        await bus.publish([RAW.record("a", b"a little")])
                        await anyio.sleep(0.01)
        assert (directory / "journal.db-wal").stat().st_size < sum(most) * 4_096  # its pages were overwritten


async def test_expired_records_stay_gone_and_offsets_continue(directory: Path) -> None:
    clock = StepClock()
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([RAW], clock=clock, journal=journal)) as bus:
            await bus.publish([RAW.record(str(number), b"old") for number in range(30)])
            ends = await bus.end_offsets([RAW])
            clock.ms += 1_001
            await bus.run_retention()
            assert await bus.beginning_offsets([RAW]) == ends
        directory = as_after_a_crash(directory)
    with open_journal(directory, inline=True) as journal:
        async with running(MemoryBus([RAW], clock=clock, journal=journal)) as bus:
            assert await bus.beginning_offsets([RAW]) == await bus.end_offsets([RAW]) == ends
            (position,) = await bus.publish([RAW.record("a", b"new")])
            assert position.offset >= max(ends.values())


async def test_retention_on_disk_removes_only_old_records(directory: Path) -> None:
    clock = StepClock()
    with open_journal(directory, inline=True) as journal:
        async with running(
            MemoryBus([RAW], clock=clock, journal=journal, limits=MemoryLimits(memory_bytes_max=1))
        ) as bus:
            for number in range(20):
                await bus.publish([RAW.record(str(number), b"%d" % number)])
                clock.ms += 100
            await bus.run_retention()
            assert list((await everything(bus, RAW)).values()) == [b"%d" % number for number in range(10, 20)]


@pytest.mark.parametrize("keys_max", [100_000, 7])
async def test_compaction_on_disk_keeps_the_latest_in_any_number_of_slices(
    directory: Path, keys_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airy.bus.memory.compaction.KEYS_MAX", keys_max)
    clock = StepClock()
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus(
            [TAGS],
            clock=clock,
            journal=journal,
            limits=MemoryLimits(memory_bytes_max=1),
            retention=RetentionSettings(compact_records_min=10),
        )
        async with running(bus):
            for number in range(60):
                await bus.publish([TAGS.record(f"{number % 13}", b"%d" % number), TAGS.record(f"{number}-once", b"")])
            await bus.publish([TAGS.record("0", None), TAGS.record("1", None)])
            await bus.run_retention()
            found = await everything(bus, TAGS)
            assert len(found) == 11 + 60 + 2  # tombstones stay a while, for slow readers
            assert {value for value in found.values() if value} == {b"%d" % n for n in range(47, 60) if n % 13 > 1}
            clock.ms += 31 * 86_400_000
            await bus.publish([TAGS.record("2", b"latest")] * 100)
            await bus.run_retention()
            assert sorted(value for value in (await everything(bus, TAGS)).values() if value) == sorted(
                [b"%d" % n for n in range(47, 60) if n % 13 > 2] + [b"latest"]
            )
            assert journal.compaction_state("tags").kept == 11 + 60
            await bus.publish([TAGS.record("2", None, timestamp_ms=0)] * 200)
            await bus.run_retention()
            ends = await bus.end_offsets([TAGS])
        directory = as_after_a_crash(directory)
    with open_journal(directory, inline=True) as journal:
        assert await MemoryBus([TAGS], clock=clock, journal=journal).end_offsets([TAGS]) == ends


def test_an_empty_topic_is_read_to_its_end(directory: Path) -> None:
    with open_journal(directory, inline=True) as journal:
        journal.declare([RAW])
        assert journal.read("raw", {0: 0}, 10, 10) == ([], 0, 0)

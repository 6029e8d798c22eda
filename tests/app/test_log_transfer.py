"""A log moves to another backend and back: every record, in order, once; the same bytes, the same fold, no delivery
twice. The real cluster's turn is in `tests/cluster/test_log_transfer.py`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from airy import topics
from airy.app.log_transfer.exporter import ORDER, export_log
from airy.app.log_transfer.fold_digest import fold_archive, fold_log
from airy.app.log_transfer.group_offsets import GROUPS, commit
from airy.app.log_transfer.ordinals import Offsets, Ordinals, subscription_starts, with_converted_starts
from airy.bus.log_archive import ArchiveDamaged
from airy.bus.memory import Faults, MemoryBus, RetentionSettings, open_journal
from airy.bus.record import TopicPartition
from airy.bus.record_schema import PartitionHeld
from airy.bus.topic import Topic
from airy.clock import LoopClock
from airy.errors import Refused, Unavailable
from tests.kit.builders import Chat, webhook
from tests.kit.bus import running
from tests.kit.log_transfer import everything, exported, fill, folded, imported, records_of


def memory(faults: Faults | None = None) -> MemoryBus:
    return MemoryBus(topics.ALL, clock=LoopClock(), faults=faults)


@asynccontextmanager
async def on_disk(directory: Path) -> AsyncIterator[MemoryBus]:
    with open_journal(directory, inline=True) as journal:
        bus = MemoryBus(
            topics.ALL,
            clock=LoopClock(),
            journal=journal,
            retention=RetentionSettings(interval_s=1e6, compact_records_min=1),
        )
        async with running(bus):
            yield bus


# --- round trips


@pytest.mark.slow
async def test_a_round_trip_keeps_the_bytes_and_the_fold(tmp_path: Path) -> None:
    async with on_disk(tmp_path / "first") as first, running(memory()) as between:
        await fill(first)
        archive, told = await exported(first)
        await imported(between, archive)
        again, _ = await exported(between)
        assert again == archive
        assert await everything(between) == await everything(first)
        async with on_disk(tmp_path / "last") as last:
            await imported(last, again)
            assert (await exported(last))[0] == archive
            folds = [await folded(bus) for bus in (first, between, last)]
            assert folds == [await fold_archive(BytesIO(archive))] * 3
            assert folds[0].changes > 100
            assert told.records == sum(map(len, await everything(last)))


async def test_offsets_differ_between_the_logs_of_these_tests(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as one, running(memory()) as other:
        await fill(one)
        await imported(other, (await exported(one))[0])
        assert await one.end_offsets(ORDER) != await other.end_offsets(ORDER)


@pytest.mark.slow
async def test_a_compacted_log_is_exported_unchanged(tmp_path: Path) -> None:
    async with on_disk(tmp_path / "first") as first:
        await fill(first)
        records = sum(map(len, await everything(first)))
        before = await folded(first)
        await first.run_retention()
    async with on_disk(tmp_path / "first") as first, running(memory()) as between:
        assert sum(map(len, await everything(first))) < records
        archive, _ = await exported(first)
        await imported(between, archive)
        assert (await exported(between))[0] == archive
        after = await folded(between)
        assert after == await folded(first)
        assert (after.conversations, after.messages) == (before.conversations, before.messages)


async def test_an_empty_log_is_exported() -> None:
    async with running(memory()) as one, running(memory()) as other:
        archive, told = await exported(one)
        await imported(other, archive)
        assert (await exported(other))[0] == archive
        assert (told.records, told.group_ordinals) == (0, 0)


async def test_what_processes_say_is_not_exported_and_does_not_count_as_content(tmp_path: Path) -> None:
    """Heartbeats and log lines alone leave a cluster empty for an import."""
    said = [topics.COMPONENTS.record("one:8080", None), topics.PROCESS_LOGS.record("one:8080", None)]
    async with on_disk(tmp_path) as one, running(memory()) as other:
        await fill(one)
        archive, _ = await exported(one)
        for bus in (one, other):
            await bus.publish(said)
        assert (await exported(one))[0] == archive
        await imported(other, archive)
        assert (await exported(other))[0] == archive


async def test_a_heartbeat_during_an_export_is_a_write() -> None:
    async with running(memory()) as bus:
        await bus.publish([topics.TAGS.record("a", None)])

        async def write(_: bytes) -> None:
            await bus.publish([topics.COMPONENTS.record("one:8080", None)])

        with pytest.raises(Refused, match="stop every process"):
            await export_log(bus, write)


@pytest.mark.slow
async def test_groups_resume_at_the_same_records(tmp_path: Path) -> None:
    """The uncommitted records of each group are the same before and after."""
    async with on_disk(tmp_path) as one, running(memory()) as other:
        await fill(one)
        await imported(other, (await exported(one))[0])
        for group in GROUPS:
            rest = [await _rest(bus, group) for bus in (one, other)]
            assert rest[0] == rest[1]
        assert any(await other.committed(GROUPS[0], topics.CHANGE_TOPICS))


async def _rest(bus: MemoryBus, group: str) -> dict[TopicPartition, list[bytes | None]]:
    committed = await bus.committed(group, topics.CHANGE_TOPICS)
    return {
        tp: [record.value for record in await records_of(bus, *tp) if record.offset >= offset]
        for tp, offset in committed.items()
    }


async def test_subscriptions_start_at_the_same_records(tmp_path: Path) -> None:
    async with on_disk(tmp_path) as one, running(memory()) as other:
        await fill(one)
        await imported(other, (await exported(one))[0])
        begins = [await _begins(bus) for bus in (one, other)]
        assert begins[0] == begins[1]
        assert sum(map(len, begins[0])) > 0


async def _begins(bus: MemoryBus) -> list[list[bytes | None]]:
    """The first record of each subscription, by partition."""
    found = []
    for tp in topics.WEBHOOKS.topic_partitions:
        for record in await records_of(bus, *tp):
            first = []
            for place, offset in subscription_starts(record.value):
                later = [other.value for other in await records_of(bus, *place) if other.offset >= offset]
                first += later[:1]
            found.append(first)
    return found


async def test_an_export_of_a_changing_log_is_refused() -> None:
    async with running(memory()) as bus:
        await fill(bus, facts=20)
        written: list[bytes] = []

        async def write(data: bytes) -> None:
            if not written:
                fact = Chat().received("meanwhile")
                await bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])
            written.append(data)

        with pytest.raises(Refused, match="written to while it was exported: stop every process"):
            await export_log(bus, write)
        async with running(memory()) as other:
            with pytest.raises(ArchiveDamaged, match="truncated"):
                await imported(other, b"".join(written))


# --- refused imports


async def test_an_import_into_a_log_with_records_is_refused() -> None:
    async with running(memory()) as one, running(memory()) as other:
        await fill(one, facts=20)
        archive, _ = await exported(one)
        fact = Chat(5).received("mine")
        await other.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        before = await everything(other)
        with pytest.raises(Refused, match="the log is not empty"):
            await imported(other, archive)
        with pytest.raises(Refused, match="differs from the archive from record 0 on"):
            await imported(other, archive, resume=True)
        assert await everything(other) == before


async def test_a_damaged_archive_is_refused_before_any_write() -> None:
    async with running(memory()) as one, running(memory()) as other:
        await fill(one, facts=50)
        archive, _ = await exported(one)
        for broken in (archive[:-1], archive[: len(archive) // 2], archive.replace(b"message 1", b"message 2", 1)):
            with pytest.raises(ArchiveDamaged):
                await imported(other, broken)
        assert not any(await everything(other))


async def test_an_archive_with_other_topics_is_refused() -> None:
    async with running(memory()) as one, running(memory()) as other:
        archive, _ = await exported(one)
        wider = archive.replace(b'communication.events","partitions":16', b'communication.events","partitions":8')
        with pytest.raises(Refused, match="events has 8 partitions in the archive and 16 here"):
            await imported(other, wider)
        with pytest.raises(Refused, match="eventz' this version does not know"):
            await imported(other, archive.replace(b"communication.events", b"communication.eventz", 1))


async def test_a_record_written_by_another_process_is_detected() -> None:
    async with running(memory()) as one, running(memory()) as other:
        await fill(one, facts=20)
        archive, _ = await exported(one)
        published = other.publish

        async def publish(records: object) -> object:
            other.publish = published  # type: ignore[method-assign]
            await published([topics.TEMPLATES.record("mine", None)])
            return await published(records)  # type: ignore[arg-type]

        other.publish = publish  # type: ignore[assignment, method-assign]
        with pytest.raises(Refused, match="another process wrote to it"):
            await imported(other, archive)


async def test_a_group_with_members_is_refused() -> None:
    async with running(memory()) as bus, bus.subscribe([topics.EVENTS], group="busy") as member:
        fact = Chat().received("a")
        (position,) = await bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        await member.fetch(records_max=0, wait_s=0)
        with pytest.raises(Unavailable, match="'busy' has other members: stop every process"):
            await commit(bus, "busy", {position.topic_partition: position.offset + 1}, join_s=1.0)


async def test_joining_a_group_is_retried_after_a_transient_failure() -> None:
    faults = Faults()
    async with running(memory(faults)) as bus:
        fact = Chat().received("a")
        (position,) = await bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        done = {position.topic_partition: position.offset + 1}
        faults.script("fetch", "unavailable", times=3)
        await commit(bus, "group", done)
        assert await bus.committed("group", topics.CHANGE_TOPICS) == done
        faults.script("fetch", "unavailable", times=1_000)
        with pytest.raises(Unavailable, match="the log cannot serve"):
            await commit(bus, "other", done, join_s=30.0)


# --- interruptions


@pytest.mark.slow
@pytest.mark.parametrize("point", ["publish", "published"])
async def test_an_import_interrupted_at_any_publish_can_be_resumed(point: str) -> None:
    async with running(memory()) as one:
        await fill(one, facts=12)
        archive, _ = await exported(one)
        fails = 0
        while True:
            faults = Faults()
            faults.script(point, "unavailable", after=fails)  # type: ignore[arg-type]
            async with running(memory(faults)) as other:
                try:
                    await imported(other, archive)
                except Unavailable as error:
                    assert "run it again with --resume" in str(error)
                else:
                    break
                await imported(other, archive, resume=True)
                assert (await exported(other))[0] == archive
            fails += 7  # of about 170 publishes, some per topic: every topic is met
        assert fails > 150


@pytest.mark.parametrize("point", ["commit", "committed"])
async def test_resume_commits_the_missing_positions(point: str) -> None:
    async with running(memory()) as one:
        await fill(one, facts=60)
        archive, told = await exported(one)
        faults = Faults()
        faults.script(point, "unavailable", after=1)  # type: ignore[arg-type]
        async with running(memory(faults)) as other:
            with pytest.raises(Unavailable, match="--resume"):
                await imported(other, archive)
            await imported(other, archive, resume=True)
            assert (await exported(other))[0] == archive
            assert told.group_ordinals > 4


async def test_resuming_a_complete_import_changes_nothing() -> None:
    async with running(memory()) as one, running(memory()) as other:
        await fill(one, facts=30)
        archive, _ = await exported(one)
        await imported(other, archive)
        ends = await other.end_offsets(ORDER)
        await imported(other, archive, resume=True)
        assert await other.end_offsets(ORDER) == ends


async def test_resuming_into_a_log_with_other_records_is_refused() -> None:
    async with running(memory()) as one, running(memory()) as other:
        await fill(one, facts=30)
        archive, _ = await exported(one)
        await imported(other, archive)
        fact = Chat(0).received("later")
        await other.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        with pytest.raises(Refused, match="differs from the archive"):
            await imported(other, archive, resume=True)


# --- ordinals


def test_an_offset_in_a_gap_stands_for_the_next_record(seed: int) -> None:
    random = Random(seed)
    tp = TopicPartition(topics.EVENTS.name, 0)
    offsets = sorted(random.sample(range(1_000), 50))
    asked = {*range(1_010)}
    ordinals = Ordinals({tp: asked})
    ordinals.begin(tp)
    for offset in offsets:
        ordinals.passed(offset)
    ordinals.end()
    for offset in asked:
        assert ordinals(tp, offset) == sum(one < offset for one in offsets)


def test_an_ordinal_becomes_the_offset_after_the_previous_record() -> None:
    tp = TopicPartition(topics.EVENTS.name, 0)
    places = Offsets({tp: {0, 1, 3}}, {tp: 5})
    for ordinal, offset in enumerate((7, 9, 20)):
        places.add(tp, ordinal, offset)
    assert [places(tp, ordinal) for ordinal in (0, 1, 3)] == [5, 8, 21]


def test_values_that_are_no_webhooks_are_unchanged() -> None:
    def fail(_topic_partition: TopicPartition, _place: int) -> int:
        raise AssertionError

    for value in (None, b"", b"not json", b'{"since": {"x": [1]}}', b"[" * 100_000):
        assert with_converted_starts(value, fail) == value


def test_unknown_fields_of_a_webhook_are_kept() -> None:
    encoded = topics.WEBHOOKS.record("a", replace(webhook(), since={topics.TAGS.name: (1, 2, 3, 4)})).value
    assert encoded is not None
    newer = encoded.replace(b'{"id"', b'{"newer":[1,{"x":null}],"id"')
    after = with_converted_starts(newer, lambda tp, place: place * 10 + tp.partition)
    assert after is not None
    assert after == newer.replace(b"[1,2,3,4]", b"[10,21,32,43]")


def test_webhooks_are_the_last_topic() -> None:
    known: list[Topic[object]] = [topic for topic in topics.ALL if topic.name not in topics.OF_PROCESSES]
    assert sorted(topic.name for topic in ORDER) == sorted(topic.name for topic in known)
    assert ORDER[-1] is topics.WEBHOOKS


async def test_a_log_with_records_of_a_newer_version_has_no_digest() -> None:
    fact = Chat().received("a")
    record = topics.EVENTS.record(fact.conversation_id, fact)
    async with running(memory()) as bus:
        await bus.publish([replace(record, headers=(("kind", b"message.pinned"), ("v", b"1")))])

        with pytest.raises(PartitionHeld, match="upgrade it"):
            await fold_log(bus)

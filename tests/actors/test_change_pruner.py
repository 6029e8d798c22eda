"""The change pruner deletes what no enabled reader and no resuming client needs any more, and nothing else."""

import anyio
import msgspec
import pytest

from airy import topics
from airy.actors.change_pruner import ChangePruner, FoldHistory, ResumeWindow
from airy.app.tree import _change_pruner
from airy.bus.record import TopicPartition
from airy.change_readers import ReaderSpec
from airy.config import Config, DataConfig
from tests.kit.builders import Chat
from tests.kit.harness import Harness

FROM_BEGINNING = ReaderSpec(name="a", component="a", actor="a", group="a", start="beginning")
FROM_END = ReaderSpec(name="b", component="b", actor="b", group="b", start="end")
HERE, THERE = TopicPartition("events", 0), TopicPartition("events", 1)


def pruner(harness: Harness, *readers: ReaderSpec, window: ResumeWindow | None = None) -> ChangePruner:
    return ChangePruner(harness.bus, harness.store, readers, window=window)


async def changes_held(harness: Harness) -> int:
    return (await harness.store.counts())["changes"]


async def test_changes_without_readers_are_pruned() -> None:
    harness = Harness()
    async with harness.open(pruner=lambda: pruner(harness)):
        await harness.connect()
        await harness.append(Chat().received("hello"))
        await anyio.sleep(30)

        assert await changes_held(harness) == 0


async def test_changes_stay_until_their_slowest_reader_has_committed_them() -> None:
    harness = Harness()
    async with harness.open(pruner=lambda: pruner(harness, FROM_BEGINNING, FROM_END)):
        await harness.connect()
        fact = Chat().received("hello")
        await harness.append(fact)
        await anyio.sleep(30)
        assert await changes_held(harness) > 0

        tp = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(fact.conversation_id))
        async with harness.bus.subscribe(FROM_BEGINNING.topics, group=FROM_BEGINNING.group) as reader:
            await reader.fetch(records_max=0, wait_s=0.1)
            ends = await harness.bus.end_offsets(FROM_BEGINNING.topics)
            await reader.commit({each: end for each, end in ends.items() if each != tp})
            await anyio.sleep(30)
            kept = await harness.store.changes(tp, after=(-1, -1), changes_max=100)
            await reader.commit({tp: ends[tp]})
            await anyio.sleep(30)

        assert kept
        assert not await harness.store.changes(tp, after=(-1, -1), changes_max=100)


async def test_a_reader_that_starts_at_the_end_holds_nothing_before_its_first_commit() -> None:
    harness = Harness()
    async with harness.open(pruner=lambda: pruner(harness, FROM_END)):
        await harness.connect()
        await anyio.sleep(30)
        assert await changes_held(harness) == 0

        async with harness.bus.subscribe(FROM_END.topics, group=FROM_END.group) as reader:
            await reader.fetch(records_max=0, wait_s=0.1)
            await reader.commit(await harness.bus.end_offsets(FROM_END.topics))
            await harness.append(Chat().received("hello"))
            await anyio.sleep(30)
            assert await changes_held(harness) > 0


async def test_the_readers_of_every_enabled_component_hold_changes_and_those_of_disabled_ones_do_not() -> None:
    """Whichever process runs them: its store may be used by such a reader later."""
    for enabled in (True, False):
        harness = Harness()
        config = msgspec.convert(
            {"components": {"webhook": {"publisher": {"enabled": enabled}}}, "data": {"resumeWindowS": 0}}, Config
        )

        class Services:
            ports, projector = harness, harness.projector

        Services.config = config  # type: ignore[attr-defined]
        async with harness.open(pruner=lambda services=Services: _change_pruner(services, {"api-communication"})):
            await harness.connect()
            await harness.append(Chat().received("hello"))
            await anyio.sleep(30)

            assert (await changes_held(harness) > 0) is enabled
            assert (await harness.store.pruned_below() == {}) is enabled


async def test_the_resume_window_keeps_changes_by_age_and_bounds_them_by_records() -> None:
    for records_max, kept in ((1_000, 5), (2, 2)):
        harness = Harness()
        window = ResumeWindow(age_s=100.0, records_max=records_max)
        async with harness.open(pruner=lambda harness=harness, window=window: pruner(harness, window=window)):
            await harness.connect()
            await anyio.sleep(200)
            for number in range(5):
                await harness.append(Chat().received(str(number)))
                await anyio.sleep(10)
            assert await facts_held(harness) == kept
            await anyio.sleep(60)
            assert await facts_held(harness) == min(kept, 4), "the first is too old by now"
            await anyio.sleep(100)
            assert await facts_held(harness) == 0


async def facts_held(harness: Harness) -> int:
    return len(
        {
            stored.position
            for tp in topics.EVENTS.topic_partitions
            for stored in await harness.store.changes(tp, after=(-1, -1), changes_max=100)
        }
    )


def test_a_history_of_any_length_is_bounded_and_keeps_too_much_rather_than_too_little() -> None:
    history = FoldHistory(ResumeWindow(age_s=1_000.0, records_max=10**9))
    for second in range(10_000):
        history.add(float(second), {HERE: second})
        floor = history.floor(float(second)).get(HERE, 0)
        assert floor <= max(0, second - 1_000)
        if second > 1_000:
            assert floor >= second - 1_000 - 17
        assert len(history) <= 66


def test_a_wiped_store_starts_a_new_history() -> None:
    history = FoldHistory(ResumeWindow(age_s=10.0, records_max=100))
    history.add(0.0, {HERE: 50, THERE: 50})
    history.add(20.0, {HERE: 3, THERE: 50})
    assert history.floor(20.0) == {}
    assert history.floor(30.0) == {HERE: 3, THERE: 50}


def test_the_window_is_configured_in_seconds_and_records() -> None:
    assert (DataConfig().resume_window_s, DataConfig().resume_window_records) == (300.0, 100_000)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"resumeWindowS": -1}, DataConfig)

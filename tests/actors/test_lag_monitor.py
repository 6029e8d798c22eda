"""The lag monitor: lag by group, the fold's lag and age, loop delay; and failed queries."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as some

from airy import acls, topics
from airy.actors.lag_monitor import REFRESH_S, SAMPLES_MAX, EndOffsetHistory, LagMonitor
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.memory import MemoryBus
from airy.bus.record import ProducerRecord, TopicPartition
from airy.bus.topic import Topic
from airy.clock import LoopClock
from airy.components import BY_ID
from airy.errors import Unavailable
from airy.store.sqlite import SqliteStore

ONE = TopicPartition("t", 0)
EVENTS = topics.source_events("facebook")
GROUP = "sources.facebook.router"


def raw(number: int) -> ProducerRecord:
    return EVENTS.record(f"page {number}", b"{}")


class Silent(MemoryBus):
    """Fails end offset queries while `away`."""

    away = False

    async def end_offsets(self, asked: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        if self.away:
            raise Unavailable("no broker answers")
        return await super().end_offsets(asked)


# --- age


def test_the_age_of_an_unfolded_record_counts_from_its_first_sample() -> None:
    history = EndOffsetHistory()
    history.add(10.0, {ONE: 5})
    history.add(20.0, {ONE: 9})

    assert history.age_s(25.0, {ONE: 4}) == 15.0
    assert history.age_s(25.0, {ONE: 5}) == 5.0
    assert history.age_s(25.0, {ONE: 9}) == 0.0
    assert history.age_s(99.0, {ONE: 9}) == 0.0


def test_the_age_of_a_stuck_store_does_not_depend_on_the_number_of_samples() -> None:
    history = EndOffsetHistory()
    for at in range(20 * SAMPLES_MAX):
        history.add(float(at), {ONE: 7 + at})

    assert len(history) <= SAMPLES_MAX
    assert history.age_s(20.0 * SAMPLES_MAX, {ONE: 3}) == 20.0 * SAMPLES_MAX


def test_one_lagging_partition_determines_the_age() -> None:
    history = EndOffsetHistory()
    history.add(10.0, {ONE: 5, TopicPartition("t", 1): 1})

    assert history.age_s(12.0, {ONE: 5}) == 2.0


@given(some.lists(some.integers(0, 5), max_size=4 * SAMPLES_MAX), some.integers(0, 4 * SAMPLES_MAX))
def test_samples_are_bounded_and_dropping_some_never_raises_the_age(grown: list[int], folded: int) -> None:
    history, end = EndOffsetHistory(), 0
    seen: list[float] = []
    for at, more in enumerate(grown):
        end += more
        history.add(float(at), {ONE: end})
        if end > folded:
            seen.append(float(at))
    now = float(len(grown))
    age_s = history.age_s(now, {ONE: folded})

    assert len(history) <= SAMPLES_MAX
    assert age_s <= (now - seen[0] if seen else 0.0)
    assert (age_s > 0) == bool(seen)


# --- groups and lag


def test_every_committing_group_is_monitored_with_its_component() -> None:
    """Connectors join groups without committing: they have no lag."""
    everything = acls.committing_groups(BY_ID)
    assert set(everything) == {group for name, group in acls.GROUPS.items() if not name.endswith("/connector")}
    assert acls.committing_groups({"http", "api-admin", "webhook-consumer"}) == {}
    assert set(acls.committing_groups({"webhook-publisher"})) == {"webhook-publisher"}


@contextmanager
def monitored() -> Iterator[tuple[Silent, LagMonitor, Projector]]:
    bus = Silent(topics.ALL, clock=LoopClock())
    projector = Projector(bus, SqliteStore(":memory:"))
    yield bus, LagMonitor(bus, projector), projector


async def test_lag_counts_from_the_committed_offset_or_the_beginning() -> None:
    with monitored() as (bus, monitor, _):
        of = {GROUP: (EVENTS,)}
        await bus.publish([raw(number) for number in range(7)])
        everything = sum((await bus.end_offsets([EVENTS])).values()) - sum(
            (await bus.beginning_offsets([EVENTS])).values()
        )
        await monitor.refresh(of)
        assert monitor.lags == {(GROUP, EVENTS.name): everything}
        assert everything >= 7  # offsets have gaps

        async with bus.subscribe([EVENTS], group=GROUP) as member:
            records = await member.fetch(records_max=100, wait_s=1.0)
            first = records[0]
            await member.commit({first.topic_partition: first.offset + 1})
            await monitor.refresh(of)
            assert 0 < monitor.lags[GROUP, EVENTS.name] < everything
            await member.commit({record.topic_partition: record.offset + 1 for record in records})
        await monitor.refresh(of)
        assert monitor.lags == {(GROUP, EVENTS.name): 0}
        assert bus.rebalances[GROUP] >= 1


async def test_age_and_lag_grow_while_the_store_does_not_fold() -> None:
    with monitored() as (bus, monitor, _):
        await bus.publish([topics.TAGS.record("one", None)])
        ends = await bus.end_offsets([topics.TAGS])
        await monitor.refresh({})
        await anyio.sleep(40)

        assert monitor.fold_lag == sum(ends.values()) > 0
        assert monitor.fold_age_s == pytest.approx(40)


async def test_a_failed_query_keeps_the_last_measurement_and_its_age() -> None:
    with monitored() as (bus, monitor, _):
        assert monitor.measurement_age_s is None
        await bus.publish([raw(1)])
        await monitor.refresh({GROUP: (EVENTS,)})
        bus.away = True
        await anyio.sleep(3)
        await monitor.refresh({GROUP: (EVENTS,)})

        assert monitor.lags == {(GROUP, EVENTS.name): 1}
        assert monitor.measurement_age_s == pytest.approx(3)
        assert monitor.failures == 1


async def test_queries_are_repeated_and_an_unavailable_log_does_not_end_the_monitor() -> None:
    with monitored() as (bus, monitor, _):
        context = Context("lag-monitor", clock=LoopClock(), random=None)  # type: ignore[arg-type]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.run, context, {GROUP: (EVENTS,)})
            bus.away = True
            await anyio.sleep(3 * REFRESH_S + 1)
            bus.away = False
            await bus.publish([raw(1)])
            await anyio.sleep(REFRESH_S)
            assert monitor.failures >= 3
            assert monitor.lags == {(GROUP, EVENTS.name): 1}
            context.draining.set()


@pytest.mark.usefixtures("real_time")
async def test_a_blocked_event_loop_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airy.actors.lag_monitor.TICK_S", 0.1)
    with monitored() as (_, monitor, _projector):
        context = Context("lag-monitor", clock=LoopClock(), random=None)  # type: ignore[arg-type]
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.run, context, {})
            await anyio.sleep(0.05)
            time.sleep(0.3)  # noqa: ASYNC251 - this is what is tested
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

        assert 0.1 < monitor.loop_delay_s < anyio.current_time() - began


def test_the_loop_delay_is_zero_before_the_first_measurement() -> None:
    with monitored() as (_, monitor, _projector):
        assert monitor.loop_delay_s == 0.0

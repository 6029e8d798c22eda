"""How far behind a process is: lag by group, the fold's lag and age, a late event loop; and what silence changes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as some

from airy import access, topics
from airy.actors.follower import Follower
from airy.actors.runtime import Context
from airy.app.watch import MARKS_MAX, REFRESH_S, Marks, Watch, groups
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, TopicPartition
from airy.bus.topic import Topic
from airy.clock import LoopClock
from airy.components import BY_NAME
from airy.errors import Unavailable
from airy.store.sqlite import SqliteStore

ONE = TopicPartition("t", 0)
EVENTS = topics.source_events("facebook")
GROUP = "sources.facebook.router"


def raw(number: int) -> Emit:
    return EVENTS.emit(f"page {number}", b"{}")


class Silent(MemoryBus):
    """Does not say where it ends while it is `away`."""

    away = False

    async def ends(self, asked: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        if self.away:
            raise Unavailable("no broker answers")
        return await super().ends(asked)


# --- how old


def test_what_is_not_folded_is_as_old_as_the_first_look_that_saw_it() -> None:
    marks = Marks()
    marks.add(10.0, {ONE: 5})
    marks.add(20.0, {ONE: 9})

    assert marks.age_s(25.0, {ONE: 4}) == 15.0
    assert marks.age_s(25.0, {ONE: 5}) == 5.0
    assert marks.age_s(25.0, {ONE: 9}) == 0.0
    assert marks.age_s(99.0, {ONE: 9}) == 0.0


def test_a_store_that_is_stuck_gets_as_old_as_it_is_however_often_one_looks() -> None:
    marks = Marks()
    for at in range(20 * MARKS_MAX):
        marks.add(float(at), {ONE: 7 + at})

    assert len(marks) <= MARKS_MAX
    assert marks.age_s(20.0 * MARKS_MAX, {ONE: 3}) == 20.0 * MARKS_MAX


def test_one_partition_that_is_behind_is_enough() -> None:
    marks = Marks()
    marks.add(10.0, {ONE: 5, TopicPartition("t", 1): 1})

    assert marks.age_s(12.0, {ONE: 5}) == 2.0


@given(some.lists(some.integers(0, 5), max_size=4 * MARKS_MAX), some.integers(0, 4 * MARKS_MAX))
def test_looks_are_bounded_and_thinning_them_never_makes_anything_older(grown: list[int], folded: int) -> None:
    marks, end = Marks(), 0
    seen: list[float] = []
    for at, more in enumerate(grown):
        end += more
        marks.add(float(at), {ONE: end})
        if end > folded:
            seen.append(float(at))
    now = float(len(grown))
    age_s = marks.age_s(now, {ONE: folded})

    assert len(marks) <= MARKS_MAX
    assert age_s <= (now - seen[0] if seen else 0.0)
    assert (age_s > 0) == bool(seen)


# --- what is asked


def test_every_group_that_commits_is_watched_where_its_component_runs() -> None:
    """Connectors join groups, and never commit: they have no lag."""
    everything = groups(BY_NAME)
    assert set(everything) == {group for name, group in access.GROUPS.items() if not name.endswith("/connector")}
    assert groups({"http", "api-admin", "webhook-consumer"}) == {}
    assert set(groups({"webhook-publisher"})) == {"webhook-publisher"}


@contextmanager
def watched() -> Iterator[tuple[Silent, Watch, Follower]]:
    bus = Silent(topics.ALL, clock=LoopClock())
    follower = Follower(bus, SqliteStore(":memory:"))
    yield bus, Watch(bus, follower), follower


async def test_lag_is_what_a_group_has_yet_to_commit_from_the_start_if_it_never_did() -> None:
    with watched() as (bus, watch, _):
        of = {GROUP: (EVENTS,)}
        await bus.publish([raw(number) for number in range(7)])
        everything = sum((await bus.ends([EVENTS])).values()) - sum((await bus.starts([EVENTS])).values())
        await watch.refresh(of)
        assert watch.lags == {(GROUP, EVENTS.name): everything}
        assert everything >= 7  # offsets have gaps

        async with bus.subscribe([EVENTS], group=GROUP) as member:
            records = await member.fetch(records_max=100, wait_s=1.0)
            first = records[0]
            await member.commit({first.where: first.offset + 1})
            await watch.refresh(of)
            assert 0 < watch.lags[GROUP, EVENTS.name] < everything
            await member.commit({record.where: record.offset + 1 for record in records})
        await watch.refresh(of)
        assert watch.lags == {(GROUP, EVENTS.name): 0}
        assert bus.rebalances[GROUP] >= 1


async def test_a_store_that_does_not_fold_gets_older_and_what_it_lacks_is_counted() -> None:
    with watched() as (bus, watch, _):
        await bus.publish([topics.TAGS.emit("one", None)])
        ends = await bus.ends([topics.TAGS])
        await watch.refresh({})
        await anyio.sleep(40)

        assert watch.fold_lag == sum(ends.values()) > 0
        assert watch.fold_age_s == pytest.approx(40)


async def test_silence_keeps_what_was_learned_and_says_how_old_it_is() -> None:
    with watched() as (bus, watch, _):
        assert watch.reading_age_s is None
        await bus.publish([raw(1)])
        await watch.refresh({GROUP: (EVENTS,)})
        bus.away = True
        await anyio.sleep(3)
        await watch.refresh({GROUP: (EVENTS,)})

        assert watch.lags == {(GROUP, EVENTS.name): 1}
        assert watch.reading_age_s == pytest.approx(3)
        assert watch.failures == 1


async def test_it_asks_again_and_again_and_a_log_that_is_away_does_not_end_it() -> None:
    with watched() as (bus, watch, _):
        context = Context("watch", clock=LoopClock(), random=None)  # type: ignore[arg-type]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run, context, {GROUP: (EVENTS,)})
            bus.away = True
            await anyio.sleep(3 * REFRESH_S + 1)
            bus.away = False
            await bus.publish([raw(1)])
            await anyio.sleep(REFRESH_S)
            assert watch.failures >= 3
            assert watch.lags == {(GROUP, EVENTS.name): 1}
            context.draining.set()


@pytest.mark.usefixtures("real_time")
async def test_what_holds_the_event_loop_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airy.app.watch.TICK_S", 0.1)
    with watched() as (_, watch, _follower):
        context = Context("watch", clock=LoopClock(), random=None)  # type: ignore[arg-type]
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run, context, {})
            await anyio.sleep(0.05)
            time.sleep(0.3)  # noqa: ASYNC251 - this is what is tested
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()

        assert 0.1 < watch.loop_delay_s < anyio.current_time() - began


def test_nothing_is_late_before_anything_was_felt() -> None:
    with watched() as (_, watch, _follower):
        assert watch.loop_delay_s == 0.0

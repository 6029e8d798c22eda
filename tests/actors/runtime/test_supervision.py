"""Supervision independent of the strategy: start order, restarts, escalation, limits."""

import math
from itertools import count

import anyio
import pytest

from airy.actors.runtime import Actor, Backoff, Child, Context, Restart, Supervision, TreeFailed, run_tree
from airy.clock import LoopClock
from airy.errors import Misconfigured, Unavailable
from tests.kit.running_tree import ActorBody, EventLog, actor_of, idle, recording, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


class Boom(RuntimeError):
    pass


def children_of(
    events: EventLog, *, names: str = "abc", body: ActorBody = idle, restart: Restart = "permanent"
) -> tuple[Child, ...]:
    return tuple(Child(name=name, start=actor_of(recording(events, body)), restart=restart) for name in names)


async def test_children_start_in_order_each_after_the_earlier_is_ready_and_stop_in_reverse() -> None:
    events = EventLog()

    async def slow(ctx: Context) -> None:
        await anyio.sleep(2)
        events.record(ctx.path, "ready")
        await idle(ctx)
        await anyio.sleep(1)

    async with running(Supervision(name="airy", children=children_of(events, body=slow))) as system:
        await anyio.sleep(10)
        assert system.tree.ready
    assert events.lines_of("start", "ready") == [
        "a start",
        "a ready",
        "b start",
        "b ready",
        "c start",
        "c ready",
    ]
    assert [events.times(name, "start") for name in "abc"] == [[0.0], [2.0], [4.0]]
    assert [events.times(name, "return") for name in "cba"] == [[11.0], [12.0], [13.0]]


async def test_a_child_is_not_started_while_an_earlier_sibling_cannot_become_ready() -> None:
    events = EventLog()
    tries = count()

    async def needs_a_broker(ctx: Context) -> None:
        if next(tries) < 3:
            raise Unavailable("no broker")
        await idle(ctx)

    earlier = Child(name="bus", start=actor_of(recording(events, needs_a_broker)))
    spec = Supervision(name="airy", children=(earlier, *children_of(events, names="a")), backoff=STEADY)
    async with running(spec) as system:
        await anyio.sleep(2.5)
        assert not system.tree.ready
        assert system.snapshot("a").phase == "stopped"
        await anyio.sleep(1)
        assert system.tree.ready
    assert events.lines_of("start") == ["bus start"] * 4 + ["a start"]


async def test_a_restart_is_a_new_instance_with_the_old_random_stream() -> None:
    instances, drawn = [], []

    class Crasher:
        async def run(self, ctx: Context) -> None:
            instances.append(self)
            drawn.append(ctx.ids.new())
            if len(instances) < 3:
                raise Boom
            await idle(ctx)

    spec = Supervision(name="airy", children=(Child(name="a", start=Crasher),), backoff=STEADY)
    async with running(spec, seed=7) as system:
        await anyio.sleep(5)
        assert system.snapshot("a").restarts == system.snapshot("a").bugs == 2
    assert len(set(map(id, instances))) == 3
    assert len(set(drawn)) == 3
    before = list(drawn)
    instances.clear()
    drawn.clear()
    async with running(spec, seed=7):
        await anyio.sleep(5)
    assert drawn == before


async def test_siblings_have_random_streams_of_their_own() -> None:
    drawn = {}

    async def draw(ctx: Context) -> None:
        drawn[ctx.path] = ctx.random.random()
        await idle(ctx)

    children = tuple(Child(name=name, start=actor_of(draw)) for name in "ab")
    async with running(Supervision(name="airy", children=children)):
        await anyio.sleep(1)
    assert len(set(drawn.values())) == 2


async def test_more_bugs_than_the_restart_intensity_allows_fail_the_tree() -> None:
    events = EventLog()

    async def crash(ctx: Context) -> None:
        ctx.ready()
        raise Boom("again")

    spec = Supervision(
        name="airy",
        children=(*children_of(events, names="a"), *children_of(events, names="b", body=crash)),
        bugs_max=3,
        bugs_period_s=10,
        backoff=STEADY,
    )
    verdict = "more than 3 bugs within 10 s, the latest in airy/b: Boom: again"
    with pytest.raises(TreeFailed, match=verdict) as failed:
        await run_tree(spec, clock=LoopClock(), seed=0)
    assert failed.value.exit_code == 70
    assert events.times("b", "start") == [0.0, 1.0, 2.0, 3.0]
    assert events.lines_of()[-1] == "a return"


async def test_bugs_further_apart_than_the_period_never_escalate() -> None:
    events = EventLog()

    async def crash_after_4_s(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(4)
        raise Boom

    children = children_of(events, names="a", body=crash_after_4_s)
    spec = Supervision(name="airy", children=children, bugs_max=2, bugs_period_s=10, backoff=STEADY)
    async with running(spec) as system:
        await anyio.sleep(500)
        assert system.snapshot("a").bugs == 100
        assert system.snapshot().bugs == 0


async def test_the_bugs_of_all_children_count_together() -> None:
    async def crash(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        raise Boom

    children = children_of(EventLog(), body=crash)
    with pytest.raises(TreeFailed, match="more than 2 bugs"):
        await run_tree(Supervision(name="airy", children=children, bugs_max=2), clock=LoopClock(), seed=0)


async def test_a_failed_supervisor_is_restarted_by_the_one_above_with_all_its_children() -> None:
    events = EventLog()
    tries = count()

    async def crash_at_first(ctx: Context) -> None:
        ctx.ready()
        if next(tries) < 2:
            await anyio.sleep(1)
            raise Boom
        await idle(ctx)

    inner = Supervision(
        name="inner",
        children=(*children_of(events, names="a"), *children_of(events, names="b", body=crash_at_first)),
        bugs_max=1,
        backoff=STEADY,
    )
    spec = Supervision(name="airy", children=(*children_of(events, names="x"), inner), backoff=STEADY)
    async with running(spec) as system:
        await anyio.sleep(10)
        assert system.tree.ready
        assert system.snapshot("inner").restarts == system.snapshot("inner").bugs == 1
        assert "TooManyBugs" in system.snapshot("inner").error
        assert system.snapshot("x").restarts == 0
    assert events.lines_of() == [
        "x start",
        "a start",
        "b start",
        "b crash",
        "b start",
        "b crash",
        "a return",
        "a start",
        "b start",
        "b return",
        "a return",
        "x return",
    ]


async def test_a_restarted_supervisor_starts_all_children_and_counts_bugs_anew() -> None:
    events = EventLog()
    tries = count()

    async def work(ctx: Context) -> None:
        ctx.ready()

    async def crash_at_first(ctx: Context) -> None:
        ctx.ready()
        if next(tries) in (0, 1, 2):
            raise Boom
        await idle(ctx)

    children = (
        *children_of(events, names="t", restart="temporary"),
        *children_of(events, names="j", body=work, restart="transient"),
        *children_of(events, names="c", body=crash_at_first),
    )
    inner = Supervision(name="inner", children=children, bugs_max=1, backoff=STEADY)
    async with running(Supervision(name="airy", children=(inner,), backoff=STEADY)) as system:
        await anyio.sleep(10)
        assert system.tree.ready
        assert system.snapshot("inner").restarts == 1
    starts = events.lines_of("start")
    assert [starts.count(f"{name} start") for name in "tjc"] == [2, 2, 4]


async def test_escalation_goes_up_to_the_root_when_no_level_can_help() -> None:
    async def crash(ctx: Context) -> None:
        raise Boom

    child = Child(name="a", start=actor_of(crash))
    leaves = Supervision(name="leaves", children=(child,), bugs_max=2, backoff=STEADY)
    inner = Supervision(name="inner", children=(leaves,), bugs_max=2, backoff=STEADY)
    spec = Supervision(name="airy", children=(inner,), bugs_max=2, backoff=STEADY)
    with pytest.raises(TreeFailed, match="airy/inner"):
        await run_tree(spec, clock=LoopClock(), seed=0)


async def test_under_one_for_one_a_crash_does_not_affect_siblings() -> None:
    events = EventLog()

    async def crash_each_second(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        raise Boom

    children = (
        *children_of(events, names="a"),
        *children_of(events, names="b", body=crash_each_second),
        *children_of(events, names="c"),
    )
    async with running(Supervision(name="airy", children=children, bugs_max=100, backoff=STEADY)) as system:
        await anyio.sleep(20.5)
        assert system.snapshot("b").restarts == 10
    assert events.times("a", "start") == events.times("c", "start") == [0.0]
    assert events.lines_of("cancel") == []


@pytest.mark.parametrize(("restart", "starts"), [("permanent", 3), ("transient", 1), ("temporary", 1)])
async def test_an_actor_that_returns_is_restarted_only_if_permanent(restart: Restart, starts: int) -> None:
    events = EventLog()

    async def return_twice(ctx: Context) -> None:
        ctx.ready()
        if len(events.times("a", "start")) == 3:
            await idle(ctx)

    children = (
        *children_of(events, names="a", body=return_twice, restart=restart),
        *children_of(events, names="b"),
    )
    async with running(Supervision(name="airy", children=children, backoff=STEADY)) as system:
        await anyio.sleep(10)
        assert system.tree.ready
        assert system.snapshot("a").bugs == starts - 1
    assert len(events.times("a", "start")) == starts


@pytest.mark.parametrize(("restart", "starts"), [("permanent", 3), ("transient", 3), ("temporary", 1)])
async def test_an_actor_that_crashes_is_restarted_unless_temporary(restart: Restart, starts: int) -> None:
    events = EventLog()

    async def crash_twice(ctx: Context) -> None:
        ctx.ready()
        if len(events.times("a", "start")) < 3:
            raise Boom
        await idle(ctx)

    children = (*children_of(events, names="a", body=crash_twice, restart=restart), *children_of(events, names="b"))
    async with running(Supervision(name="airy", children=children, backoff=STEADY)) as system:
        await anyio.sleep(10)
        assert system.tree.ready
        if restart == "temporary":
            assert system.logged("actor.crashed") == ["airy/a"]
            assert system.snapshot("a").phase == "failed"
    assert len(events.times("a", "start")) == starts


async def test_a_temporary_child_does_not_count_towards_the_restart_intensity() -> None:
    async def crash(ctx: Context) -> None:
        raise Boom

    children = (
        Child(name="a", start=actor_of(crash), restart="temporary"),
        Child(name="b", start=actor_of(idle)),
    )
    async with running(Supervision(name="airy", children=children, bugs_max=0)) as system:
        await anyio.sleep(10)
        assert system.tree.ready


async def test_a_tree_ends_when_all_its_children_have_ended() -> None:
    async def work(ctx: Context) -> None:
        await anyio.sleep(5)

    jobs = tuple(Child(name=name, start=actor_of(work), restart="transient") for name in "ab")
    spec = Supervision(name="airy", children=(Supervision(name="jobs", children=jobs),))
    began_at = anyio.current_time()
    await run_tree(spec, clock=LoopClock(), seed=0)
    assert anyio.current_time() - began_at == pytest.approx(10)


async def test_an_actor_that_is_not_ready_in_time_has_crashed() -> None:
    async def never_ready(ctx: Context) -> None:
        with ctx.waiting():
            await anyio.sleep(math.inf)

    child = Child(name="a", start=actor_of(never_ready), ready_s=7)
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as system:
        await anyio.sleep(6.9)
        assert system.snapshot("a").phase == "starting"
        await anyio.sleep(0.2)
        assert system.snapshot("a").phase == "backing_off"
        assert system.snapshot("a").error == "NotReady: not ready within 7 s"


async def test_a_factory_that_raises_is_a_crash_like_any_other() -> None:
    def refuse() -> Actor:
        raise Boom("no such thing")

    spec = Supervision(name="airy", children=(Child(name="a", start=refuse),), bugs_max=2, backoff=STEADY)
    with pytest.raises(TreeFailed, match="no such thing"):
        await run_tree(spec, clock=LoopClock(), seed=0)


async def test_what_an_operator_has_to_correct_ends_the_tree_at_once_with_the_error_itself() -> None:
    events = EventLog()

    async def listen(ctx: Context) -> None:
        raise Misconfigured("cannot listen on :80: permission denied")

    inner = Supervision(name="inner", children=(Child(name="http", start=actor_of(recording(events, listen))),))
    spec = Supervision(name="airy", children=(*children_of(events, names="a"), inner), backoff=STEADY)
    with pytest.raises(Misconfigured, match="cannot listen on :80"):
        await run_tree(spec, clock=LoopClock(), seed=0)

    assert events.times("http", "start") == [0.0]
    assert events.times("a", "return") == [0.0]


async def test_an_exception_group_is_classified_by_its_leaves() -> None:
    events = EventLog()
    inside = [[Unavailable("a"), Unavailable("b")], [Unavailable("a"), Boom("b")]]

    async def crash(ctx: Context) -> None:
        if not inside:
            await idle(ctx)
            return
        raise ExceptionGroup("both", inside.pop(0))

    spec = Supervision(name="airy", children=children_of(events, names="a", body=crash), backoff=STEADY)
    async with running(spec) as system:
        await anyio.sleep(0.5)
        assert system.snapshot("a").unavailable.startswith("Unavailable: ")
        assert system.snapshot("a").bugs == 0
        await anyio.sleep(1)
        assert system.snapshot("a").error == "Boom: b"
        assert system.snapshot("a").bugs == 1


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_is_one_segment_of_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="one segment of a path"):
        Supervision(name=name)
    with pytest.raises(ValueError, match="one segment of a path"):
        Child(name=name, start=actor_of(idle))


def test_a_specification_is_a_value_and_invalid_ones_are_refused() -> None:
    start = actor_of(idle)
    assert Supervision(name="a", children=(Child(name="b", start=start),)) == Supervision(
        name="a", children=(Child(name="b", start=start),)
    )
    with pytest.raises(ValueError, match="names must be unique"):
        Supervision(name="a", children=(Child(name="b", start=start), Supervision(name="b")))
    for invalid in ({"stall_s": 0}, {"ready_s": -1}, {"drain_s": -1}, {"cleanup_s": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            Child(name="b", start=start, **invalid)
    for invalid in ({"bugs_max": -1}, {"bugs_period_s": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            Supervision(name="a", **invalid)

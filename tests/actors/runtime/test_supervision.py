"""What every supervisor promises, whatever its strategy."""

import math
from itertools import count

import anyio
import pytest

from airy.actors.runtime import Actor, Backoff, Child, Context, Restart, Supervision, TreeFailed, run_tree
from airy.clock import LoopClock
from airy.errors import Unavailable
from tests.kit.stage import Journal, Script, acting, idle, noting, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


class Boom(RuntimeError):
    pass


def family(
    journal: Journal, *, names: str = "abc", script: Script = idle, restart: Restart = "permanent"
) -> tuple[Child, ...]:
    return tuple(Child(name=name, start=acting(noting(journal, script)), restart=restart) for name in names)


async def test_children_start_in_order_each_after_its_elder_is_ready_and_stop_in_reverse() -> None:
    journal = Journal()

    async def slow(ctx: Context) -> None:
        await anyio.sleep(2)
        journal.note(ctx.path, "ready")
        await idle(ctx)
        await anyio.sleep(1)

    async with running(Supervision(name="airy", children=family(journal, script=slow))) as stage:
        await anyio.sleep(10)
        assert stage.tree.ready
    assert journal.words("start", "ready") == [
        "a start",
        "a ready",
        "b start",
        "b ready",
        "c start",
        "c ready",
    ]
    assert [journal.times(name, "start") for name in "abc"] == [[0.0], [2.0], [4.0]]
    assert [journal.times(name, "return") for name in "cba"] == [[11.0], [12.0], [13.0]]


async def test_a_younger_child_is_not_started_while_its_elder_cannot_become_ready() -> None:
    journal = Journal()
    tries = count()

    async def needs_a_broker(ctx: Context) -> None:
        if next(tries) < 3:
            raise Unavailable("no broker")
        await idle(ctx)

    elder = Child(name="bus", start=acting(noting(journal, needs_a_broker)))
    plan = Supervision(name="airy", children=(elder, *family(journal, names="a")), backoff=STEADY)
    async with running(plan) as stage:
        await anyio.sleep(2.5)
        assert not stage.tree.ready
        assert stage.look("a").phase == "stopped"
        await anyio.sleep(1)
        assert stage.tree.ready
    assert journal.words("start") == ["bus start"] * 4 + ["a start"]


async def test_a_restart_is_a_new_instance_with_the_old_random_stream() -> None:
    instances, drawn = [], []

    class Crasher:
        async def run(self, ctx: Context) -> None:
            instances.append(self)
            drawn.append(ctx.ids.new())
            if len(instances) < 3:
                raise Boom
            await idle(ctx)

    plan = Supervision(name="airy", children=(Child(name="a", start=Crasher),), backoff=STEADY)
    async with running(plan, seed=7) as stage:
        await anyio.sleep(5)
        assert stage.look("a").restarts == stage.look("a").bugs == 2
    assert len(set(map(id, instances))) == 3
    assert len(set(drawn)) == 3
    before = list(drawn)
    instances.clear()
    drawn.clear()
    async with running(plan, seed=7):
        await anyio.sleep(5)
    assert drawn == before


async def test_siblings_have_random_streams_of_their_own() -> None:
    drawn = {}

    async def draw(ctx: Context) -> None:
        drawn[ctx.path] = ctx.random.random()
        await idle(ctx)

    children = tuple(Child(name=name, start=acting(draw)) for name in "ab")
    async with running(Supervision(name="airy", children=children)):
        await anyio.sleep(1)
    assert len(set(drawn.values())) == 2


async def test_more_bugs_than_the_budget_within_its_period_fail_the_tree() -> None:
    journal = Journal()

    async def crash(ctx: Context) -> None:
        ctx.ready()
        raise Boom("again")

    plan = Supervision(
        name="airy",
        children=(*family(journal, names="a"), *family(journal, names="b", script=crash)),
        bugs_max=3,
        bugs_period_s=10,
        backoff=STEADY,
    )
    verdict = "more than 3 bugs within 10 s, the latest in airy/b: Boom: again"
    with pytest.raises(TreeFailed, match=verdict) as failed:
        await run_tree(plan, clock=LoopClock(), seed=0)
    assert failed.value.exit_code == 70
    assert journal.times("b", "start") == [0.0, 1.0, 2.0, 3.0]
    assert journal.words()[-1] == "a return"


async def test_bugs_further_apart_than_the_period_never_escalate() -> None:
    journal = Journal()

    async def crash_after_4_s(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(4)
        raise Boom

    children = family(journal, names="a", script=crash_after_4_s)
    plan = Supervision(name="airy", children=children, bugs_max=2, bugs_period_s=10, backoff=STEADY)
    async with running(plan) as stage:
        await anyio.sleep(500)
        assert stage.look("a").bugs == 100
        assert stage.look().bugs == 0


async def test_the_bugs_of_all_children_count_together() -> None:
    async def crash(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        raise Boom

    children = family(Journal(), script=crash)
    with pytest.raises(TreeFailed, match="more than 2 bugs"):
        await run_tree(Supervision(name="airy", children=children, bugs_max=2), clock=LoopClock(), seed=0)


async def test_a_failed_supervisor_is_restarted_by_the_one_above_with_all_its_children() -> None:
    journal = Journal()
    tries = count()

    async def crash_at_first(ctx: Context) -> None:
        ctx.ready()
        if next(tries) < 2:
            await anyio.sleep(1)
            raise Boom
        await idle(ctx)

    inner = Supervision(
        name="inner",
        children=(*family(journal, names="a"), *family(journal, names="b", script=crash_at_first)),
        bugs_max=1,
        backoff=STEADY,
    )
    plan = Supervision(name="airy", children=(*family(journal, names="x"), inner), backoff=STEADY)
    async with running(plan) as stage:
        await anyio.sleep(10)
        assert stage.tree.ready
        assert stage.look("inner").restarts == stage.look("inner").bugs == 1
        assert "TooManyBugs" in stage.look("inner").error
        assert stage.look("x").restarts == 0
    assert journal.words() == [
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


async def test_a_restarted_supervisor_starts_even_those_that_were_done_with_a_fresh_budget() -> None:
    journal = Journal()
    tries = count()

    async def work(ctx: Context) -> None:
        ctx.ready()

    async def crash_at_first(ctx: Context) -> None:
        ctx.ready()
        if next(tries) in (0, 1, 2):
            raise Boom
        await idle(ctx)

    children = (
        *family(journal, names="t", restart="temporary"),
        *family(journal, names="j", script=work, restart="transient"),
        *family(journal, names="c", script=crash_at_first),
    )
    inner = Supervision(name="inner", children=children, bugs_max=1, backoff=STEADY)
    async with running(Supervision(name="airy", children=(inner,), backoff=STEADY)) as stage:
        await anyio.sleep(10)
        assert stage.tree.ready
        assert stage.look("inner").restarts == 1
    starts = journal.words("start")
    assert [starts.count(f"{name} start") for name in "tjc"] == [2, 2, 4]


async def test_escalation_goes_up_to_the_root_when_no_level_can_help() -> None:
    async def crash(ctx: Context) -> None:
        raise Boom

    child = Child(name="a", start=acting(crash))
    leaves = Supervision(name="leaves", children=(child,), bugs_max=2, backoff=STEADY)
    inner = Supervision(name="inner", children=(leaves,), bugs_max=2, backoff=STEADY)
    plan = Supervision(name="airy", children=(inner,), bugs_max=2, backoff=STEADY)
    with pytest.raises(TreeFailed, match="airy/inner"):
        await run_tree(plan, clock=LoopClock(), seed=0)


async def test_a_crash_never_disturbs_a_sibling_under_one_for_one() -> None:
    journal = Journal()

    async def crash_each_second(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep(1)
        raise Boom

    children = (
        *family(journal, names="a"),
        *family(journal, names="b", script=crash_each_second),
        *family(journal, names="c"),
    )
    async with running(Supervision(name="airy", children=children, bugs_max=100, backoff=STEADY)) as stage:
        await anyio.sleep(20.5)
        assert stage.look("b").restarts == 10
    assert journal.times("a", "start") == journal.times("c", "start") == [0.0]
    assert journal.words("cancel") == []


@pytest.mark.parametrize(("restart", "starts"), [("permanent", 3), ("transient", 1), ("temporary", 1)])
async def test_who_returns_is_restarted_only_if_permanent(restart: Restart, starts: int) -> None:
    journal = Journal()

    async def return_twice(ctx: Context) -> None:
        ctx.ready()
        if len(journal.times("a", "start")) == 3:
            await idle(ctx)

    children = (
        *family(journal, names="a", script=return_twice, restart=restart),
        *family(journal, names="b"),
    )
    async with running(Supervision(name="airy", children=children, backoff=STEADY)) as stage:
        await anyio.sleep(10)
        assert stage.tree.ready
        assert stage.look("a").bugs == starts - 1
    assert len(journal.times("a", "start")) == starts


@pytest.mark.parametrize(("restart", "starts"), [("permanent", 3), ("transient", 3), ("temporary", 1)])
async def test_who_crashes_is_restarted_unless_temporary(restart: Restart, starts: int) -> None:
    journal = Journal()

    async def crash_twice(ctx: Context) -> None:
        ctx.ready()
        if len(journal.times("a", "start")) < 3:
            raise Boom
        await idle(ctx)

    children = (*family(journal, names="a", script=crash_twice, restart=restart), *family(journal, names="b"))
    async with running(Supervision(name="airy", children=children, backoff=STEADY)) as stage:
        await anyio.sleep(10)
        assert stage.tree.ready
        if restart == "temporary":
            assert stage.logged("crashed, is not restarted") == ["airy/a"]
            assert stage.look("a").phase == "failed"
    assert len(journal.times("a", "start")) == starts


async def test_a_temporary_child_spends_nothing_of_the_budget() -> None:
    async def crash(ctx: Context) -> None:
        raise Boom

    children = (
        Child(name="a", start=acting(crash), restart="temporary"),
        Child(name="b", start=acting(idle)),
    )
    async with running(Supervision(name="airy", children=children, bugs_max=0)) as stage:
        await anyio.sleep(10)
        assert stage.tree.ready


async def test_a_tree_whose_children_are_all_done_is_done() -> None:
    async def work(ctx: Context) -> None:
        await anyio.sleep(5)

    jobs = tuple(Child(name=name, start=acting(work), restart="transient") for name in "ab")
    plan = Supervision(name="airy", children=(Supervision(name="jobs", children=jobs),))
    began_at = anyio.current_time()
    await run_tree(plan, clock=LoopClock(), seed=0)
    assert anyio.current_time() - began_at == pytest.approx(10)


async def test_who_is_not_ready_in_time_has_crashed() -> None:
    async def never_ready(ctx: Context) -> None:
        with ctx.waiting():
            await anyio.sleep(math.inf)

    child = Child(name="a", start=acting(never_ready), ready_s=7)
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as stage:
        await anyio.sleep(6.9)
        assert stage.look("a").phase == "starting"
        await anyio.sleep(0.2)
        assert stage.look("a").phase == "backing_off"
        assert stage.look("a").error == "NotReady: not ready within 7 s"


async def test_a_factory_that_raises_is_a_crash_like_any_other() -> None:
    def refuse() -> Actor:
        raise Boom("no such thing")

    plan = Supervision(name="airy", children=(Child(name="a", start=refuse),), bugs_max=2, backoff=STEADY)
    with pytest.raises(TreeFailed, match="no such thing"):
        await run_tree(plan, clock=LoopClock(), seed=0)


async def test_a_group_of_errors_is_judged_by_what_is_inside() -> None:
    journal = Journal()
    inside = [[Unavailable("a"), Unavailable("b")], [Unavailable("a"), Boom("b")]]

    async def crash(ctx: Context) -> None:
        if not inside:
            await idle(ctx)
            return
        raise ExceptionGroup("both", inside.pop(0))

    plan = Supervision(name="airy", children=family(journal, names="a", script=crash), backoff=STEADY)
    async with running(plan) as stage:
        await anyio.sleep(0.5)
        assert stage.look("a").unavailable.startswith("Unavailable: ")
        assert stage.look("a").bugs == 0
        await anyio.sleep(1)
        assert stage.look("a").error == "Boom: b"
        assert stage.look("a").bugs == 1


@pytest.mark.parametrize("name", ["", "a/b"])
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="one part of a path"):
        Supervision(name=name)
    with pytest.raises(ValueError, match="one part of a path"):
        Child(name=name, start=acting(idle))


def test_a_plan_is_a_value_and_refuses_nonsense() -> None:
    start = acting(idle)
    assert Supervision(name="a", children=(Child(name="b", start=start),)) == Supervision(
        name="a", children=(Child(name="b", start=start),)
    )
    with pytest.raises(ValueError, match="name of its own"):
        Supervision(name="a", children=(Child(name="b", start=start), Supervision(name="b")))
    for nonsense in ({"stall_s": 0}, {"ready_s": -1}, {"drain_s": -1}, {"cleanup_s": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            Child(name="b", start=start, **nonsense)
    for nonsense in ({"bugs_max": -1}, {"bugs_period_s": 0}):
        with pytest.raises(ValueError, match="must be positive"):
            Supervision(name="a", **nonsense)

"""Stop is drain, then cancel, then bounded clean-up; and nothing outlives its supervisor unreported."""

from functools import partial

import anyio
import anyio.to_thread
import pytest

from airy.actors.runtime import Backoff, Child, Context, Supervision, TreeFailed, run_tree, worker
from airy.clock import LoopClock
from tests.kit.stage import Journal, Stage, acting, idle, noting, running
from tests.kit.world import asyncio_world

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


async def deaf(ctx: Context) -> None:
    """Never looks at `draining`."""
    ctx.ready()
    with ctx.waiting():
        await anyio.sleep_forever()


async def hang(release: anyio.Event, ctx: Context) -> None:
    """Ends when it is released, and not before."""
    ctx.ready()
    with anyio.CancelScope(shield=True), ctx.waiting():
        await release.wait()


async def cleaning(journal: Journal, needs_s: float, ctx: Context) -> None:
    """Never looks at `draining`, and takes its time to clean up."""
    try:
        await deaf(ctx)
    finally:
        with ctx.cleanup():
            await anyio.sleep(needs_s)
        journal.note(ctx.path, "clean")


async def stopped(plan: Supervision, *, hurry: bool = False) -> tuple[float, Stage]:
    """Seconds from the stop of a tree that has run for a minute to its end, and the stage."""
    async with running(plan) as stage:
        await anyio.sleep(60)
        began_at = anyio.current_time()
        if hurry:
            stage.tree.stop(hurry=True)
    return round(anyio.current_time() - began_at, 3), stage


async def test_who_drains_in_time_is_not_cancelled() -> None:
    journal = Journal()

    async def drain(ctx: Context) -> None:
        await idle(ctx)
        await anyio.sleep(9)

    child = Child(name="a", start=acting(noting(journal, drain)), drain_s=10)
    took_s, stage = await stopped(Supervision(name="airy", children=(child,)))
    assert took_s == 9
    assert journal.words() == ["a start", "a return"]
    assert stage.look("a").phase == "stopped"
    assert stage.look("a").bugs == 0


async def test_who_does_not_drain_in_time_is_cancelled_and_that_is_no_crash() -> None:
    journal = Journal()
    child = Child(name="a", start=acting(noting(journal, deaf)), drain_s=3)
    took_s, stage = await stopped(Supervision(name="airy", children=(child,)))
    assert took_s == 3
    assert journal.words() == ["a start", "a cancel"]
    assert stage.look("a").bugs == stage.look().bugs == 0
    assert stage.look("a").error is None


@pytest.mark.parametrize(("needs_s", "word", "took_s"), [(4, "clean", 7), (60, "cut off", 8)])
async def test_clean_up_is_shielded_and_cut_off_at_its_limit(needs_s: int, word: str, took_s: int) -> None:
    journal = Journal()

    async def clean(ctx: Context) -> None:
        try:
            await deaf(ctx)
        finally:
            with ctx.cleanup() as limit:
                await anyio.sleep(needs_s)
            journal.note(ctx.path, "cut off" if limit.cancelled_caught else "clean")

    child = Child(name="a", start=acting(clean), drain_s=3, cleanup_s=5)
    assert (await stopped(Supervision(name="airy", children=(child,))))[0] == took_s
    assert journal.words() == [f"a {word}"]


async def test_who_ignores_its_cancellation_is_abandoned_and_reported() -> None:
    release, journal = anyio.Event(), Journal()
    children = (
        Child(name="a", start=acting(noting(journal, idle))),
        Child(name="b", start=acting(noting(journal, partial(hang, release))), drain_s=3, cleanup_s=5),
    )
    took_s, stage = await stopped(Supervision(name="airy", children=children))
    assert took_s == 8.5
    assert journal.words() == ["a start", "b start", "a return"]
    assert stage.logged("abandoned") == ["airy/b"]
    assert stage.tree.abandoned == ["airy/b"]
    assert stage.look("b").abandoned == 1
    release.set()
    await anyio.sleep(1)
    assert stage.tree.abandoned == []
    assert stage.look("b").abandoned == 0
    assert journal.words()[-1] == "b return"


async def test_a_stop_is_bounded_by_the_sum_of_the_limits_however_many_hang() -> None:
    release = anyio.Event()
    children = tuple(Child(name=name, start=acting(partial(hang, release)), drain_s=2, cleanup_s=1) for name in "abcd")
    plan = Supervision(name="airy", children=(Supervision(name="inner", children=children),))
    took_s, stage = await stopped(plan)
    assert took_s == 4 * 3.5
    assert len(stage.tree.abandoned) == 4
    release.set()


async def test_a_hurried_stop_skips_the_draining() -> None:
    journal = Journal()
    children = tuple(Child(name=name, start=acting(noting(journal, deaf))) for name in "ab")
    took_s, _ = await stopped(Supervision(name="airy", children=children), hurry=True)
    assert took_s == 0
    assert journal.words("cancel") == ["b cancel", "a cancel"]


async def test_hurry_reaches_a_stop_that_is_already_under_way() -> None:
    journal = Journal()
    children = tuple(Child(name=name, start=acting(noting(journal, deaf)), drain_s=10) for name in "abc")
    plan = Supervision(name="airy", children=(Supervision(name="inner", children=children),))
    async with running(plan) as stage:
        await anyio.sleep(5)
        stage.tree.stop()
        await anyio.sleep(12)
        stage.tree.stop(hurry=True)
    assert [journal.times(name, "cancel") for name in "cba"] == [[15.0], [17.0], [17.0]]


async def test_draining_is_bounded_in_all_and_the_rest_is_cancelled_in_order_and_cleans_up() -> None:
    journal = Journal()
    clean = partial(cleaning, journal, 1)
    children = tuple(Child(name=name, start=acting(clean), drain_s=10) for name in "abc")
    plan = Supervision(name="airy", children=(Supervision(name="inner", children=children),))
    async with running(plan, drain_s=15):
        await anyio.sleep(5)
    assert [journal.times(name, "clean") for name in "cba"] == [[16.0], [21.0], [22.0]]


async def test_cancelling_the_tree_from_outside_stops_it_in_order_and_cleans_up() -> None:
    journal = Journal()
    clean = partial(cleaning, journal, 2)
    children = tuple(Child(name=name, start=acting(clean)) for name in "ab")
    with anyio.move_on_after(10) as limit:
        await run_tree(Supervision(name="airy", children=children), clock=LoopClock(), seed=0)
    assert limit.cancelled_caught
    assert journal.lines == [(12.0, "b", "clean"), (14.0, "a", "clean")]


async def test_a_tree_that_is_cancelled_before_it_began_ends() -> None:
    journal = Journal()
    plan = Supervision(name="airy", children=(Child(name="a", start=acting(noting(journal, deaf))),))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_tree(plan, clock=LoopClock(), seed=0)
    assert journal.words() in ([], ["a start", "a cancel"])


async def test_a_failed_tree_leaves_nobody_behind() -> None:
    journal = Journal()

    async def crash(ctx: Context) -> None:
        await anyio.sleep(1)
        raise RuntimeError("boom")

    children = (
        *(Child(name=name, start=acting(noting(journal, deaf)), drain_s=1) for name in "ab"),
        Child(name="c", start=acting(crash)),
    )
    with pytest.raises(TreeFailed):
        await run_tree(Supervision(name="airy", children=children, bugs_max=0), clock=LoopClock(), seed=0)
    assert journal.words() == ["a start", "b start", "b cancel", "a cancel"]


async def test_a_crash_while_stopping_is_told_and_not_counted() -> None:
    async def crash_at_the_end(ctx: Context) -> None:
        await idle(ctx)
        raise RuntimeError("could not say goodbye")

    plan = Supervision(name="airy", children=(Child(name="a", start=acting(crash_at_the_end)),), bugs_max=0)
    _, stage = await stopped(plan)
    assert stage.look("a").error == "RuntimeError: could not say goodbye"
    assert stage.look("a").bugs == 0
    assert stage.logged("failed while stopping") == ["airy/a"]


async def test_a_child_that_is_still_starting_is_stopped_like_any_other() -> None:
    journal = Journal()

    async def slow(ctx: Context) -> None:
        await anyio.sleep(100)

    children = tuple(Child(name=name, start=acting(noting(journal, slow)), drain_s=2) for name in "ab")
    async with running(Supervision(name="airy", children=children)):
        await anyio.sleep(1)
    assert journal.lines == [(0.0, "a", "start"), (3.0, "a", "cancel")]


async def test_a_stalled_actor_that_ignores_its_cancellation_is_replaced_meanwhile() -> None:
    release, instances = anyio.Event(), []

    async def stuck_at_first(ctx: Context) -> None:
        instances.append(ctx)
        if len(instances) > 1:
            await idle(ctx)
            return
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    child = Child(name="a", start=acting(stuck_at_first), stall_s=10, cleanup_s=5)
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as stage:
        await anyio.sleep(17)
        assert stage.tree.ready
        assert stage.look("a").restarts == stage.look("a").abandoned == 1
        release.set()
        await anyio.sleep(1)
        assert stage.look("a").abandoned == 0
        assert stage.tree.ready


async def test_actors_that_keep_ignoring_their_cancellation_end_the_tree() -> None:
    release = anyio.Event()

    async def stall(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    child = Child(name="a", start=acting(stall), stall_s=100, cleanup_s=0)
    inner = Supervision(name="inner", children=(child,))
    with pytest.raises(TreeFailed, match="more than 10 ignored their cancellation"):
        await run_tree(Supervision(name="airy", children=(inner,)), clock=LoopClock(), seed=0)
    release.set()
    assert anyio.current_time() > 11 * 100


async def test_an_abandoned_actor_does_not_keep_its_event_loop_from_closing() -> None:
    """On trio it would: there, and only there, nothing can end before all tasks have."""

    async def hang_on(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True), ctx.waiting():
            await anyio.sleep_forever()

    def main() -> bool:
        child = Child(name="a", start=acting(hang_on), drain_s=0, cleanup_s=0)
        plan = Supervision(name="airy", children=(child,))

        async def run() -> None:
            with anyio.move_on_after(1):
                await run_tree(plan, clock=LoopClock(), seed=0)

        backend, options = asyncio_world()
        anyio.run(run, backend=backend, backend_options=options)
        return True

    assert await anyio.to_thread.run_sync(main)


async def test_a_bug_of_the_kernel_itself_leaves_no_actor_running(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal()

    def broken(*_: object) -> tuple[float, str]:
        raise ZeroDivisionError

    async def ready_later(ctx: Context) -> None:
        await anyio.sleep(1)
        monkeypatch.setattr(worker, "next_limit", broken)
        await deaf(ctx)

    child = Child(name="a", start=acting(noting(journal, ready_later)), ready_s=5)
    with pytest.raises(ExceptionGroup):
        await run_tree(Supervision(name="airy", children=(child,)), clock=LoopClock(), seed=0)
    await anyio.sleep(1)
    assert journal.words() == ["a start", "a cancel"]

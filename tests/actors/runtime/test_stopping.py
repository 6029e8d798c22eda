"""Stop is drain, then cancel, then bounded clean-up; no actor outlives its supervisor unreported."""

from functools import partial

import anyio
import anyio.to_thread
import pytest

from airy.actors.runtime import Backoff, Child, Context, Supervision, TreeFailed, run_tree, worker
from airy.clock import LoopClock
from tests.kit.event_loops import asyncio_backend
from tests.kit.running_tree import EventLog, RunningTree, actor_of, idle, recording, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


async def ignore_draining(ctx: Context) -> None:
    """Ignores `draining`."""
    ctx.ready()
    with ctx.waiting():
        await anyio.sleep_forever()


async def hang(release: anyio.Event, ctx: Context) -> None:
    """Ends only when it is released."""
    ctx.ready()
    with anyio.CancelScope(shield=True), ctx.waiting():
        await release.wait()


async def cleaning(events: EventLog, needs_s: float, ctx: Context) -> None:
    """Ignores `draining`, and cleans up slowly."""
    try:
        await ignore_draining(ctx)
    finally:
        with ctx.cleanup():
            await anyio.sleep(needs_s)
        events.record(ctx.path, "clean")


async def stopped(spec: Supervision, *, immediate: bool = False) -> tuple[float, RunningTree]:
    """Seconds from the stop of a tree that ran for a minute to its end, and the running tree."""
    async with running(spec) as system:
        await anyio.sleep(60)
        began_at = anyio.current_time()
        if immediate:
            system.tree.stop(immediate=True)
    return round(anyio.current_time() - began_at, 3), system


async def test_an_actor_that_drains_in_time_is_not_cancelled() -> None:
    events = EventLog()

    async def drain(ctx: Context) -> None:
        await idle(ctx)
        await anyio.sleep(9)

    child = Child(name="a", start=actor_of(recording(events, drain)), drain_s=10)
    took_s, system = await stopped(Supervision(name="airy", children=(child,)))
    assert took_s == 9
    assert events.lines_of() == ["a start", "a return"]
    assert system.snapshot("a").phase == "stopped"
    assert system.snapshot("a").bugs == 0


async def test_an_actor_that_does_not_drain_in_time_is_cancelled_without_counting_as_a_crash() -> None:
    events = EventLog()
    child = Child(name="a", start=actor_of(recording(events, ignore_draining)), drain_s=3)
    took_s, system = await stopped(Supervision(name="airy", children=(child,)))
    assert took_s == 3
    assert events.lines_of() == ["a start", "a cancel"]
    assert system.snapshot("a").bugs == system.snapshot().bugs == 0
    assert system.snapshot("a").error is None


@pytest.mark.parametrize(("needs_s", "word", "took_s"), [(4, "clean", 7), (60, "cut off", 8)])
async def test_clean_up_is_shielded_and_cut_off_at_its_limit(needs_s: int, word: str, took_s: int) -> None:
    events = EventLog()

    async def clean(ctx: Context) -> None:
        try:
            await ignore_draining(ctx)
        finally:
            with ctx.cleanup() as limit:
                await anyio.sleep(needs_s)
            events.record(ctx.path, "cut off" if limit.cancelled_caught else "clean")

    child = Child(name="a", start=actor_of(clean), drain_s=3, cleanup_s=5)
    assert (await stopped(Supervision(name="airy", children=(child,))))[0] == took_s
    assert events.lines_of() == [f"a {word}"]


async def test_an_actor_that_ignores_its_cancellation_is_abandoned_and_reported() -> None:
    release, events = anyio.Event(), EventLog()
    children = (
        Child(name="a", start=actor_of(recording(events, idle))),
        Child(name="b", start=actor_of(recording(events, partial(hang, release))), drain_s=3, cleanup_s=5),
    )
    took_s, system = await stopped(Supervision(name="airy", children=children))
    assert took_s == 8.5
    assert events.lines_of() == ["a start", "b start", "a return"]
    assert system.logged("actor.abandoned") == ["airy/b"]
    assert system.tree.abandoned == ["airy/b"]
    assert system.snapshot("b").abandoned == 1
    release.set()
    await anyio.sleep(1)
    assert system.tree.abandoned == []
    assert system.snapshot("b").abandoned == 0
    assert events.lines_of()[-1] == "b return"


async def test_a_stop_is_bounded_by_the_sum_of_the_limits_however_many_hang() -> None:
    release = anyio.Event()
    children = tuple(
        Child(name=name, start=actor_of(partial(hang, release)), drain_s=2, cleanup_s=1) for name in "abcd"
    )
    spec = Supervision(name="airy", children=(Supervision(name="inner", children=children),))
    took_s, system = await stopped(spec)
    assert took_s == 4 * 3.5
    assert len(system.tree.abandoned) == 4
    release.set()


async def test_an_immediate_stop_skips_the_draining() -> None:
    events = EventLog()
    children = tuple(Child(name=name, start=actor_of(recording(events, ignore_draining))) for name in "ab")
    took_s, _ = await stopped(Supervision(name="airy", children=children), immediate=True)
    assert took_s == 0
    assert events.lines_of("cancel") == ["b cancel", "a cancel"]


async def test_an_immediate_stop_overrides_a_stop_already_under_way() -> None:
    events = EventLog()
    children = tuple(Child(name=name, start=actor_of(recording(events, ignore_draining)), drain_s=10) for name in "abc")
    spec = Supervision(name="airy", children=(Supervision(name="inner", children=children),))
    async with running(spec) as system:
        await anyio.sleep(5)
        system.tree.stop()
        await anyio.sleep(12)
        system.tree.stop(immediate=True)
    assert [events.times(name, "cancel") for name in "cba"] == [[15.0], [17.0], [17.0]]


async def test_total_draining_is_bounded_and_the_remaining_actors_are_cancelled_in_order_and_clean_up() -> None:
    events = EventLog()
    clean = partial(cleaning, events, 1)
    children = tuple(Child(name=name, start=actor_of(clean), drain_s=10) for name in "abc")
    spec = Supervision(name="airy", children=(Supervision(name="inner", children=children),))
    async with running(spec, drain_s=15):
        await anyio.sleep(5)
    assert [events.times(name, "clean") for name in "cba"] == [[16.0], [21.0], [22.0]]


async def test_cancelling_the_tree_from_outside_stops_it_in_order_and_cleans_up() -> None:
    events = EventLog()
    clean = partial(cleaning, events, 2)
    children = tuple(Child(name=name, start=actor_of(clean)) for name in "ab")
    with anyio.move_on_after(10) as limit:
        await run_tree(Supervision(name="airy", children=children), clock=LoopClock(), seed=0)
    assert limit.cancelled_caught
    assert events.lines == [(12.0, "b", "clean"), (14.0, "a", "clean")]


async def test_a_tree_cancelled_before_it_starts_ends() -> None:
    events = EventLog()
    spec = Supervision(name="airy", children=(Child(name="a", start=actor_of(recording(events, ignore_draining))),))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await run_tree(spec, clock=LoopClock(), seed=0)
    assert events.lines_of() in ([], ["a start", "a cancel"])


async def test_a_failed_tree_leaves_no_actor_running() -> None:
    events = EventLog()

    async def crash(ctx: Context) -> None:
        await anyio.sleep(1)
        raise RuntimeError("boom")

    children = (
        *(Child(name=name, start=actor_of(recording(events, ignore_draining)), drain_s=1) for name in "ab"),
        Child(name="c", start=actor_of(crash)),
    )
    with pytest.raises(TreeFailed):
        await run_tree(Supervision(name="airy", children=children, bugs_max=0), clock=LoopClock(), seed=0)
    assert events.lines_of() == ["a start", "b start", "b cancel", "a cancel"]


async def test_a_crash_while_stopping_is_logged_and_not_counted() -> None:
    async def crash_at_the_end(ctx: Context) -> None:
        await idle(ctx)
        raise RuntimeError("clean-up failed")

    spec = Supervision(name="airy", children=(Child(name="a", start=actor_of(crash_at_the_end)),), bugs_max=0)
    _, system = await stopped(spec)
    assert system.snapshot("a").error == "RuntimeError: clean-up failed"
    assert system.snapshot("a").bugs == 0
    assert system.logged("actor.stop_failed") == ["airy/a"]


async def test_a_child_that_is_still_starting_is_stopped_like_any_other() -> None:
    events = EventLog()

    async def slow(ctx: Context) -> None:
        await anyio.sleep(100)

    children = tuple(Child(name=name, start=actor_of(recording(events, slow)), drain_s=2) for name in "ab")
    async with running(Supervision(name="airy", children=children)):
        await anyio.sleep(1)
    assert events.lines == [(0.0, "a", "start"), (3.0, "a", "cancel")]


async def test_a_stalled_actor_that_ignores_its_cancellation_is_restarted_beside_it() -> None:
    release, instances = anyio.Event(), []

    async def stuck_at_first(ctx: Context) -> None:
        instances.append(ctx)
        if len(instances) > 1:
            await idle(ctx)
            return
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    child = Child(name="a", start=actor_of(stuck_at_first), stall_s=10, cleanup_s=5)
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as system:
        await anyio.sleep(17)
        assert system.tree.ready
        assert system.snapshot("a").restarts == system.snapshot("a").abandoned == 1
        release.set()
        await anyio.sleep(1)
        assert system.snapshot("a").abandoned == 0
        assert system.tree.ready


async def test_actors_that_keep_ignoring_their_cancellation_end_the_tree() -> None:
    release = anyio.Event()

    async def stall(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    child = Child(name="a", start=actor_of(stall), stall_s=100, cleanup_s=0)
    inner = Supervision(name="inner", children=(child,))
    with pytest.raises(TreeFailed, match="more than 10 actors ignored their cancellation"):
        await run_tree(Supervision(name="airy", children=(inner,)), clock=LoopClock(), seed=0)
    release.set()
    assert anyio.current_time() > 11 * 100


async def test_an_abandoned_actor_does_not_keep_its_event_loop_from_closing() -> None:
    """On trio it would: trio's loop cannot end before all tasks have."""

    async def hang_on(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True), ctx.waiting():
            await anyio.sleep_forever()

    def main() -> bool:
        child = Child(name="a", start=actor_of(hang_on), drain_s=0, cleanup_s=0)
        spec = Supervision(name="airy", children=(child,))

        async def run() -> None:
            with anyio.move_on_after(1):
                await run_tree(spec, clock=LoopClock(), seed=0)

        backend, options = asyncio_backend()
        anyio.run(run, backend=backend, backend_options=options)
        return True

    assert await anyio.to_thread.run_sync(main)


async def test_a_bug_of_the_runtime_leaves_no_actor_running(monkeypatch: pytest.MonkeyPatch) -> None:
    events = EventLog()

    def broken(*_: object) -> tuple[float, str]:
        raise ZeroDivisionError

    async def ready_later(ctx: Context) -> None:
        await anyio.sleep(1)
        monkeypatch.setattr(worker, "next_limit", broken)
        await ignore_draining(ctx)

    child = Child(name="a", start=actor_of(recording(events, ready_later)), ready_s=5)
    with pytest.raises(ExceptionGroup):
        await run_tree(Supervision(name="airy", children=(child,)), clock=LoopClock(), seed=0)
    await anyio.sleep(1)
    assert events.lines_of() == ["a start", "a cancel"]

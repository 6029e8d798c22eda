"""Several actors as one child."""

import anyio
import pytest

from airy.actors.runtime import Child, Combined, Context, Supervision
from tests.kit.running_tree import ActorBody, EventLog, actor_of, idle, recording, running


def combined(*bodies: ActorBody, stall_s: float = 10.0) -> Supervision:
    actors = [actor_of(body) for body in bodies]
    child = Child(name="a", start=lambda: Combined(*(make() for make in actors)), stall_s=stall_s, ready_s=60.0)
    return Supervision(name="airy", children=(child,))


async def test_it_is_ready_when_all_are() -> None:
    async def late(ctx: Context) -> None:
        with ctx.waiting():
            await anyio.sleep(20)
        await idle(ctx)

    async with running(combined(idle, late)) as system:
        await anyio.sleep(19)
        before = system.tree.ready
        await anyio.sleep(2)

        assert (before, system.tree.ready) == (False, True)


@pytest.mark.parametrize("stuck_first", [True, False])
async def test_a_loop_without_progress_is_a_stall_beside_one_that_waits(stuck_first: bool) -> None:
    async def stuck(ctx: Context) -> None:
        ctx.ready()
        await anyio.sleep_forever()

    bodies = (stuck, idle) if stuck_first else (idle, stuck)
    async with running(combined(*bodies)) as system:
        await anyio.sleep(11)

        assert system.snapshot("a").error == "Stalled: no progress for 10.0 s outside of ctx.waiting()"


async def test_two_loops_that_wait_as_expected_do_not_stall() -> None:
    async with running(combined(idle, idle)) as system:
        await anyio.sleep(100)

        assert system.snapshot("a").bugs == 0


async def test_an_error_of_one_ends_all_and_is_the_error_of_the_child() -> None:
    events = EventLog()

    async def crash(ctx: Context) -> None:
        await idle_for(ctx, 5)
        raise KeyError("k")

    async def idle_for(ctx: Context, for_s: float) -> None:
        ctx.ready()
        with ctx.waiting():
            await anyio.sleep(for_s)

    async with running(combined(recording(events, idle), crash)) as system:
        await anyio.sleep(5.1)

        assert system.snapshot("a").error == "KeyError: 'k'"
    assert events.lines_of()[:2] == ["a start", "a cancel"]


async def test_draining_reaches_all() -> None:
    events = EventLog()
    async with running(combined(recording(events, idle), recording(events, idle))):
        await anyio.sleep(1)
    assert sorted(events.lines_of()) == ["a return", "a return", "a start", "a start"]

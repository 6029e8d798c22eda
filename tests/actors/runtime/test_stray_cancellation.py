"""A cancellation that nobody asked for is a crash, on either event loop."""

import asyncio  # noqa: TID251 -- what libraries do with it is the subject
from contextlib import suppress

import anyio
import pytest

from airy.actors.runtime import Backoff, Child, Context, Supervision
from airy.actors.runtime.failure import essence
from tests.kit.stage import Journal, Script, acting, idle, noting, running
from tests.kit.world import asyncio_world

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)
STRAY = "StrayCancellation: cancelled by nobody: something it awaited was cancelled from elsewhere"
asyncio_only = pytest.mark.parametrize("anyio_backend", [asyncio_world()], ids=["asyncio"])


async def someone_elses_cancellation() -> BaseException:
    """The error that a cancelled scope delivers, kept by code that should have let it go."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as cancelled:
            return cancelled
    raise AssertionError


async def survived(script: Script) -> bool:
    """Plays a script once, next to a sibling: True if one bug was counted and only the actor restarted."""
    journal, falls = Journal(), [True]

    async def once(ctx: Context) -> None:
        ctx.ready()
        if not falls:
            await idle(ctx)
            return
        falls.clear()
        await script(ctx)

    children = (
        Child(name="a", start=acting(noting(journal, once))),
        Child(name="b", start=acting(noting(journal, idle))),
    )
    async with running(Supervision(name="airy", children=children, backoff=STEADY)) as stage:
        await anyio.sleep(5)
        assert stage.tree.ready
        assert stage.look("a").error == STRAY
        assert stage.look("a").bugs == 1
    return journal.times("b", "start") == [0.0] and journal.words("start").count("a start") == 2


async def test_a_cancellation_that_escaped_its_scope() -> None:
    async def leak(ctx: Context) -> None:
        raise await someone_elses_cancellation()

    assert await survived(leak)


async def test_a_cancellation_that_escaped_inside_a_group() -> None:
    async def leak(ctx: Context) -> None:
        raise BaseExceptionGroup("one", [await someone_elses_cancellation()])

    assert await survived(leak)


@asyncio_only
async def test_a_future_that_is_cancelled_by_its_owner() -> None:
    async def await_a_lost_future(ctx: Context) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert await survived(await_a_lost_future)


@asyncio_only
async def test_a_library_that_cancels_the_actors_own_task() -> None:
    async def cancelled_by_a_library(ctx: Context) -> None:
        task = asyncio.current_task()
        asyncio.get_running_loop().call_later(1, task.cancel)
        await anyio.sleep(2)

    assert await survived(cancelled_by_a_library)


@asyncio_only
async def test_a_library_task_that_is_cancelled_while_awaited() -> None:
    async def await_a_cancelled_task(ctx: Context) -> None:
        task = asyncio.get_running_loop().create_task(asyncio.sleep(10))
        asyncio.get_running_loop().call_later(1, task.cancel)
        await task

    assert await survived(await_a_cancelled_task)


async def test_a_bug_beside_a_cancellation_is_the_bug() -> None:
    async def both(ctx: Context) -> None:
        raise BaseExceptionGroup("two", [await someone_elses_cancellation(), KeyError("k")])

    child = Child(name="a", start=acting(both))
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as stage:
        await anyio.sleep(0.5)
        assert stage.look("a").error == "KeyError: 'k'"


async def test_the_cancellation_of_a_stop_is_not_stray_however_it_comes_out() -> None:
    async def wrap(ctx: Context) -> None:
        ctx.ready()
        try:
            with ctx.waiting():
                await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as cancelled:
            raise BaseExceptionGroup("wrapped", [cancelled]) from None

    child = Child(name="a", start=acting(wrap), drain_s=1)
    async with running(Supervision(name="airy", children=(child,))) as stage:
        await anyio.sleep(5)
    assert stage.look("a").error is None
    assert stage.look("a").bugs == 0


@asyncio_only
async def test_a_library_may_answer_a_stop_with_a_cancellation_of_its_own() -> None:
    async def cancel_anew(ctx: Context) -> None:
        ctx.ready()
        with suppress(asyncio.CancelledError), ctx.waiting():
            await anyio.sleep_forever()
        raise asyncio.CancelledError

    child = Child(name="a", start=acting(cancel_anew), drain_s=1)
    async with running(Supervision(name="airy", children=(child,))) as stage:
        await anyio.sleep(5)
    assert stage.look("a").error is None


@asyncio_only
async def test_an_interrupt_is_not_the_supervisors_to_keep() -> None:
    """Python delivers Ctrl-C and exits as exceptions; the runner must see them."""
    mixed = BaseExceptionGroup("mixed", [KeyboardInterrupt(), KeyError()])
    for error in (KeyboardInterrupt(), SystemExit(3), mixed):
        with pytest.raises(type(error)):
            essence(error)

"""A cancellation not requested by the supervisor is a crash, on either event loop."""

import asyncio  # noqa: TID251 -- the tests exercise libraries that use it
from contextlib import suppress

import anyio
import pytest

from airy.actors.runtime import Backoff, Child, Context, Supervision
from airy.actors.runtime.failure import primary_error
from tests.kit.event_loops import asyncio_backend
from tests.kit.running_tree import ActorBody, EventLog, actor_of, idle, recording, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)
STRAY = "StrayCancellation: cancelled, but not by its supervisor: something it awaited was cancelled elsewhere"
asyncio_only = pytest.mark.parametrize("anyio_backend", [asyncio_backend()], ids=["asyncio"])


async def someone_elses_cancellation() -> BaseException:
    """The error that a cancelled scope raises, captured by code that should have re-raised it."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as cancelled:
            return cancelled
    raise AssertionError


async def restarted_alone(body: ActorBody) -> bool:
    """Runs a body once, next to a sibling: True if one bug was counted and only that actor restarted."""
    events, falls = EventLog(), [True]

    async def once(ctx: Context) -> None:
        ctx.ready()
        if not falls:
            await idle(ctx)
            return
        falls.clear()
        await body(ctx)

    children = (
        Child(name="a", start=actor_of(recording(events, once))),
        Child(name="b", start=actor_of(recording(events, idle))),
    )
    async with running(Supervision(name="airy", children=children, backoff=STEADY)) as system:
        await anyio.sleep(5)
        assert system.tree.ready
        assert system.snapshot("a").error == STRAY
        assert system.snapshot("a").bugs == 1
    return events.times("b", "start") == [0.0] and events.lines_of("start").count("a start") == 2


async def test_a_cancellation_that_escaped_its_scope() -> None:
    async def leak(ctx: Context) -> None:
        raise await someone_elses_cancellation()

    assert await restarted_alone(leak)


async def test_a_cancellation_that_escaped_inside_a_group() -> None:
    async def leak(ctx: Context) -> None:
        raise BaseExceptionGroup("one", [await someone_elses_cancellation()])

    assert await restarted_alone(leak)


@asyncio_only
async def test_a_future_that_is_cancelled_by_its_owner() -> None:
    async def await_a_lost_future(ctx: Context) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert await restarted_alone(await_a_lost_future)


@asyncio_only
async def test_a_library_that_cancels_the_actors_own_task() -> None:
    async def cancelled_by_a_library(ctx: Context) -> None:
        task = asyncio.current_task()
        asyncio.get_running_loop().call_later(1, task.cancel)
        await anyio.sleep(2)

    assert await restarted_alone(cancelled_by_a_library)


@asyncio_only
async def test_a_library_task_that_is_cancelled_while_awaited() -> None:
    async def await_a_cancelled_task(ctx: Context) -> None:
        task = asyncio.get_running_loop().create_task(asyncio.sleep(10))
        asyncio.get_running_loop().call_later(1, task.cancel)
        await task

    assert await restarted_alone(await_a_cancelled_task)


async def test_a_bug_beside_a_cancellation_is_the_bug() -> None:
    async def both(ctx: Context) -> None:
        raise BaseExceptionGroup("two", [await someone_elses_cancellation(), KeyError("k")])

    child = Child(name="a", start=actor_of(both))
    async with running(Supervision(name="airy", children=(child,), backoff=STEADY)) as system:
        await anyio.sleep(0.5)
        assert system.snapshot("a").error == "KeyError: 'k'"


async def test_the_cancellation_of_a_stop_is_not_stray_in_whatever_form_it_is_raised() -> None:
    async def wrap(ctx: Context) -> None:
        ctx.ready()
        try:
            with ctx.waiting():
                await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as cancelled:
            raise BaseExceptionGroup("wrapped", [cancelled]) from None

    child = Child(name="a", start=actor_of(wrap), drain_s=1)
    async with running(Supervision(name="airy", children=(child,))) as system:
        await anyio.sleep(5)
    assert system.snapshot("a").error is None
    assert system.snapshot("a").bugs == 0


@asyncio_only
async def test_a_library_may_answer_a_stop_with_a_cancellation_of_its_own() -> None:
    async def cancel_anew(ctx: Context) -> None:
        ctx.ready()
        with suppress(asyncio.CancelledError), ctx.waiting():
            await anyio.sleep_forever()
        raise asyncio.CancelledError

    child = Child(name="a", start=actor_of(cancel_anew), drain_s=1)
    async with running(Supervision(name="airy", children=(child,))) as system:
        await anyio.sleep(5)
    assert system.snapshot("a").error is None


@asyncio_only
async def test_an_interrupt_passes_through_the_supervisor() -> None:
    """Python delivers Ctrl-C and exits as exceptions; the runner must see them."""
    mixed = BaseExceptionGroup("mixed", [KeyboardInterrupt(), KeyError()])
    for error in (KeyboardInterrupt(), SystemExit(3), mixed):
        with pytest.raises(type(error)):
            primary_error(error)

"""Which siblings each strategy restarts with the crashed child."""

import anyio
import pytest

from airy.actors.runtime import Backoff, Child, Context, Strategy, Supervision
from airy.errors import Unavailable
from tests.kit.running_tree import EventLog, actor_of, idle, recording, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


class Siblings:
    """Four siblings a b c d; `crash(name)` makes one of them fail now."""

    def __init__(self, strategy: Strategy, *, error: Exception | None = None, temporary: str = "") -> None:
        self.events = EventLog()
        self.error = error or RuntimeError("boom")
        self.falls = {name: anyio.Event() for name in "abcd"}
        children = tuple(
            Child(
                name=name,
                start=actor_of(recording(self.events, self.act)),
                restart="temporary" if name in temporary else "permanent",
            )
            for name in "abcd"
        )
        self.spec = Supervision(name="airy", strategy=strategy, children=children, backoff=STEADY)

    async def act(self, ctx: Context) -> None:
        name = ctx.path[-1]
        await anyio.sleep(0.1)
        self.events.record(ctx.path, "ready")
        ctx.ready()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._fall, name)
            with ctx.waiting():
                await ctx.draining.wait()
            tasks.cancel_scope.cancel()

    async def _fall(self, name: str) -> None:
        await self.falls[name].wait()
        self.falls[name] = anyio.Event()
        raise self.error

    async def crash(self, name: str, *, and_wait_s: float = 5.0) -> list[str]:
        """What was happened from the crash on."""
        self.events.lines.clear()
        self.falls[name].set()
        await anyio.sleep(and_wait_s)
        return self.events.lines_of("crash", "return", "start", "ready")


async def test_one_for_one_restarts_the_crashed_child_alone() -> None:
    siblings = Siblings("one_for_one")
    async with running(siblings.spec):
        await anyio.sleep(5)
        assert await siblings.crash("b") == ["b crash", "b start", "b ready"]


async def test_rest_for_one_stops_later_siblings_in_reverse_and_restarts_them_in_order() -> None:
    siblings = Siblings("rest_for_one")
    async with running(siblings.spec) as system:
        await anyio.sleep(5)
        assert await siblings.crash("b") == [
            "b crash",
            "d return",
            "c return",
            "b start",
            "b ready",
            "c start",
            "c ready",
            "d start",
            "d ready",
        ]
        assert system.tree.ready
        assert [system.snapshot(name).bugs for name in "abcd"] == [0, 1, 0, 0]
        assert [system.snapshot(name).restarts for name in "abcd"] == [0, 1, 1, 1]


async def test_one_for_all_stops_all_siblings_in_reverse_and_restarts_them_in_order() -> None:
    siblings = Siblings("one_for_all")
    async with running(siblings.spec) as system:
        await anyio.sleep(5)
        assert await siblings.crash("c") == [
            "c crash",
            "d return",
            "b return",
            "a return",
            "a start",
            "a ready",
            "b start",
            "b ready",
            "c start",
            "c ready",
            "d start",
            "d ready",
        ]
        assert siblings.events.times("a", "start")[0] - siblings.events.times("a", "return")[0] == 1.0
        assert system.tree.ready


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
async def test_an_unavailable_dependency_restarts_the_same_siblings_as_a_bug(strategy: Strategy) -> None:
    siblings = Siblings(strategy, error=Unavailable("gone"))
    async with running(siblings.spec) as system:
        await anyio.sleep(5)
        happened = await siblings.crash("a")
        assert happened[:4] == ["a crash", "d return", "c return", "b return"]
        assert happened[-1] == "d ready"
        assert [system.snapshot(name).bugs for name in "abcd"] == [0, 0, 0, 0]


async def test_an_earlier_sibling_that_crashes_while_later_ones_restart_restarts_them_again() -> None:
    siblings = Siblings("rest_for_one")
    async with running(siblings.spec) as system:
        await anyio.sleep(5)
        await siblings.crash("c", and_wait_s=0.5)
        happened = await siblings.crash("a")
        assert happened == [
            "a crash",
            "b return",
            "a start",
            "a ready",
            "b start",
            "b ready",
            "c start",
            "c ready",
            "d start",
            "d ready",
        ]
        assert system.tree.ready


async def test_a_temporary_sibling_is_stopped_and_not_restarted() -> None:
    siblings = Siblings("one_for_all", temporary="b")
    async with running(siblings.spec) as system:
        await anyio.sleep(5)
        happened = await siblings.crash("a")
        assert "b return" in happened
        assert "b start" not in happened
        assert system.tree.ready


async def test_a_temporary_sibling_that_was_not_started_yet_is_still_started() -> None:
    siblings = Siblings("one_for_all", temporary="d")
    async with running(siblings.spec) as system:
        await anyio.sleep(0.15)
        happened = await siblings.crash("a")
        assert happened[-2:] == ["d start", "d ready"]
        assert system.tree.ready


async def test_the_crash_of_a_temporary_child_restarts_no_sibling() -> None:
    siblings = Siblings("one_for_all", temporary="b")
    async with running(siblings.spec):
        await anyio.sleep(5)
        assert await siblings.crash("b") == ["b crash"]


async def test_a_child_that_has_ended_is_not_started_when_its_siblings_restart() -> None:
    events = EventLog()
    fall = anyio.Event()

    async def work(ctx: Context) -> None:
        ctx.ready()

    async def crash_once(ctx: Context) -> None:
        ctx.ready()
        if fall.is_set():
            await idle(ctx)
            return
        await fall.wait()
        raise RuntimeError("boom")

    children = (
        Child(name="job", start=actor_of(recording(events, work)), restart="transient"),
        Child(name="a", start=actor_of(recording(events, crash_once))),
    )
    spec = Supervision(name="airy", strategy="one_for_all", children=children, backoff=STEADY)
    async with running(spec) as system:
        await anyio.sleep(1)
        fall.set()
        await anyio.sleep(5)
        assert system.tree.ready
    assert events.lines_of("start") == ["job start", "a start", "a start"]


async def test_a_nested_supervisor_is_stopped_and_restarted_as_one_sibling() -> None:
    events = EventLog()
    fall = anyio.Event()

    async def crash_once(ctx: Context) -> None:
        ctx.ready()
        if fall.is_set():
            await idle(ctx)
            return
        await fall.wait()
        raise RuntimeError("boom")

    inner = Supervision(
        name="inner", children=tuple(Child(name=name, start=actor_of(recording(events, idle))) for name in "xy")
    )
    children = (Child(name="a", start=actor_of(recording(events, crash_once))), inner)
    spec = Supervision(name="airy", strategy="rest_for_one", children=children, backoff=STEADY)
    async with running(spec) as system:
        await anyio.sleep(1)
        events.lines.clear()
        fall.set()
        await anyio.sleep(5)
        assert events.lines_of() == ["a crash", "y return", "x return", "a start", "x start", "y start"]
        assert system.snapshot("inner").bugs == 0
        assert system.snapshot("inner").restarts == 1
        assert system.tree.ready

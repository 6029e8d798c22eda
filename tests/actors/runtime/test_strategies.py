"""Who is restarted together with the one that crashed."""

import anyio
import pytest

from airy.actors.runtime import Backoff, Child, Context, Strategy, Supervision
from airy.errors import Unavailable
from tests.kit.stage import Journal, acting, idle, noting, running

STEADY = Backoff(initial_s=1, factor=1, ceiling_s=1, jitter=0)


class Play:
    """Four siblings a b c d; `crash(name)` makes one of them fail now."""

    def __init__(self, strategy: Strategy, *, error: Exception | None = None, temporary: str = "") -> None:
        self.journal = Journal()
        self.error = error or RuntimeError("boom")
        self.falls = {name: anyio.Event() for name in "abcd"}
        children = tuple(
            Child(
                name=name,
                start=acting(noting(self.journal, self.act)),
                restart="temporary" if name in temporary else "permanent",
            )
            for name in "abcd"
        )
        self.plan = Supervision(name="airy", strategy=strategy, children=children, backoff=STEADY)

    async def act(self, ctx: Context) -> None:
        name = ctx.path[-1]
        await anyio.sleep(0.1)
        self.journal.note(ctx.path, "ready")
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
        """What was said from the crash on."""
        self.journal.lines.clear()
        self.falls[name].set()
        await anyio.sleep(and_wait_s)
        return self.journal.words("crash", "return", "start", "ready")


async def test_one_for_one_restarts_the_crashed_child_alone() -> None:
    play = Play("one_for_one")
    async with running(play.plan):
        await anyio.sleep(5)
        assert await play.crash("b") == ["b crash", "b start", "b ready"]


async def test_rest_for_one_stops_the_younger_in_reverse_and_starts_them_again_in_order() -> None:
    play = Play("rest_for_one")
    async with running(play.plan) as stage:
        await anyio.sleep(5)
        assert await play.crash("b") == [
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
        assert stage.tree.ready
        assert [stage.look(name).bugs for name in "abcd"] == [0, 1, 0, 0]
        assert [stage.look(name).restarts for name in "abcd"] == [0, 1, 1, 1]


async def test_one_for_all_stops_everybody_in_reverse_and_starts_them_again_in_order() -> None:
    play = Play("one_for_all")
    async with running(play.plan) as stage:
        await anyio.sleep(5)
        assert await play.crash("c") == [
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
        assert play.journal.times("a", "start")[0] - play.journal.times("a", "return")[0] == 1.0
        assert stage.tree.ready


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
async def test_a_missing_dependency_moves_the_same_siblings_as_a_bug(strategy: Strategy) -> None:
    play = Play(strategy, error=Unavailable("gone"))
    async with running(play.plan) as stage:
        await anyio.sleep(5)
        said = await play.crash("a")
        assert said[:4] == ["a crash", "d return", "c return", "b return"]
        assert said[-1] == "d ready"
        assert [stage.look(name).bugs for name in "abcd"] == [0, 0, 0, 0]


async def test_an_elder_that_crashes_while_its_younger_restart_starts_the_rest_over() -> None:
    play = Play("rest_for_one")
    async with running(play.plan) as stage:
        await anyio.sleep(5)
        await play.crash("c", and_wait_s=0.5)
        said = await play.crash("a")
        assert said == [
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
        assert stage.tree.ready


async def test_a_temporary_sibling_is_stopped_and_stays_so() -> None:
    play = Play("one_for_all", temporary="b")
    async with running(play.plan) as stage:
        await anyio.sleep(5)
        said = await play.crash("a")
        assert "b return" in said
        assert "b start" not in said
        assert stage.tree.ready


async def test_a_temporary_sibling_that_had_no_turn_yet_still_gets_it() -> None:
    play = Play("one_for_all", temporary="d")
    async with running(play.plan) as stage:
        await anyio.sleep(0.15)
        said = await play.crash("a")
        assert said[-2:] == ["d start", "d ready"]
        assert stage.tree.ready


async def test_the_crash_of_a_temporary_child_moves_nobody() -> None:
    play = Play("one_for_all", temporary="b")
    async with running(play.plan):
        await anyio.sleep(5)
        assert await play.crash("b") == ["b crash"]


async def test_who_is_done_stays_done_when_its_siblings_restart() -> None:
    journal = Journal()
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
        Child(name="job", start=acting(noting(journal, work)), restart="transient"),
        Child(name="a", start=acting(noting(journal, crash_once))),
    )
    plan = Supervision(name="airy", strategy="one_for_all", children=children, backoff=STEADY)
    async with running(plan) as stage:
        await anyio.sleep(1)
        fall.set()
        await anyio.sleep(5)
        assert stage.tree.ready
    assert journal.words("start") == ["job start", "a start", "a start"]


async def test_a_nested_supervisor_is_stopped_and_restarted_as_one_sibling() -> None:
    journal = Journal()
    fall = anyio.Event()

    async def crash_once(ctx: Context) -> None:
        ctx.ready()
        if fall.is_set():
            await idle(ctx)
            return
        await fall.wait()
        raise RuntimeError("boom")

    inner = Supervision(
        name="inner", children=tuple(Child(name=name, start=acting(noting(journal, idle))) for name in "xy")
    )
    children = (Child(name="a", start=acting(noting(journal, crash_once))), inner)
    plan = Supervision(name="airy", strategy="rest_for_one", children=children, backoff=STEADY)
    async with running(plan) as stage:
        await anyio.sleep(1)
        journal.lines.clear()
        fall.set()
        await anyio.sleep(5)
        assert journal.words() == ["a crash", "y return", "x return", "a start", "x start", "y start"]
        assert stage.look("inner").bugs == 0
        assert stage.look("inner").restarts == 1
        assert stage.tree.ready

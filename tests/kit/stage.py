"""A stage for actors: scripts to play, a journal of what they did and when, a tree that runs while a test
looks on.

The scripts are coroutines, `async def script(ctx)`; `acting` makes the factory of a child out of one. The
journal only has what the scripts themselves say.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING

import anyio
import structlog
from structlog.testing import LogCapture

from airy.actors.runtime import Actor, Context, Snapshot, Supervision, Tree, run_tree
from airy.bus.api import Pulse
from airy.clock import LoopClock

if TYPE_CHECKING:  # two protocols that never meet in the package: whoever runs a loop, and what the loop needs

    def _a_context_is_a_pulse(ctx: Context) -> Pulse:
        return ctx


Script = Callable[[Context], Awaitable[None]]


class _Player:
    def __init__(self, script: Script) -> None:
        self._script = script

    async def run(self, ctx: Context) -> None:
        await self._script(ctx)


def acting(script: Script) -> Callable[[], Actor]:
    return lambda: _Player(script)


async def idle(ctx: Context) -> None:
    """Ready at once, waits on purpose until told to stop, ends at once."""
    ctx.ready()
    with ctx.waiting():
        await ctx.draining.wait()


class Journal:
    """Lines of (seconds since it was opened, who, what)."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self._opened_at = anyio.current_time()

    def note(self, who: str, what: str) -> None:
        self.lines.append((round(anyio.current_time() - self._opened_at, 3), who.rpartition("/")[2], what))

    def words(self, *only: str) -> list[str]:
        """`who what`, in order; with `only`, just those whats."""
        return [f"{who} {what}" for _, who, what in self.lines if not only or what in only]

    def times(self, who: str, what: str) -> list[float]:
        return [at for at, actor, said in self.lines if (actor, said) == (who, what)]


def noting(journal: Journal, script: Script) -> Script:
    """Notes `start` and how the script ends: `return`, `cancel` or `crash`."""

    async def played(ctx: Context) -> None:
        journal.note(ctx.path, "start")
        try:
            await script(ctx)
        except anyio.get_cancelled_exc_class():
            journal.note(ctx.path, "cancel")
            raise
        except Exception:
            journal.note(ctx.path, "crash")
            raise
        journal.note(ctx.path, "return")

    return played


class Stage:
    """A running tree and what it logged."""

    def __init__(self, tree: Tree, capture: LogCapture) -> None:
        self.tree = tree
        self._capture = capture

    def look(self, *names: str) -> Snapshot:
        """The node at this path below the root, now."""
        node = self.tree.snapshot()
        for name in names:
            node = next(child for child in node.children if child.path == f"{node.path}/{name}")
        return node

    def logged(self, event: str) -> list[str]:
        """Paths of the nodes that logged an event beginning with these words, in order."""
        return [line["path"] for line in self._capture.entries if line["event"].startswith(event)]


@asynccontextmanager
async def running(plan: Supervision, *, seed: int = 0, drain_s: float = inf) -> AsyncIterator[Stage]:
    """Runs the tree meanwhile; on leaving, stops it and waits for its end."""
    stop, started, capture = anyio.Event(), anyio.Event(), LogCapture()
    trees: list[Tree] = []

    def on_start(tree: Tree) -> None:
        trees.append(tree)
        started.set()

    async def run() -> None:
        log = structlog.wrap_logger(None, processors=[capture])
        await run_tree(plan, clock=LoopClock(), seed=seed, log=log, stop=stop, drain_s=drain_s, on_start=on_start)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await started.wait()
            yield Stage(trees[0], capture)
            stop.set()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # the failure of the test, or of the tree, as itself
            raise group.exceptions[0] from None
        raise

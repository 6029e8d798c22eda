"""Actors from coroutines, a log of what they did and when, and a tree that runs while a test inspects it.

`actor_of` turns a coroutine function `async def body(ctx)` into the factory of a child. The event log holds only what
the bodies record themselves.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING

import anyio
import structlog
from structlog.testing import LogCapture

from airy.actors.runtime import Actor, Context, Snapshot, Supervision, Tree, run_tree
from airy.clock import LoopClock
from airy.lifecycle import Lifecycle

if TYPE_CHECKING:  # the package never needs both: an actor's context, and what a bus loop takes

    def _a_context_is_a_lifecycle(ctx: Context) -> Lifecycle:
        return ctx


ActorBody = Callable[[Context], Awaitable[None]]


class _BodyActor:
    def __init__(self, body: ActorBody) -> None:
        self._body = body

    async def run(self, ctx: Context) -> None:
        await self._body(ctx)


def actor_of(body: ActorBody) -> Callable[[], Actor]:
    return lambda: _BodyActor(body)


async def idle(ctx: Context) -> None:
    """Ready at once, waits until it is stopped, ends at once."""
    ctx.ready()
    with ctx.waiting():
        await ctx.draining.wait()


class EventLog:
    """Entries of (seconds since creation, actor name, event)."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self._created_at = anyio.current_time()

    def record(self, path: str, event: str) -> None:
        self.lines.append((round(anyio.current_time() - self._created_at, 3), path.rpartition("/")[2], event))

    def lines_of(self, *only: str) -> list[str]:
        """`actor event`, in order; with `only`, just those events."""
        return [f"{actor} {event}" for _, actor, event in self.lines if not only or event in only]

    def times(self, actor: str, event: str) -> list[float]:
        return [at for at, *entry in self.lines if entry == [actor, event]]


def recording(events: EventLog, body: ActorBody) -> ActorBody:
    """Records `start` and how the body ends: `return`, `cancel` or `crash`."""

    async def recorded(ctx: Context) -> None:
        events.record(ctx.path, "start")
        try:
            await body(ctx)
        except anyio.get_cancelled_exc_class():
            events.record(ctx.path, "cancel")
            raise
        except Exception:
            events.record(ctx.path, "crash")
            raise
        events.record(ctx.path, "return")

    return recorded


class RunningTree:
    """A running tree and its log."""

    def __init__(self, tree: Tree, capture: LogCapture) -> None:
        self.tree = tree
        self._capture = capture

    def snapshot(self, *names: str) -> Snapshot:
        """The node at this path below the root, now."""
        node = self.tree.snapshot()
        for name in names:
            node = next(child for child in node.children if child.path == f"{node.path}/{name}")
        return node

    def logged(self, event: str) -> list[str]:
        """Paths of the nodes that logged an event with this prefix, in order."""
        return [line["path"] for line in self._capture.entries if line["event"].startswith(event)]


@asynccontextmanager
async def running(spec: Supervision, *, seed: int = 0, drain_s: float = inf) -> AsyncIterator[RunningTree]:
    """Runs the tree inside the block; on leaving, stops it and waits for its end."""
    stop, started, capture = anyio.Event(), anyio.Event(), LogCapture()
    trees: list[Tree] = []

    def on_start(tree: Tree) -> None:
        trees.append(tree)
        started.set()

    async def run() -> None:
        log = structlog.wrap_logger(None, processors=[capture])
        await run_tree(spec, clock=LoopClock(), seed=seed, log=log, stop=stop, drain_s=drain_s, on_start=on_start)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await started.wait()
            yield RunningTree(trees[0], capture)
            stop.set()
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:  # raise the failure of the test or of the tree unwrapped
            raise group.exceptions[0] from None
        raise

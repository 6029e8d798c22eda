"""Runs a tree from its plan, and shows it while it runs."""

from collections.abc import Callable
from math import inf
from random import SystemRandom

import anyio
import structlog
from structlog.typing import FilteringBoundLogger

from airy.actors.runtime.failure import TreeFailed
from airy.actors.runtime.plan import Supervision
from airy.actors.runtime.run import Run
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.supervisor import Supervisor
from airy.clock import Clock


class Tree:
    """A running tree, for health endpoints, the console and tests. Every call is cheap and none waits."""

    def __init__(self, root: Supervisor, run: Run) -> None:
        self._root = root
        self._run = run

    def snapshot(self) -> Snapshot:
        return self._root.snapshot()

    def stop(self, *, hurry: bool = False) -> None:
        """Drain and end; `hurry` skips the draining. Asking twice changes nothing."""
        self._root.stop(hurry=hurry)

    @property
    def ready(self) -> bool:
        """All children are ready: none is starting, restarting or backing off for a dependency."""
        return self._root.settled

    @property
    def alive(self) -> bool:
        """The kernel itself makes progress. Nothing about dependencies: restarting would not help those."""
        return self._root.live and self._root.on_time(anyio.current_time())

    @property
    def abandoned(self) -> list[str]:
        """Paths of incarnations that ignored their cancellation and still run, once for each."""
        return self._run.abandoned()


async def run_tree(
    plan: Supervision,
    *,
    clock: Clock,
    seed: int | None = None,
    log: FilteringBoundLogger | None = None,
    stop: anyio.Event | None = None,
    drain_s: float = inf,
    on_start: Callable[[Tree], None] | None = None,
) -> None:
    """Until everything is done, or stopped, or the root gives up: `TreeFailed`.

    `stop` drains, child after child and each within its own limit; after `drain_s` those that are left are not waited
    for any more: they are cancelled, and clean up. Cancelling this call skips the draining and still cleans up within
    the limits. Either way it returns in bounded time. What was abandoned then still runs; a process should end hard if
    `Tree.abandoned` is not empty.
    """
    run_seed = SystemRandom().getrandbits(128) if seed is None else seed
    run = Run(clock=clock, seed=run_seed, log=log or structlog.get_logger())
    root = Supervisor(plan, plan.name, run, changed=lambda: None)
    root.begin()
    if on_start is not None:
        on_start(Tree(root, run))
    async with anyio.create_task_group() as tasks:
        if stop is not None:
            tasks.start_soon(_heed, stop, root, drain_s)
        tasks.start_soon(_live, root, tasks.cancel_scope, name=plan.name)
        try:
            await anyio.sleep_forever()
        finally:
            root.stop(hurry=True)
    root.finish()
    if root.outcome is not None and root.outcome.ending == "bug":
        raise TreeFailed(f"the root supervisor gave up: {root.outcome.error}") from root.outcome.error


async def _live(root: Supervisor, everything: anyio.CancelScope) -> None:
    """Shielded: a cancellation from outside must become a stop in order and within limits."""
    with anyio.CancelScope(shield=True):
        await root.incarnate()
    everything.cancel()


async def _heed(stop: anyio.Event, root: Supervisor, drain_s: float) -> None:
    await stop.wait()
    root.stop()
    with anyio.move_on_after(drain_s):
        await anyio.sleep_forever()
    root.stop(hurry=True)

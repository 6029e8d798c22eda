"""Runs a tree from its specification and exposes its state while it runs."""

from collections.abc import Callable
from math import inf
from random import SystemRandom

import anyio
import structlog
from structlog.typing import FilteringBoundLogger

from airy.actors.runtime.failure import TreeFailed
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.spec import Supervision
from airy.actors.runtime.supervisor import Supervisor
from airy.actors.runtime.tree_state import TreeState
from airy.clock import Clock


class Tree:
    """A running tree, for health endpoints, the console and tests. No method waits."""

    def __init__(self, root: Supervisor, state: TreeState) -> None:
        self._root = root
        self._state = state

    def snapshot(self) -> Snapshot:
        return self._root.snapshot()

    def stop(self, *, immediate: bool = False) -> None:
        """Drain and end; `immediate` skips the draining. Idempotent."""
        self._root.stop(immediate=immediate)

    @property
    def ready(self) -> bool:
        """Every actor is ready or has ended for good: none is starting, restarting or backing off."""
        return self._root.settled

    @property
    def alive(self) -> bool:
        """The runtime itself makes progress. Independent of dependencies: a restart would not help those."""
        return self._root.live and self._root.responsive(anyio.current_time())

    @property
    def abandoned(self) -> list[str]:
        """Paths of actors that ignored their cancellation and still run, one entry for each run."""
        return self._state.abandoned()


async def run_tree(
    spec: Supervision,
    *,
    clock: Clock,
    seed: int | None = None,
    log: FilteringBoundLogger | None = None,
    stop: anyio.Event | None = None,
    drain_s: float = inf,
    on_start: Callable[[Tree], None] | None = None,
) -> None:
    """Runs until every child has ended, `stop` is set, or the root supervisor fails (`TreeFailed`), or
    an actor raises `Misconfigured`, which is raised again.

    `stop` drains, child after child and each within its own limit; after `drain_s` the remaining ones are cancelled and
    clean up. Cancelling this call skips the draining and still cleans up within the limits. Either way it returns in
    bounded time. Abandoned actors then still run: a process should exit hard if `Tree.abandoned` is not empty.
    """
    run_seed = SystemRandom().getrandbits(128) if seed is None else seed
    state = TreeState(clock=clock, seed=run_seed, log=log or structlog.get_logger())
    root = Supervisor(spec, spec.name, state, on_change=lambda: None)
    root.start()
    if on_start is not None:
        on_start(Tree(root, state))
    async with anyio.create_task_group() as tasks:
        if stop is not None:
            tasks.start_soon(_stop_on, stop, root, drain_s)
        tasks.start_soon(_run_root, root, tasks.cancel_scope, name=spec.name)
        try:
            await anyio.sleep_forever()
        finally:
            root.stop(immediate=True)
    root.close()
    if root.exit is not None and root.exit.kind == "misconfigured" and root.exit.error is not None:
        raise root.exit.error
    if root.exit is not None and root.exit.kind == "bug":
        raise TreeFailed(f"the root supervisor failed: {root.exit.error}") from root.exit.error


async def _run_root(root: Supervisor, everything: anyio.CancelScope) -> None:
    """Shielded: a cancellation from outside becomes an ordered stop within the limits."""
    with anyio.CancelScope(shield=True):
        await root.run_once()
    everything.cancel()


async def _stop_on(stop: anyio.Event, root: Supervisor, drain_s: float) -> None:
    await stop.wait()
    root.stop()
    with anyio.move_on_after(drain_s):
        await anyio.sleep_forever()
    root.stop(immediate=True)

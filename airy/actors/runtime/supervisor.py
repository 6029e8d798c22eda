"""Starts, restarts and stops the children of one supervision.

One loop without event handlers: each turn inspects all children, does the one thing that is due (handle an exit, stop
what must stop, start what may start) and waits for the next change or back-off. An event that arrives during a turn is
seen in the next one, so every strategy has the same order of operations.
"""

from collections.abc import Callable, Sequence
from math import inf

import anyio
from anyio.abc import TaskGroup

from airy.actors.runtime.child_state import ChildState
from airy.actors.runtime.failure import ActorExit, TooManyAbandoned, TooManyBugs, crash
from airy.actors.runtime.node import Node
from airy.actors.runtime.restart_intensity import RestartIntensity
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.spec import Child, Supervision
from airy.actors.runtime.tree_state import ABANDONED_MAX, TreeState
from airy.actors.runtime.worker import Worker
from airy.errors import Unavailable


class Supervisor(Node):
    def __init__(self, spec: Supervision, path: str, state: TreeState, on_change: Callable[[], None]) -> None:
        super().__init__(path, state, on_change)
        self._spec = spec
        self._nodes = [self._build(child, f"{path}/{child.name}") for child in spec.children]
        self._children: list[ChildState] = []
        self._intensity = RestartIntensity(bugs_max=spec.bugs_max, period_s=spec.bugs_period_s)

    def start(self) -> None:
        """A restarted supervisor keeps nothing of its earlier run: neither counted bugs nor ended children."""
        super().start()
        self._intensity = RestartIntensity(bugs_max=self._spec.bugs_max, period_s=self._spec.bugs_period_s)
        self._children = [
            ChildState(node, temporary=isinstance(child, Child) and child.restart == "temporary")
            for node, child in zip(self._nodes, self._spec.children, strict=True)
        ]
        for node in self._nodes:
            node.exit = None

    @property
    def settled(self) -> bool:
        """Everything below is ready or has ended for good."""
        return self.phase == "ready" and all(
            child.settled and (not isinstance(child.node, Supervisor) or not child.wanted or child.node.settled)
            for child in self._children
        )

    def close(self) -> None:
        for node in self._nodes:
            node.close()

    def snapshot(self) -> Snapshot:
        return Snapshot(
            path=self.path,
            phase=self.phase,
            restarts=self.restarts,
            bugs=self.bugs,
            error=self.error,
            children=tuple(node.snapshot() for node in self._nodes),
        )

    def responsive(self, now: float) -> bool:
        return all(node.responsive(now) for node in self._nodes)

    async def _run(self) -> ActorExit:
        async with anyio.create_task_group() as tasks:
            failure = await self._supervise(tasks)
        if failure is not None:
            return crash(failure)
        return ActorExit("stopped" if self._stop_at is not None else "returned")

    async def _supervise(self, tasks: TaskGroup) -> Exception | None:
        """Until no child runs: stopped, all ended for good, or failed with the returned error."""
        while True:
            failure = self._handle_exits()
            if failure is not None or self._stop_at is not None:
                await self._stop_children(self._children)
                return failure
            if any(child.must_stop for child in self._children):
                await self._stop_children([child for child in self._children if child.must_stop])
                continue
            if not any(child.wanted for child in self._children):
                return None
            self._start_due(tasks)
            if all(child.settled for child in self._children):
                self._become_ready()
            await self._wakeup.wait(until=self._next_start_at())

    def _handle_exits(self) -> Exception | None:
        """Decide about every child that has ended. Returns the error that ends this supervisor, if any."""
        for child in self._children:
            result, child.node.exit = child.node.exit, None
            if result is None:
                continue
            if result.kind == "misconfigured":
                return result.error
            if result.kind == "returned" or child.temporary:
                self._end_for_good(child, result)
            elif result.kind != "stopped" and not self._schedule_restart(child, result):
                return self._intensity_exceeded(child.node, result)
            if len(self.state.abandoned()) > ABANDONED_MAX:
                return TooManyAbandoned(f"more than {ABANDONED_MAX} actors ignored their cancellation and still run")
        return None

    def _intensity_exceeded(self, node: Node, result: ActorExit) -> TooManyBugs:
        failure = TooManyBugs(
            f"more than {self._spec.bugs_max} bugs within {self._spec.bugs_period_s} s, "
            f"the latest in {node.path}: {node.error}"
        )
        failure.__cause__ = result.error
        return failure

    def _end_for_good(self, child: ChildState, result: ActorExit) -> None:
        child.wanted = False
        child.node.close()
        if result.kind in ("bug", "unavailable"):
            child.node.log.error("actor.crashed", exc_info=result.error)

    def _schedule_restart(self, child: ChildState, result: ActorExit) -> bool:
        """Restart it after a back-off, with the siblings the strategy selects. False: restart intensity exceeded."""
        now, node, error = anyio.current_time(), child.node, result.error
        up_s = now - node.ready_at if node.ready_at is not None else 0.0
        child.failures = 1 if up_s >= self._spec.backoff.reset_s else child.failures + 1
        at_least_s = (error.retry_after_s or 0.0) if isinstance(error, Unavailable) else 0.0
        delay_s = self._spec.backoff.delay_s(child.failures, self.random, at_least_s=at_least_s)
        if result.kind == "unavailable":
            node.log.warning("actor.dependency_unavailable", error=node.error, in_s=round(delay_s, 3))
        elif self._intensity.record(now):
            node.log.error("actor.restarting", exc_info=error, in_s=round(delay_s, 3))
        else:
            node.log.error("actor.restart_limit_exceeded", exc_info=error)
            return False
        node.back_off()
        child.start_at = now + delay_s
        for other in self._restarted_with(child):
            other.waits_for_earlier = True
            other.start_at = max(other.start_at, child.start_at)
            other.must_stop = other.node.live
        return True

    def _restarted_with(self, child: ChildState) -> Sequence[ChildState]:
        """The children to restart in order, `child` included; none if it restarts alone."""
        if self._spec.strategy == "one_for_one":
            return ()
        if self._spec.strategy == "one_for_all":
            return self._children
        return self._children[self._children.index(child) :]

    async def _stop_children(self, children: Sequence[ChildState]) -> None:
        """In reverse start order, each to its end. Bounded by the limits of the children."""
        for child in reversed(children):
            child.must_stop = False
            child.node.cancel_backoff()
            child.node.stop(immediate=self._immediate)
            while child.node.live:
                await self._wakeup.wait(until=inf)
                if self._immediate:
                    child.node.stop(immediate=True)

    def _start_due(self, tasks: TaskGroup) -> None:
        now, earlier_settled = anyio.current_time(), True
        for child in self._children:
            idle = child.wanted and not child.node.live
            if idle and child.start_at <= now and (earlier_settled or not child.waits_for_earlier):
                child.waits_for_earlier = False
                child.node.start()
                tasks.start_soon(child.node.run_once, name=child.node.path)
            earlier_settled = earlier_settled and child.settled

    def _next_start_at(self) -> float:
        now = anyio.current_time()
        starts = [child.start_at for child in self._children if child.wanted and not child.node.live]
        return min((at for at in starts if at > now), default=inf)

    def _build(self, spec: Child | Supervision, path: str) -> Node:
        if isinstance(spec, Child):
            return Worker(spec, path, self.state, self._wakeup.set)
        return Supervisor(spec, path, self.state, self._wakeup.set)

"""Keeps the children of one supervision as its plan wants them.

One loop that is told nothing: it looks at its seats, does the one thing that is due (judge an end, stop what
must stop, start what may start) and waits for the next change or back-off. So an event that comes in the
middle of another is only seen one turn later, and there is one order of things for every strategy.
"""

from collections.abc import Callable, Sequence
from math import inf

import anyio
from anyio.abc import TaskGroup

from airy.actors.runtime.budget import Budget
from airy.actors.runtime.failure import Outcome, TooManyAbandoned, TooManyBugs
from airy.actors.runtime.node import Node
from airy.actors.runtime.plan import Child, Supervision
from airy.actors.runtime.run import ABANDONED_MAX, Run
from airy.actors.runtime.seat import Seat
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.worker import Worker
from airy.errors import Unavailable


class Supervisor(Node):
    def __init__(self, plan: Supervision, path: str, run: Run, changed: Callable[[], None]) -> None:
        super().__init__(path, run, changed)
        self._plan = plan
        self._nodes = [self._build(child, f"{path}/{child.name}") for child in plan.children]
        self._seats: list[Seat] = []
        self._budget = Budget(bugs_max=plan.bugs_max, period_s=plan.bugs_period_s)

    def begin(self) -> None:
        """Nothing is kept of an earlier incarnation: neither its budget nor who was done."""
        super().begin()
        self._budget = Budget(bugs_max=self._plan.bugs_max, period_s=self._plan.bugs_period_s)
        self._seats = [
            Seat(node, temporary=isinstance(child, Child) and child.restart == "temporary")
            for node, child in zip(self._nodes, self._plan.children, strict=True)
        ]
        for node in self._nodes:
            node.outcome = None

    @property
    def settled(self) -> bool:
        """Ready all the way down, now."""
        return self.phase == "ready" and all(
            seat.settled and (not isinstance(seat.node, Supervisor) or not seat.wanted or seat.node.settled)
            for seat in self._seats
        )

    def finish(self) -> None:
        for node in self._nodes:
            node.finish()

    def snapshot(self) -> Snapshot:
        return Snapshot(
            path=self.path,
            phase=self.phase,
            restarts=self.restarts,
            bugs=self.bugs,
            error=self.error,
            children=tuple(node.snapshot() for node in self._nodes),
        )

    def on_time(self, now: float) -> bool:
        return all(node.on_time(now) for node in self._nodes)

    async def _live(self) -> Outcome:
        async with anyio.create_task_group() as tasks:
            failure = await self._govern(tasks)
        if failure is not None:
            return Outcome("bug", failure)
        return Outcome("stopped" if self._stop_at is not None else "returned")

    async def _govern(self, tasks: TaskGroup) -> Exception | None:
        """Until no child is left: stopped, all done, or given up with the reason."""
        while True:
            failure = self._judge_ends()
            if failure is not None or self._stop_at is not None:
                await self._stop_seats(self._seats)
                return failure
            if any(seat.must_stop for seat in self._seats):
                await self._stop_seats([seat for seat in self._seats if seat.must_stop])
                continue
            if not any(seat.wanted for seat in self._seats):
                return None
            self._start_due(tasks)
            if all(seat.settled for seat in self._seats):
                self._become_ready()
            await self._bell.wait(until=self._next_due())

    def _judge_ends(self) -> Exception | None:
        """Decide about every child that has ended. An error: there were too many bugs."""
        for seat in self._seats:
            outcome, seat.node.outcome = seat.node.outcome, None
            if outcome is None:
                continue
            if outcome.ending == "returned" or seat.temporary:
                self._dismiss(seat, outcome)
            elif outcome.ending != "stopped" and not self._schedule(seat, outcome):
                return self._over_budget(seat.node, outcome)
            if len(self.run.abandoned()) > ABANDONED_MAX:
                return TooManyAbandoned(f"more than {ABANDONED_MAX} ignored their cancellation and still run")
        return None

    def _over_budget(self, node: Node, outcome: Outcome) -> TooManyBugs:
        failure = TooManyBugs(
            f"more than {self._plan.bugs_max} bugs within {self._plan.bugs_period_s} s, "
            f"the latest in {node.path}: {node.error}"
        )
        failure.__cause__ = outcome.error
        return failure

    def _dismiss(self, seat: Seat, outcome: Outcome) -> None:
        seat.wanted = False
        seat.node.finish()
        if outcome.ending in ("bug", "unavailable"):
            seat.node.log.error("crashed, is not restarted", exc_info=outcome.error)

    def _schedule(self, seat: Seat, outcome: Outcome) -> bool:
        """Restart it after a back-off, with the siblings the strategy names. False: over budget."""
        now, node, error = anyio.current_time(), seat.node, outcome.error
        up_s = now - node.ready_at if node.ready_at is not None else 0.0
        seat.failures = 1 if up_s >= self._plan.backoff.reset_s else seat.failures + 1
        wish_s = (error.retry_after_s or 0.0) if isinstance(error, Unavailable) else 0.0
        delay_s = self._plan.backoff.delay_s(seat.failures, self.random, at_least_s=wish_s)
        if outcome.ending == "unavailable":
            node.log.warning("dependency unavailable, tries again", error=node.error, in_s=round(delay_s, 3))
        elif self._budget.spend(now):
            node.log.error("crashed, restarts", exc_info=error, in_s=round(delay_s, 3))
        else:
            node.log.error("crashed once too often", exc_info=error)
            return False
        node.back_off()
        seat.due_at = now + delay_s
        for other in self._affected_by(seat):
            other.gated = True
            other.due_at = max(other.due_at, seat.due_at)
            other.must_stop = other.node.live
        return True

    def _affected_by(self, seat: Seat) -> Sequence[Seat]:
        """Itself, too, where it has to wait for elders again."""
        if self._plan.strategy == "one_for_one":
            return ()
        if self._plan.strategy == "one_for_all":
            return self._seats
        return self._seats[self._seats.index(seat) :]

    async def _stop_seats(self, seats: Sequence[Seat]) -> None:
        """The youngest first, each to its end. Bounded by the limits of the children."""
        for seat in reversed(seats):
            seat.must_stop = False
            seat.node.rest()
            seat.node.stop(hurry=self._hurry)
            while seat.node.live:
                await self._bell.wait(until=inf)
                if self._hurry:
                    seat.node.stop(hurry=True)

    def _start_due(self, tasks: TaskGroup) -> None:
        now, elders_settled = anyio.current_time(), True
        for seat in self._seats:
            idle = seat.wanted and not seat.node.live
            if idle and seat.due_at <= now and (elders_settled or not seat.gated):
                seat.gated = False
                seat.node.begin()
                tasks.start_soon(seat.node.incarnate, name=seat.node.path)
            elders_settled = elders_settled and seat.settled

    def _next_due(self) -> float:
        now = anyio.current_time()
        dues = [seat.due_at for seat in self._seats if seat.wanted and not seat.node.live]
        return min((due for due in dues if due > now), default=inf)

    def _build(self, plan: Child | Supervision, path: str) -> Node:
        if isinstance(plan, Child):
            return Worker(plan, path, self.run, self._bell.ring)
        return Supervisor(plan, path, self.run, self._bell.ring)

"""The seat of one actor: starts it, holds it to its limits, and says how it ended.

A thin loop around `limits.next_limit`; the actor's own code runs on a leash, never in this task.
"""

from collections.abc import Callable
from math import inf

import anyio

from airy.actors.runtime.context import Context
from airy.actors.runtime.failure import EndedEarly, NotReady, Outcome, Stalled, crash
from airy.actors.runtime.heart import Heart, beating
from airy.actors.runtime.leash import Leash
from airy.actors.runtime.limits import Moment, Step, next_limit
from airy.actors.runtime.node import Node, describe
from airy.actors.runtime.plan import Child
from airy.actors.runtime.run import Run
from airy.actors.runtime.snapshot import Snapshot

BLOCKED_S = 1.0  # a limit noticed so late was not missed by the actor: nobody ran
STUCK_S = 5.0  # how late the kernel may act on a limit before it counts as stuck itself


class Worker(Node):
    def __init__(self, plan: Child, path: str, run: Run, changed: Callable[[], None]) -> None:
        super().__init__(path, run, changed)
        self._plan = plan
        self._heart = Heart()
        self._started_at = 0.0
        self._cancelled_at: float | None = None
        self._fault: Exception | None = None
        self._seen_taken = 0
        self._quiet_since = -inf
        self._draining = anyio.Event()
        self._open_mailbox()

    def begin(self) -> None:
        super().begin()
        self._heart = Heart()
        self._started_at = self._heart.beat_at
        self._cancelled_at = None
        self._fault = None
        self._draining = anyio.Event()
        self._open_mailbox()

    def stop(self, *, hurry: bool = False) -> None:
        super().stop(hurry=hurry)
        self._draining.set()

    def finish(self) -> None:
        if self._plan.mailbox is not None:
            self._plan.mailbox.close(f"{self.path} has ended")

    def snapshot(self) -> Snapshot:
        mailbox = self._plan.mailbox
        return Snapshot(
            path=self.path,
            phase=self.phase,
            restarts=self.restarts,
            bugs=self.bugs,
            unavailable=self.unavailable,
            error=self.error,
            progress_age_s=anyio.current_time() - self._moved_at() if self.live else 0.0,
            abandoned=self.run.abandoned().count(self.path),
            mailbox_used=mailbox.used if mailbox else 0,
            mailbox_capacity=mailbox.capacity if mailbox else 0,
        )

    def on_time(self, now: float) -> bool:
        return not self.live or now <= self._next_limit()[0] + STUCK_S

    async def _live(self) -> Outcome:
        heart, context = self._heart, self._context()

        async def act() -> None:
            beating.set(heart)
            await self._plan.start().run(context)

        leash = Leash(act, path=self.path, on_end=self._bell.ring)
        try:
            abandoned = await self._hold_to_limits(leash)
        finally:
            if not leash.ended:
                leash.cancel()
        if self._plan.mailbox is not None:
            self._plan.mailbox.release(f"{self.path} has ended")
        if abandoned:
            self.run.abandon(leash)
            self.log.error("abandoned: it ignored its cancellation", cleanup_s=self._plan.cleanup_s)
        return self._outcome(leash)

    async def _hold_to_limits(self, leash: Leash) -> bool:
        """Until the actor has ended or, if True, must be abandoned."""
        while not leash.ended:
            due, step = self._next_limit()
            late_s = anyio.current_time() - due
            if late_s < 0:
                await self._bell.wait(until=due)
            elif late_s > BLOCKED_S and step != "cancel":
                self._forgive(late_s)
            elif step == "abandon":
                return True
            else:
                self._cancelled_at = anyio.current_time()
                self._fault = self._fault_of(step)
                leash.cancel()
        return False

    def _forgive(self, late_s: float) -> None:
        """Time in which the event loop or the whole process stood still is nobody's silence."""
        self.log.warning("the event loop was blocked", for_s=round(late_s, 3))
        self._started_at += late_s
        self._quiet_since = anyio.current_time()
        if self._cancelled_at is not None:
            self._cancelled_at += late_s

    def _outcome(self, leash: Leash) -> Outcome:
        error = leash.error if leash.ended else None
        if self._stop_at is not None:
            if error is not None:
                self.log.warning("failed while stopping", error=describe(error))
            return Outcome("stopped", error)
        if self._fault is not None:
            return crash(self._fault)
        if error is not None:
            return crash(error)
        if self._plan.restart == "permanent":
            return crash(EndedEarly("a permanent actor returned without being told to stop"))
        return Outcome("returned")

    def _next_limit(self) -> tuple[float, Step]:
        moment = Moment(
            started_at=self._started_at,
            moved_at=self._moved_at(),
            ready=self.ready_at is not None,
            stop_at=self._stop_at,
            hurry=self._hurry,
            cancelled_at=self._cancelled_at,
        )
        return next_limit(self._plan, moment)

    def _moved_at(self) -> float:
        """The latest sign of life, up to now if it waits on purpose or has taken messages since the last
        look.
        """
        taken = self._plan.mailbox.taken if self._plan.mailbox else 0
        if self._heart.waits or taken != self._seen_taken:
            self._seen_taken = taken
            self._quiet_since = anyio.current_time()
        return max(self._heart.beat_at, self._quiet_since)

    def _open_mailbox(self) -> None:
        """From the start of the tree: what is said before its receiver starts is queued."""
        if self._plan.mailbox is not None:
            self._plan.mailbox.open()

    def _fault_of(self, step: Step) -> Exception | None:
        if step == "stalled":
            return Stalled(f"no progress for {self._plan.stall_s} s, and it did not say that it waits")
        if step == "not_ready":
            return NotReady(f"not ready within {self._plan.ready_s} s")
        return None

    def _context(self) -> Context:
        return Context(
            self.path,
            clock=self.run.clock,
            random=self.random,
            log=self.log,
            draining=self._draining,
            heart=self._heart,
            on_ready=self._become_ready,
            cleanup_ends_at=self._cleanup_ends_at,
        )

    def _cleanup_ends_at(self) -> float:
        since = anyio.current_time() if self._cancelled_at is None else self._cancelled_at
        return since + self._plan.cleanup_s

"""The node of one actor: starts it, enforces its limits, and reports how it ended.

A thin loop around `limits.next_limit`; the actor's own code runs in a `DetachedTask`, never in this one.
"""

from collections.abc import Callable
from math import inf

import anyio

from airy.actors.runtime.context import Context
from airy.actors.runtime.detached_task import DetachedTask
from airy.actors.runtime.failure import ActorExit, EndedEarly, NotReady, Stalled, crash
from airy.actors.runtime.limits import LimitAction, Timeline, next_limit
from airy.actors.runtime.node import Node, error_text
from airy.actors.runtime.progress import ProgressMark, current_mark
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.spec import Child
from airy.actors.runtime.tree_state import TreeState
from airy.lifecycle import DrainingSignal

BLOCKED_S = 1.0  # a limit handled this late was not missed by the actor: the event loop was blocked
STUCK_S = 5.0  # lateness in enforcing a limit from which the runtime itself counts as stuck


class Worker(Node):
    def __init__(self, spec: Child, path: str, state: TreeState, on_change: Callable[[], None]) -> None:
        super().__init__(path, state, on_change)
        self._spec = spec
        self._progress_mark = ProgressMark()
        self._steps_before = 0  # of former runs
        self._started_at = 0.0
        self._cancelled_at: float | None = None
        self._limit_error: Exception | None = None
        self._messages_seen = 0
        self._active_at = -inf  # progress other than a mark: messages taken, a blocked event loop
        self._draining = DrainingSignal()
        self._open_mailbox()

    def start(self) -> None:
        super().start()
        self._steps_before += self._progress_mark.steps_total()
        self._progress_mark = ProgressMark()
        self._started_at = self._progress_mark.marked_at
        self._cancelled_at = None
        self._limit_error = None
        self._draining = DrainingSignal()
        self._open_mailbox()

    def stop(self, *, immediate: bool = False) -> None:
        super().stop(immediate=immediate)
        self._draining.set()

    def close(self) -> None:
        if self._spec.mailbox is not None:
            self._spec.mailbox.close(f"{self.path} has ended")

    def snapshot(self) -> Snapshot:
        mailbox = self._spec.mailbox
        return Snapshot(
            path=self.path,
            phase=self.phase,
            restarts=self.restarts,
            bugs=self.bugs,
            unavailable=self.unavailable,
            error=self.error,
            progress_age_s=anyio.current_time() - self._progress_at() if self.live else 0.0,
            steps=self._steps_before + self._progress_mark.steps_total(),
            abandoned=self.state.abandoned().count(self.path),
            mailbox_used=mailbox.used if mailbox else 0,
            mailbox_capacity=mailbox.capacity if mailbox else 0,
        )

    def responsive(self, now: float) -> bool:
        return not self.live or now <= self._next_limit()[0] + STUCK_S

    async def _run(self) -> ActorExit:
        progress_mark, context = self._progress_mark, self._context()

        async def run_actor() -> None:
            current_mark.set(progress_mark)
            await self._spec.start().run(context)

        task = DetachedTask(run_actor, path=self.path, on_end=self._wakeup.set)
        try:
            abandoned = await self._enforce_limits(task)
        finally:
            if not task.ended:
                task.cancel()
        if self._spec.mailbox is not None:
            self._spec.mailbox.release(f"{self.path} has ended")
        if abandoned:
            self.state.abandon(task)
            self.log.error("actor.abandoned", cleanup_s=self._spec.cleanup_s)
        return self._exit_of(task)

    async def _enforce_limits(self, task: DetachedTask) -> bool:
        """Until the actor has ended (False) or must be abandoned (True)."""
        while not task.ended:
            due, action = self._next_limit()
            late_s = anyio.current_time() - due
            if late_s < 0:
                await self._wakeup.wait(until=due)
            elif late_s > BLOCKED_S and action != "cancel":
                self._exclude_blocked_time(late_s)
            elif action == "abandon":
                return True
            else:
                self._cancelled_at = anyio.current_time()
                self._limit_error = self._error_of(action)
                task.cancel()
        return False

    def _exclude_blocked_time(self, late_s: float) -> None:
        """Extend the limits by the time in which the event loop or the whole process did not run."""
        self.log.warning("event_loop.blocked", for_s=round(late_s, 3))
        self._started_at += late_s
        self._active_at = anyio.current_time()
        if self._cancelled_at is not None:
            self._cancelled_at += late_s

    def _exit_of(self, task: DetachedTask) -> ActorExit:
        error = task.error if task.ended else None
        if self._stop_at is not None:
            if error is not None:
                self.log.warning("actor.stop_failed", error=error_text(error))
            return ActorExit("stopped", error)
        if self._limit_error is not None:
            return crash(self._limit_error)
        if error is not None:
            return crash(error)
        if self._spec.restart == "permanent":
            return crash(EndedEarly("a permanent actor returned without being stopped"))
        return ActorExit("returned")

    def _next_limit(self) -> tuple[float, LimitAction]:
        timeline = Timeline(
            started_at=self._started_at,
            progress_at=self._progress_at(),
            ready=self.ready_at is not None,
            stop_at=self._stop_at,
            immediate=self._immediate,
            cancelled_at=self._cancelled_at,
        )
        return next_limit(self._spec, timeline)

    def _progress_at(self) -> float:
        """When it last made progress: now, if it is in an expected wait or took messages since the last call."""
        now, taken = anyio.current_time(), self._spec.mailbox.taken if self._spec.mailbox else 0
        if taken != self._messages_seen:
            self._messages_seen = taken
            self._active_at = now
        return max(self._progress_mark.progress_at(now), self._active_at)

    def _open_mailbox(self) -> None:
        """Open before the first start too: messages sent before the actor runs are queued."""
        if self._spec.mailbox is not None:
            self._spec.mailbox.open()

    def _error_of(self, action: LimitAction) -> Exception | None:
        if action == "stalled":
            return Stalled(f"no progress for {self._spec.stall_s} s outside of ctx.waiting()")
        if action == "not_ready":
            return NotReady(f"not ready within {self._spec.ready_s} s")
        return None

    def _context(self) -> Context:
        return Context(
            self.path,
            clock=self.state.clock,
            random=self.random,
            log=self.log,
            draining=self._draining,
            progress_mark=self._progress_mark,
            on_ready=self._become_ready,
            cleanup_ends_at=self._cleanup_ends_at,
        )

    def _cleanup_ends_at(self) -> float:
        since = anyio.current_time() if self._cancelled_at is None else self._cancelled_at
        return since + self._spec.cleanup_s

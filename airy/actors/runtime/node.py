"""One node of the tree, an actor or a supervisor: start it, stop it, observe it.

A node lives as long as the tree and may run many times. Counters and the random source are kept here, so a restart does
not reset them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import anyio

from airy.actors.runtime.failure import ActorExit
from airy.actors.runtime.phase import LIVE, Phase, move
from airy.actors.runtime.snapshot import Snapshot
from airy.actors.runtime.tree_state import TreeState
from airy.actors.runtime.wakeup import WakeUp


class Node(ABC):
    """`on_change` is called whenever the supervisor above may have something to do."""

    def __init__(self, path: str, state: TreeState, on_change: Callable[[], None]) -> None:
        self.path = path
        self.phase: Phase = "stopped"
        self.starts = 0
        self.bugs = 0
        self.error: str | None = None
        self.unavailable: str | None = None
        self.exit: ActorExit | None = None  # of a run that has ended and was not handled by the supervisor yet
        self.ready_at: float | None = None
        self.state = state
        self.random = state.random(path)
        self.log = state.log.bind(path=path)
        self._on_change = on_change
        self._wakeup = WakeUp()
        self._stop_at: float | None = None
        self._immediate = False

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    @property
    def live(self) -> bool:
        return self.phase in LIVE

    def start(self) -> None:
        """Call right before scheduling `run_once`: the node counts as live from the decision to start it."""
        self.phase = move(self.phase, "starting")
        self.starts += 1
        self.ready_at = None
        self._stop_at = None
        self._immediate = False
        self.log = self.state.log.bind(path=self.path, restart=self.restarts)

    async def run_once(self) -> None:
        """One run, from start to end. How it ended is stored in `exit`; it never raises."""
        result = await self._run()
        failed = result.kind in ("bug", "unavailable", "misconfigured")
        self.phase = move(self.phase, "failed" if failed else "stopped")
        self.bugs += result.kind == "bug"
        if result.error is not None:
            self.error = error_text(result.error)
        self.unavailable = self.error if result.kind == "unavailable" else None
        self.exit = result
        self._on_change()

    def stop(self, *, immediate: bool = False) -> None:
        """Drain, or with `immediate` cancel at once. `exit` is set within the limits."""
        if not self.live:
            return
        if self._stop_at is None:
            self._stop_at = anyio.current_time()
            self.phase = move(self.phase, "draining")
        self._immediate |= immediate
        self._wakeup.set()

    def back_off(self) -> None:
        self.phase = move(self.phase, "backing_off")

    def cancel_backoff(self) -> None:
        if self.phase == "backing_off":
            self.phase = move(self.phase, "stopped")

    @abstractmethod
    async def _run(self) -> ActorExit: ...

    @abstractmethod
    def close(self) -> None:
        """The node will not be started again."""

    @abstractmethod
    def snapshot(self) -> Snapshot: ...

    @abstractmethod
    def responsive(self, now: float) -> bool:
        """Whether the runtime still enforces this node's limits; False: the runtime itself is stuck."""

    def _become_ready(self) -> None:
        if self.phase != "starting":
            return
        self.phase = move(self.phase, "ready")
        self.ready_at = anyio.current_time()
        self.unavailable = None
        self.log.debug("actor.ready")
        self._on_change()


def error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

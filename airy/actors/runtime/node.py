"""One seat in the tree, whether an actor or another supervisor sits there: start it, stop it, look at it.

A node lives as long as the tree; incarnations come and go within it. That is why the counters and the random
source are here and not in what a restart replaces.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import anyio

from airy.actors.runtime.bell import Bell
from airy.actors.runtime.failure import Outcome
from airy.actors.runtime.lifecycle import LIVE, Phase, move
from airy.actors.runtime.run import Run
from airy.actors.runtime.snapshot import Snapshot


class Node(ABC):
    """`changed` is called whenever the supervisor above may have something to do."""

    def __init__(self, path: str, run: Run, changed: Callable[[], None]) -> None:
        self.path = path
        self.phase: Phase = "stopped"
        self.starts = 0
        self.bugs = 0
        self.error: str | None = None
        self.unavailable: str | None = None
        self.outcome: Outcome | None = None  # of an incarnation that has ended and is not judged yet
        self.ready_at: float | None = None
        self.run = run
        self.random = run.random(path)
        self.log = run.log.bind(path=path)
        self._changed = changed
        self._bell = Bell()
        self._stop_at: float | None = None
        self._hurry = False

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    @property
    def live(self) -> bool:
        return self.phase in LIVE

    def begin(self) -> None:
        """Right before `incarnate` is scheduled: the node is live from the moment that was decided."""
        self.phase = move(self.phase, "starting")
        self.starts += 1
        self.ready_at = None
        self._stop_at = None
        self._hurry = False
        self.log = self.run.log.bind(path=self.path, restart=self.restarts)

    async def incarnate(self) -> None:
        """One incarnation, from start to end. How it ended is its outcome, never an exception."""
        outcome = await self._live()
        failed = outcome.ending in ("bug", "unavailable")
        self.phase = move(self.phase, "failed" if failed else "stopped")
        self.bugs += outcome.ending == "bug"
        if outcome.error is not None:
            self.error = describe(outcome.error)
        self.unavailable = self.error if outcome.ending == "unavailable" else None
        self.outcome = outcome
        self._changed()

    def stop(self, *, hurry: bool = False) -> None:
        """Begin to end: drain, or with `hurry` cancel at once. The outcome follows within the limits."""
        if not self.live:
            return
        if self._stop_at is None:
            self._stop_at = anyio.current_time()
            self.phase = move(self.phase, "draining")
        self._hurry |= hurry
        self._bell.ring()

    def back_off(self) -> None:
        self.phase = move(self.phase, "backing_off")

    def rest(self) -> None:
        """Do not wait for a restart any more."""
        if self.phase == "backing_off":
            self.phase = move(self.phase, "stopped")

    @abstractmethod
    async def _live(self) -> Outcome: ...

    @abstractmethod
    def finish(self) -> None:
        """No incarnation follows."""

    @abstractmethod
    def snapshot(self) -> Snapshot: ...

    @abstractmethod
    def on_time(self, now: float) -> bool:
        """Whether the kernel still acts on this node's limits; False means that it is stuck itself."""

    def _become_ready(self) -> None:
        if self.phase != "starting":
            return
        self.phase = move(self.phase, "ready")
        self.ready_at = anyio.current_time()
        self.unavailable = None
        self.log.debug("ready")
        self._changed()


def describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

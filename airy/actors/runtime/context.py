"""What the runtime gives an actor: clock, random source, ids, log, health and stop signals. There are no globals.

The runtime builds one for each run of an actor. A test may build one to run an actor without a supervisor; it passes
only what the actor uses.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

import anyio
import structlog
from structlog.typing import FilteringBoundLogger

from airy.actors.runtime.progress import ProgressMark
from airy.clock import Clock, Ids, RandomIds
from airy.lifecycle import DrainingSignal


def _do_nothing() -> None:
    pass


class Context:
    """`random` and `ids` continue across restarts, so a restarted actor does not repeat ids."""

    __slots__ = (
        "_cleanup_ends_at",
        "_on_ready",
        "_progress_mark",
        "clock",
        "draining",
        "ids",
        "log",
        "path",
        "random",
    )

    def __init__(
        self,
        path: str,
        *,
        clock: Clock,
        random: Random,
        log: FilteringBoundLogger | None = None,
        draining: DrainingSignal | None = None,
        progress_mark: ProgressMark | None = None,
        on_ready: Callable[[], None] = _do_nothing,
        cleanup_ends_at: Callable[[], float] | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.random = random
        self.ids: Ids = RandomIds(random)
        self.log: FilteringBoundLogger = log or structlog.get_logger().bind(path=path)
        self.draining = draining or DrainingSignal()
        self._progress_mark = progress_mark or ProgressMark()
        self._on_ready = on_ready
        self._cleanup_ends_at = cleanup_ends_at or (lambda: anyio.current_time() + 5.0)

    def ready(self) -> None:
        """Start-up is done; the supervisor may start the next sibling. Idempotent."""
        self._progress_mark.mark()
        self._on_ready()

    def progress(self) -> None:
        """Resets the stall limit. Loops call it once per batch."""
        self._progress_mark.mark()

    def waiting(self) -> AbstractContextManager[None]:
        """Suspends the stall limit: an idle source, back-pressure. Mailbox operations do this themselves."""
        return self._progress_mark

    def split(self, parts: int) -> list["Context"]:
        """Contexts for as many loops of this actor, which is then ready when all are and stalled when one is."""
        pending = set(range(parts))

        def ready(part: int) -> Callable[[], None]:
            def on_ready() -> None:
                pending.discard(part)
                if not pending:
                    self.ready()

            return on_ready

        marks = self._progress_mark.parts = [ProgressMark() for _ in range(parts)]
        return [
            Context(
                self.path,
                clock=self.clock,
                random=self.random,
                log=self.log,
                draining=self.draining,
                progress_mark=mark,
                on_ready=ready(part),
                cleanup_ends_at=self._cleanup_ends_at,
            )
            for part, mark in enumerate(marks)
        ]

    @property
    def progress_mark(self) -> ProgressMark:
        return self._progress_mark

    def cleanup(self) -> AbstractContextManager[anyio.CancelScope]:
        """For `finally` blocks that must await: shielded from the cancellation, cut off `cleanup_s` after it."""
        return anyio.CancelScope(deadline=self._cleanup_ends_at(), shield=True)

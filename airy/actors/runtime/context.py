"""Everything an actor may know about the world. There are no globals.

The kernel builds one for each incarnation. A test may build one by itself to run an actor without a
supervisor: only what the actor uses has to be given.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random

import anyio
import structlog
from structlog.typing import FilteringBoundLogger

from airy.actors.runtime.heart import Heart
from airy.clock import Clock, Ids, RandomIds


def _nobody_listens() -> None:
    pass


class Context:
    """`random` and `ids` go on through restarts, so a successor does not repeat its predecessor's ids."""

    __slots__ = (
        "_cleanup_ends_at",
        "_heart",
        "_on_ready",
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
        draining: anyio.Event | None = None,
        heart: Heart | None = None,
        on_ready: Callable[[], None] = _nobody_listens,
        cleanup_ends_at: Callable[[], float] | None = None,
    ) -> None:
        self.path = path
        self.clock = clock
        self.random = random
        self.ids: Ids = RandomIds(random)
        self.log: FilteringBoundLogger = log or structlog.get_logger().bind(path=path)
        self.draining = draining or anyio.Event()
        self._heart = heart or Heart()
        self._on_ready = on_ready
        self._cleanup_ends_at = cleanup_ends_at or (lambda: anyio.current_time() + 5.0)

    def ready(self) -> None:
        """Start-up is over; the next sibling may start. Saying it again changes nothing."""
        self._heart.beat()
        self._on_ready()

    def progress(self) -> None:
        """Not stuck. Loops say it once per batch."""
        self._heart.beat()

    def waiting(self) -> AbstractContextManager[None]:
        """Silence inside is on purpose: an idle source, back-pressure. Waiting for a mailbox says so by
        itself.
        """
        return self._heart

    def cleanup(self) -> AbstractContextManager[anyio.CancelScope]:
        """For `finally` blocks that must await: shielded from the cancellation, and cut off after
        `cleanup_s`.
        """
        return anyio.CancelScope(deadline=self._cleanup_ends_at(), shield=True)

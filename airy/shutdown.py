"""What signals do to a process: the first SIGTERM or SIGINT drains it, a second SIGINT ends it at once.

Whatever happens after the first one, a timer outside the event loop ends a process that does not end
itself.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

import anyio
from anyio.abc import TaskStatus

from airy.secret import Secret

FAILED = 70
INTERRUPTED = 130
GUARD_S = 45.0  # longer than any drain with the cleaning up after it
SHOW_CURSOR = b"\x1b[?25h\n"


class Running(Protocol):
    """What a process has to know about the system it started."""

    @property
    def url(self) -> str: ...
    @property
    def token(self) -> Secret | None: ...
    def stop(self) -> None:
        """Start to drain. Called in the thread of the event loop."""
        ...


class Shutdown:
    """`scope` goes around the system: cancelled where a signal comes before there is anything to drain."""

    def __init__(
        self,
        *,
        on_drain: Callable[[], None] = lambda: None,
        guard_s: float = GUARD_S,
        leave: Callable[[int], None] = os._exit,
    ) -> None:
        self.running: Running | None = None
        self.scope = anyio.CancelScope()
        self._on_drain = on_drain
        self._guard_s = guard_s
        self._leave = leave
        self._draining = False

    async def obey(self, *, task_status: TaskStatus[None]) -> None:
        """Receive signals until cancelled."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                self.receive(number)

    def receive(self, number: signal.Signals) -> None:
        if not self._draining:
            self._draining = True
            self._start_guard()
            self._on_drain()
            if self.running is not None:
                self.running.stop()
            else:
                self.scope.cancel()
        elif number == signal.SIGINT:
            self._exit(INTERRUPTED)

    def _start_guard(self) -> None:
        guard = threading.Timer(self._guard_s, self._exit, [FAILED])
        guard.daemon = True
        guard.start()

    def _exit(self, code: int) -> None:
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), SHOW_CURSOR)  # a live view may have hidden it
        self._leave(code)

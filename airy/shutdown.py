"""Signal handling: the first SIGTERM, SIGINT or SIGHUP drains the process, a second SIGINT exits at once.

After the first signal a timer outside the event loop ends a process that does not end by itself.
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
GUARD_S = 45.0  # longer than a full drain and its clean-up
SHOW_CURSOR = b"\x1b[?25h\n"


class Stoppable(Protocol):
    """The started system, as its process uses it."""

    @property
    def url(self) -> str: ...
    @property
    def token(self) -> Secret | None: ...
    def stop(self) -> None:
        """Start to drain. Call it in the event loop's thread."""
        ...


def handled_signals() -> list[signal.Signals]:
    """SIGHUP, sent when the terminal is closed, is not handled below `nohup`, which ignores it."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else [])]


class Shutdown:
    """`scope` encloses the system; it is cancelled by a signal that arrives before `running` is set."""

    def __init__(
        self,
        *,
        on_drain: Callable[[], None] = lambda: None,
        guard_s: float = GUARD_S,
        exit_process: Callable[[int], None] = os._exit,
    ) -> None:
        self.running: Stoppable | None = None
        self.scope = anyio.CancelScope()
        self._on_drain = on_drain
        self._guard_s = guard_s
        self._exit_process = exit_process
        self._draining = False

    async def handle_signals(self, *, task_status: TaskStatus[None]) -> None:
        """Handle signals until cancelled."""
        with anyio.open_signal_receiver(*handled_signals()) as signals:
            task_status.started()
            async for number in signals:
                self.receive(number)

    @property
    def draining(self) -> bool:
        return self._draining

    def stop_running(self) -> None:
        """Start to drain what runs; cancel what has not started yet."""
        if self.running is not None:
            self.running.stop()
        else:
            self.scope.cancel()

    def receive(self, number: signal.Signals) -> None:
        if not self._draining:
            self._draining = True
            self._start_guard()
            self._on_drain()
            self.stop_running()
        elif number == signal.SIGINT:
            self._exit(INTERRUPTED)

    def _start_guard(self) -> None:
        guard = threading.Timer(self._guard_s, self._exit, [FAILED])
        guard.daemon = True
        guard.start()

    def _exit(self, code: int) -> None:
        if sys.stdout.isatty():
            os.write(sys.stdout.fileno(), SHOW_CURSOR)  # the live view may have hidden it
        self._exit_process(code)

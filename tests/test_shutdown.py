"""Signals drain and then exit a process; the guard ends one that hangs."""

import signal
import threading

import anyio
import pytest

from airy.secret import Secret
from airy.shutdown import FAILED, INTERRUPTED, Shutdown, handled_signals


class System:
    url = "http://127.0.0.1:1"
    token: Secret | None = None

    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


class Exit:
    """Replaces `os._exit` and records its calls."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.called = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.called.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_the_first_signal_drains(number: signal.Signals) -> None:
    exit_process, system = Exit(), System()
    seen: list[int] = []
    shutdown = Shutdown(exit_process=exit_process, on_drain=lambda: seen.append(system.stops))
    shutdown.running = system

    shutdown.receive(number)
    shutdown.receive(signal.SIGTERM)

    assert (system.stops, exit_process.codes) == (1, [])
    assert seen == [0]  # the live view ends before the system
    assert not shutdown.scope.cancel_called


@pytest.mark.parametrize(("action", "handled"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_drains_unless_nohup_had_it_ignored(action: signal.Handlers, handled: bool) -> None:
    before = signal.signal(signal.SIGHUP, action)
    try:
        assert (signal.SIGHUP in handled_signals()) is handled
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_signal_before_the_start_cancels_the_start() -> None:
    shutdown = Shutdown(exit_process=Exit())

    with shutdown.scope:
        shutdown.receive(signal.SIGTERM)
        await anyio.sleep_forever()

    assert shutdown.scope.cancelled_caught


async def test_a_second_sigint_exits_at_once_and_a_second_sigterm_waits() -> None:
    exit_process, system = Exit(), System()
    shutdown = Shutdown(exit_process=exit_process)
    shutdown.running = system

    shutdown.receive(signal.SIGTERM)
    shutdown.receive(signal.SIGTERM)
    assert exit_process.codes == []
    shutdown.receive(signal.SIGINT)

    assert (system.stops, exit_process.codes) == (1, [INTERRUPTED])


@pytest.mark.usefixtures("real_time")
async def test_the_guard_thread_ends_an_endless_drain() -> None:
    """The event loop is blocked: only a thread can exit the process."""
    exit_process = Exit()
    shutdown = Shutdown(guard_s=0.05, exit_process=exit_process)
    shutdown.running = System()

    shutdown.receive(signal.SIGTERM)

    assert exit_process.called.wait(120.0)
    assert exit_process.codes == [FAILED]

"""What a signal does: drain, then leave; and a process that neither drains nor leaves is ended."""

import signal
import threading

import anyio
import pytest

from airy.secret import Secret
from airy.shutdown import FAILED, INTERRUPTED, Shutdown


class System:
    url = "http://127.0.0.1:1"
    token: Secret | None = None

    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


class Exit:
    """Stands for `os._exit`, and remembers instead."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.called = threading.Event()

    def __call__(self, code: int) -> None:
        self.codes.append(code)
        self.called.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains(number: signal.Signals) -> None:
    leave, system = Exit(), System()
    seen: list[int] = []
    shutdown = Shutdown(leave=leave, on_drain=lambda: seen.append(system.stops))
    shutdown.running = system

    shutdown.receive(number)
    shutdown.receive(signal.SIGTERM)

    assert (system.stops, leave.codes) == (1, [])
    assert seen == [0]  # who watches goes before the system does
    assert not shutdown.scope.cancel_called


async def test_a_signal_before_the_start_cancels_the_start() -> None:
    shutdown = Shutdown(leave=Exit())

    with shutdown.scope:
        shutdown.receive(signal.SIGTERM)
        await anyio.sleep_forever()

    assert shutdown.scope.cancelled_caught


async def test_the_second_interrupt_leaves_at_once_and_a_second_term_waits() -> None:
    leave, system = Exit(), System()
    shutdown = Shutdown(leave=leave)
    shutdown.running = system

    shutdown.receive(signal.SIGTERM)
    shutdown.receive(signal.SIGTERM)
    assert leave.codes == []
    shutdown.receive(signal.SIGINT)

    assert (system.stops, leave.codes) == (1, [INTERRUPTED])


@pytest.mark.usefixtures("real_time")
async def test_a_drain_that_never_ends_is_ended_from_outside_the_loop() -> None:
    """The loop is blocked the whole time: only a thread can help."""
    leave = Exit()
    shutdown = Shutdown(guard_s=0.05, leave=leave)
    shutdown.running = System()

    shutdown.receive(signal.SIGTERM)

    assert leave.called.wait(120.0)
    assert leave.codes == [FAILED]

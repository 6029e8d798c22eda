"""A process with a minimal system: real signals, real exit codes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

WITHIN_S = 120  # bounds a hanging process

PROGRAM = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests that run under nohup inherit that it is ignored
import sys, types, anyio, airy
from airy import process
from airy.config_file import load

class Running:
    url, token = "http://127.0.0.1:1", None
    def __init__(self): self.stopped = anyio.Event()
    def stop(self): self.stopped.set()

async def up(config, *, components, ephemeral, demo, on_started, configuration, handover):
    running = Running()
    print("starting", flush=True)
    if "slow-start" in sys.argv: await anyio.sleep_forever()
    on_started(running)
    print("started", flush=True)
    await running.stopped.wait()
    print("draining", flush=True)
    if "stuck" in sys.argv: await anyio.sleep_forever()
    return 0

airy.app = types.ModuleType("airy.app")
airy.app.up = up
sys.modules["airy.app"] = airy.app
from airy import shutdown
if "guard" in sys.argv: shutdown.Shutdown.__init__.__kwdefaults__["guard_s"] = 0.2
process.HINT_S = 0.1
sys.exit(process.run(load(None, {}), console="console" in sys.argv))
"""


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def until(child: subprocess.Popen[str], word: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"ended before it said {word!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_drains_and_exits_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as child:
        until(child, "started")
        child.send_signal(number)
        until(child, "draining")

        assert child.wait(WITHIN_S) == 0


def test_a_signal_during_the_start_exits_with_0(tmp_path: Path) -> None:
    with running(tmp_path, "slow-start") as child:
        until(child, "starting")
        child.send_signal(signal.SIGTERM)

        assert child.wait(WITHIN_S) == 0


def test_a_second_interrupt_ends_a_drain_that_does_not(tmp_path: Path) -> None:
    with running(tmp_path, "stuck") as child:
        until(child, "started")
        child.send_signal(signal.SIGINT)
        until(child, "draining")
        child.send_signal(signal.SIGINT)

        assert child.wait(WITHIN_S) == 130


def test_a_drain_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with running(tmp_path, "stuck", "guard") as child:
        until(child, "started")
        child.send_signal(signal.SIGTERM)

        assert child.wait(WITHIN_S) == 70


def test_a_slow_start_names_the_log_file(tmp_path: Path) -> None:
    with running(tmp_path, "slow-start", "console") as child:
        until(child, "starting")
        assert child.stderr is not None
        assert "still starting after 0.1 s; .airy/log/airy.jsonl says why" in child.stderr.readline()
        child.send_signal(signal.SIGTERM)

        assert child.wait(WITHIN_S) == 0

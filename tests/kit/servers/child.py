"""A server as a child process that never outlives its parent: killed, stopped, paused and resumed by a test.

Linux kills it when its parent dies (`setpriv --pdeathsig`), also by `kill -9`. For the kernel the parent is the
*thread*, so every child is started by one thread that lives as long as the process. On other systems children end only
with an orderly exit.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

READY_S = 240.0  # bounds a hang; a start is slow on a busy machine
STOP_S = 60.0
PATIENCE_S = 0.02
TAIL_LINES = 20

_launcher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="launcher")


class NotStarted(Exception):
    """A server ended, or did not reach the awaited state. The message has the end of its log."""


class Child:
    """`start` may be called again after the end."""

    def __init__(
        self, command: Sequence[str], *, folder: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self._command = [*tied(), *command]
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.running:
            raise RuntimeError("the server is running already")
        with self.log.open("ab") as log:
            start = _launcher.submit(
                subprocess.Popen,
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._process = start.result()

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM; a paused process is resumed to receive it."""
        if self._process is not None:
            self._process.terminate()
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL. Returns the exit code."""
        if self._process is None:
            return 0
        self.ask_to_stop()
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def pause(self) -> None:
        suspend(self.pid)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def until(self, condition: Callable[[], bool], what: str, within_s: float = READY_S) -> None:
        """Waits for a condition; `OSError` counts as false. Raises `NotStarted`."""
        began = time.perf_counter()
        while time.perf_counter() - began < within_s:
            if not self.running:
                raise NotStarted(f"{what}: the server has ended; the end of {self.log}:\n{self.tail()}")
            try:
                if condition():
                    return
            except OSError:
                pass  # not listening yet
            time.sleep(PATIENCE_S)
        raise NotStarted(f"{what}: not within {within_s:g} s; the end of {self.log}:\n{self.tail()}")

    def memory_bytes(self) -> int:
        """Resident memory; 0 without /proc."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except OSError:
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def tail(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-TAIL_LINES:]) or "(the log is empty)"


def suspend(pid: int) -> None:
    """SIGSTOP a child, and wait until it has stopped: until then some of its threads may run."""
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def tied() -> list[str]:
    """The prefix of a command that must not outlive the thread that starts it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []

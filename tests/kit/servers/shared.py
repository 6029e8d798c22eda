"""One broker for all processes of a test run, stopped with the last of them.

Each process holds a shared lock for as long as it needs the broker. The first one starts a keeper, a separate process,
so that the broker does not end with any single user. The keeper waits for the exclusive lock, which it gets when the
last holder has released it or died, and stops the broker. No counter is needed, and nothing remains after a `kill -9`
of the whole run.
"""

import fcntl
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.kit.servers.child import READY_S, NotStarted
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_artefacts import locked

PATIENCE_S = 0.02
SESSION_S = 60.0  # long: the shared broker is never killed, and must survive pauses of the machine
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class SharedKafka:
    """A broker shared with other tests: use a separate namespace, and leave it running."""

    bootstrap: list[str]


@contextmanager
def shared_kafka(folder: Path) -> Iterator[SharedKafka]:
    """The broker of this folder. Raises `NotStarted`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("ab") as users:
        with locked(folder / "door.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits for a keeper that is ending
            if not _kept(folder):
                _start_keeper(folder)
            bootstrap = _address(folder).read_text().split(",")
        yield SharedKafka(bootstrap)


def _address(folder: Path) -> Path:
    return folder / "address"


def _kept(folder: Path) -> bool:
    """Whether a keeper process runs, not only its file exists."""
    with (folder / "keeper.lock").open("ab") as keeper:
        return not _try_lock(keeper) and _address(folder).exists()


def _try_lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start_keeper(folder: Path) -> None:
    _address(folder).unlink(missing_ok=True)
    log = folder / "keeper.log"
    with log.open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    began = time.perf_counter()
    while not _address(folder).exists():
        if keeper.poll() is not None or time.perf_counter() - began > READY_S:
            keeper.kill()
            keeper.wait()
            raise NotStarted(f"the shared broker did not start:\n{log.read_text()}")
        time.sleep(PATIENCE_S)
    keeper.returncode = 0  # it ends after this process: suppress the warning about an unreaped child


def keep(folder: Path) -> None:
    """The main function of the keeper process."""
    # `users` is unlocked last: the next holder finds no keeper and starts one.
    with (folder / "users.lock").open("ab") as users, (folder / "keeper.lock").open("ab") as alone:
        if not _try_lock(alone):
            sys.exit("there is a keeper already")
        with KafkaCluster(folder / "kafka", session_s=SESSION_S) as kafka:
            beside = folder / "address.new"
            beside.write_text(",".join(kafka.bootstrap))
            beside.rename(_address(folder))
            fcntl.flock(users, fcntl.LOCK_EX)
            _address(folder).unlink()
        shutil.rmtree(folder / "kafka" / "node-1", ignore_errors=True)  # the log is kept for debugging


if __name__ == "__main__":
    keep(Path(sys.argv[1]))

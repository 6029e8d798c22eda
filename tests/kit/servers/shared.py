"""One broker for all processes of a test run, that ends with the last of them.

Each process holds a shared lock for as long as it needs the broker. The first one starts a keeper, a process of its
own so that nobody's early end takes the broker away from the others; the keeper waits for the exclusive lock, which it
gets when the last holder has let go or died, and ends the broker. Nothing has to be counted, and nothing stays behind
after a `kill -9` of the whole run.
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
SESSION_S = 60.0  # nobody kills it, so nobody waits for that; and however long it stands still, it is believed in
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class SharedKafka:
    """A broker that others use at the same time: work in a namespace of your own, and leave it running."""

    bootstrap: list[str]


@contextmanager
def shared_kafka(folder: Path) -> Iterator[SharedKafka]:
    """The broker that belongs to this folder. Raises `NotStarted`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("ab") as users:
        with locked(folder / "door.lock"):
            fcntl.flock(users, fcntl.LOCK_SH)  # waits for a keeper that is about to end
            if not _kept(folder):
                _start_keeper(folder)
            bootstrap = _address(folder).read_text().split(",")
        yield SharedKafka(bootstrap)


def _address(folder: Path) -> Path:
    return folder / "address"


def _kept(folder: Path) -> bool:
    """Whether a keeper lives, and not only what it wrote."""
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
    keeper.returncode = 0  # it ends after us: nobody waits for it, and that is not worth a warning


def keep(folder: Path) -> None:
    """What the keeper does."""
    # `users` is let go of last: whoever gets it then finds no keeper any more, and starts the next one.
    with (folder / "users.lock").open("ab") as users, (folder / "keeper.lock").open("ab") as alone:
        if not _try_lock(alone):
            sys.exit("there is a keeper already")
        with KafkaCluster(folder / "kafka", session_s=SESSION_S) as kafka:
            beside = folder / "address.new"
            beside.write_text(",".join(kafka.bootstrap))
            beside.rename(_address(folder))
            fcntl.flock(users, fcntl.LOCK_EX)
            _address(folder).unlink()
        shutil.rmtree(folder / "kafka" / "node-1", ignore_errors=True)  # the log stays, for whoever looks for a reason


if __name__ == "__main__":
    keep(Path(sys.argv[1]))

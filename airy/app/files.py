"""Where an installation keeps things: the log, which is the truth, and caches of it, which may be deleted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airy.bus.lock import FileLock, InUse
from airy.config import Config, data_directory
from airy.seal import Sealer, load_or_create_key

STORES_MAX = 64


def journal_path(config: Config) -> Path:
    return data_directory(config) / "journal"


def store_path(config: Config) -> Path:
    return data_directory(config) / "store.db"


def store_paths(config: Config) -> list[Path]:
    """The files stores of this log may be in: one beside a journal, one for each process beside a cluster's log."""
    if config.bus.kind != "kafka":
        return [store_path(config)]
    prefix = "-".join(filter(None, ("store", config.bus.kafka.namespace)))  # another namespace is another log
    return [data_directory(config) / f"{prefix}-{number}.db" for number in range(1, STORES_MAX + 1)]


@contextmanager
def claimed_store(config: Config) -> Iterator[Path]:
    """A store file no other process has: several may share a data directory, and with it the token and the key.

    A store is a cache, so it does not matter which of them a process gets; it goes on from where that one is.
    """
    data_directory(config).mkdir(parents=True, exist_ok=True)
    for path in store_paths(config):
        try:
            lock = FileLock(path.with_suffix(".lock"))
        except InUse:
            continue
        try:
            yield path
        finally:
            lock.release()
        return
    raise InUse(f"{STORES_MAX} processes use {data_directory(config)} already: give the next another one with --data")


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Raises `InUse`, when a process has it."""
    lock = FileLock(store.with_suffix(".lock"))
    try:
        yield
    finally:
        lock.release()


def queue_path(config: Config) -> Path:
    return data_directory(config) / "queue.db"


def sealer(config: Config) -> Sealer:
    """Made on the first start, unless the configuration names a key file."""
    given = config.security.key_file
    path = Path(given).expanduser() if given else data_directory(config) / "sealing.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    return Sealer(load_or_create_key(path))

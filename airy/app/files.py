"""Paths and locks below the data directory: the journal, which is the source of truth, and its caches (deletable)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airy.config import Config, data_directory
from airy.file_lock import FileLock, InUse
from airy.seal import Sealer, load_or_create_key

STORES_MAX = 64


def journal_path(config: Config) -> Path:
    return data_directory(config) / "journal"


def store_path(config: Config) -> Path:
    return data_directory(config) / "store.db"


def store_paths(config: Config) -> list[Path]:
    """Candidate store files of this log: one with a journal, one per process with a cluster."""
    if config.bus.kind != "kafka":
        return [store_path(config)]
    prefix = "-".join(filter(None, ("store", config.bus.kafka.namespace)))  # another namespace is another log
    return [data_directory(config) / f"{prefix}-{number}.db" for number in range(1, STORES_MAX + 1)]


@contextmanager
def claimed_store(config: Config) -> Iterator[Path]:
    """Locks a free store file. Processes may share a data directory, and with it the token and the sealing key.

    A store is a cache, so any free one will do; the process continues from its position.
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
    """Raises `InUse` while a process holds the store."""
    lock = FileLock(store.with_suffix(".lock"))
    try:
        yield
    finally:
        lock.release()


def queue_path(config: Config) -> Path:
    return data_directory(config) / "queue.db"


def media_directory(config: Config) -> Path:
    configured = config.media.directory
    return Path(configured).expanduser() if configured else data_directory(config) / "media"


def sealing_key_path(config: Config) -> Path:
    configured = config.security.key_file
    return Path(configured).expanduser() if configured else data_directory(config) / "sealing.key"


def sealer(config: Config) -> Sealer:
    """Loads the sealing key; creates it at the first start if the configuration names no key file."""
    path = sealing_key_path(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    return Sealer(load_or_create_key(path))

"""Makes the store of a process. The one place outside an engine's package that names an engine."""

from pathlib import Path

from airy.store.api import Store
from airy.store.sqlite import SqliteStore


def create_store(path: Path | None) -> Store:
    """Not open yet. `path`: its file, created if it is missing; None: in memory."""
    return SqliteStore(":memory:" if path is None else path)

"""Makes the store of a process, or looks at its file. No other place outside an engine's package names an engine."""

from pathlib import Path

from airy.store.api import Store
from airy.store.sqlite import SqliteStore
from airy.store.sqlite.inspection import StoreFacts, inspect_store

__all__ = ["StoreFacts", "create_store", "inspect_store"]


def create_store(path: Path | None) -> Store:
    """Not open yet. `path`: its file, created if it is missing; None: in memory."""
    return SqliteStore(":memory:" if path is None else path)

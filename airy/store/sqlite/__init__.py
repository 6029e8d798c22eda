"""The embedded store: SQLite, one file."""

from airy.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]

"""The embedded webhook queue, in a SQLite file or in memory."""

from airy.queue.sqlite.queue import SqliteQueue

__all__ = ["SqliteQueue"]

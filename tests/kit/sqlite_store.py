"""The SQLite store, opened for a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from airy.store.sqlite import SqliteStore


@asynccontextmanager
async def opened(path: Path | str = ":memory:") -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()

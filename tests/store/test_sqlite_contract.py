"""The SQLite store keeps the contract, in a file and in memory."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from airy.store.sqlite import SqliteStore
from tests.kit.contracts.store import StoreContract


@asynccontextmanager
async def opened(path: Path | str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class TestInMemory(StoreContract):
    persistent = False

    def opened(self) -> AbstractAsyncContextManager[SqliteStore]:
        return opened(":memory:")


@pytest.mark.slow  # they wait for the disk
class TestInAFile(StoreContract):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path: Path) -> None:
        self._names = (tmp_path / f"{number}.db" for number in count())

    def opened(self) -> AbstractAsyncContextManager[SqliteStore]:
        return opened(next(self._names))

"""The embedded queue keeps the contract, in memory and in a file, and stays fast when much waits."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import apsw
import pytest

from airy.actors.webhooks import queue_file
from airy.actors.webhooks.queue import NOTHING, Entry, Full, Stale
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.errors import Unavailable
from tests.kit.contracts.queue import HERE, LEASE_MS, QueueContract, claim, entry, offsets, put
from tests.kit.queue_model import Rig


class SqliteRig:
    def __init__(self, queue: SqliteQueue, path: str) -> None:
        self.queue = queue
        self._path = path

    async def reopen(self) -> None:
        if self._path != ":memory:":
            await self.queue.close()
            await self.queue.open()

    async def wipe(self) -> None:
        await self.queue.wipe()


@asynccontextmanager
async def opened(path: str, *, jobs_max: int = 1_000, dead_max: int = 100) -> AsyncIterator[SqliteRig]:
    queue = SqliteQueue(path, jobs_max=jobs_max, dead_max=dead_max)
    await queue.open()
    try:
        yield SqliteRig(queue, path)
    finally:
        await queue.close()


class TestMemory(QueueContract):
    def opened(self, *, jobs_max: int = 1_000, dead_max: int = 100) -> AbstractAsyncContextManager[Rig]:
        return opened(":memory:", jobs_max=jobs_max, dead_max=dead_max)


class TestFile(QueueContract):
    @asynccontextmanager
    async def opened(self, *, jobs_max: int = 1_000, dead_max: int = 100) -> AsyncIterator[Rig]:
        with TemporaryDirectory() as directory:
            async with opened(f"{directory}/queue.db", jobs_max=jobs_max, dead_max=dead_max) as rig:
                yield rig

"""A fetch that ends as soon as draining begins, without losing a record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from airy.bus.api import Reader
from airy.bus.record import Record
from airy.lifecycle import Lifecycle
from airy.task_group import task_group


class DrainingFetch:
    """Made by `draining_fetch`."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._scope = anyio.CancelScope()

    async def fetch(self, reader: Reader, *, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        """As `Reader.fetch`, but [] once draining has begun. An interrupted fetch has skipped no record."""
        if self._lifecycle.draining.is_set():
            return []
        with self._lifecycle.waiting(), anyio.CancelScope() as self._scope:
            return await reader.fetch(records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
        return []

    async def _cancel_on_draining(self) -> None:
        await self._lifecycle.draining.wait()
        self._scope.cancel()


@asynccontextmanager
async def draining_fetch(lifecycle: Lifecycle) -> AsyncIterator[DrainingFetch]:
    async with task_group() as tasks:
        fetcher = DrainingFetch(lifecycle)
        tasks.start_soon(fetcher._cancel_on_draining)  # noqa: SLF001 - its other half
        yield fetcher
        tasks.cancel_scope.cancel()

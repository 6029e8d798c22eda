"""A fetch that ends as soon as draining begins, without losing a record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from airy.bus.api import Reader
from airy.bus.record import Record
from airy.lifecycle import Lifecycle


class DrainingFetch:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    async def fetch(self, reader: Reader, *, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        """As `Reader.fetch`, but [] once draining has begun. An interrupted fetch has skipped no record."""
        draining = self._lifecycle.draining
        if draining.is_set():
            return []
        with self._lifecycle.waiting(), anyio.CancelScope() as scope, draining.cancels(scope):
            return await reader.fetch(records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
        return []


@asynccontextmanager
async def draining_fetch(lifecycle: Lifecycle) -> AsyncIterator[DrainingFetch]:
    yield DrainingFetch(lifecycle)

"""Waiting for records in a loop that ends with draining, at once and without losing a record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from airy.bus.api import Pulse, Reader
from airy.bus.record import Record
from airy.bus.worker import task_group


class Idle:
    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._scope = anyio.CancelScope()

    async def fetch(self, reader: Reader, *, records_max: int, bytes_max: int, wait_s: float) -> list[Record]:
        """As `Reader.fetch`; nothing once draining has begun. An interrupted fetch has skipped nothing."""
        if self._pulse.draining.is_set():
            return []
        with self._pulse.waiting(), anyio.CancelScope() as self._scope:
            return await reader.fetch(records_max=records_max, bytes_max=bytes_max, wait_s=wait_s)
        return []

    async def _end_with_draining(self) -> None:
        await self._pulse.draining.wait()
        self._scope.cancel()


@asynccontextmanager
async def idling(pulse: Pulse) -> AsyncIterator[Idle]:
    async with task_group() as tasks:
        idle = Idle(pulse)
        tasks.start_soon(idle._end_with_draining)  # noqa: SLF001 - its other half
        yield idle
        tasks.cancel_scope.cancel()

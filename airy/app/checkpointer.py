"""Brings what the fold committed from the store's log file into its database, off the event loop.

Beside the fold from the start, because a store that is built anew writes most just then; by the clock, and sooner when
much waits, because a log file that nobody copies back grows until the fold itself has to stop and do it.
"""

from typing import Protocol

import anyio

from airy.actors.runtime import Context

PERIOD_S = 5.0
LOOK_S = 0.25
PAGES = 16_384  # 64 MiB: a rebuild writes so much in half a second


class Checkpointed(Protocol):
    """What is asked of a store that is kept in a file."""

    @property
    def wal_pages(self) -> int: ...
    async def checkpoint(self) -> None: ...


class Checkpointer:
    def __init__(self, store: Checkpointed) -> None:
        self._store = store

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while not ctx.draining.is_set():
            with ctx.waiting():
                await self._until_due(ctx)
                await self._store.checkpoint()
            ctx.progress()

    async def _until_due(self, ctx: Context) -> None:
        due_at = anyio.current_time() + PERIOD_S
        while self._store.wal_pages < PAGES and anyio.current_time() < due_at and not ctx.draining.is_set():
            with anyio.move_on_after(LOOK_S):
                await ctx.draining.wait()

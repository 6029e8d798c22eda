"""Checkpoints the store's write-ahead log into its database file, off the event loop.

Starts with the fold, because a rebuild writes most at the beginning. Runs periodically, and early when the WAL is
large: an unbounded WAL would force the fold to checkpoint inline.
"""

import anyio

from airy.actors.runtime import Context
from airy.store.api import Checkpoints

PERIOD_S = 5.0
CHECK_S = 0.25
WAL_PAGES_MAX = 16_384  # 64 MiB: half a second of a rebuild


class Checkpointer:
    def __init__(self, store: Checkpoints) -> None:
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
        while self._store.wal_pages < WAL_PAGES_MAX and anyio.current_time() < due_at and not ctx.draining.is_set():
            with anyio.move_on_after(CHECK_S):
                await ctx.draining.wait()

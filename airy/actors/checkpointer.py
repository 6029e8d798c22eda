"""Checkpoints the store's write-ahead log into its database file, off the event loop.

Starts with the fold, because a rebuild writes most at the beginning. Runs periodically, and early when the WAL is
large: an unbounded WAL would force the fold to checkpoint inline.
"""

import anyio

from airy.actors.runtime import Context
from airy.errors import Unavailable
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
                try:
                    await self._store.checkpoint()
                except Unavailable as error:  # a full disk, for example; the log and the store themselves go on
                    ctx.log.warning("store.checkpoint_failed", error=str(error))
                    with anyio.move_on_after(PERIOD_S):
                        await ctx.draining.wait()
            ctx.progress()

    async def _until_due(self, ctx: Context) -> None:
        due_at = anyio.current_time() + PERIOD_S
        while self._store.wal_pages < WAL_PAGES_MAX and anyio.current_time() < due_at and not ctx.draining.is_set():
            with anyio.move_on_after(CHECK_S):
                await ctx.draining.wait()

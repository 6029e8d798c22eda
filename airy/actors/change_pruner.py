"""Deletes changes from the store once every reader has committed past them."""

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.store.api import PrunableChanges


class ChangePruner:
    """`readers`: consumer groups whose committed offsets are the low-water mark. Without readers, everything folded is
    pruned.
    """

    def __init__(self, bus: Bus, store: PrunableChanges, readers: tuple[str, ...], *, period_s: float = 5.0) -> None:
        self._bus = bus
        self._store = store
        self._readers = readers
        self._period_s = period_s

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while not ctx.draining.is_set():
            with anyio.move_on_after(self._period_s):
                await ctx.draining.wait()
            ctx.progress()
            await self._prune()

    async def _prune(self) -> None:
        low = await self._store.positions()
        for group in self._readers:
            committed = await self._bus.committed(group, topics.CHANGE_TOPICS)
            low = {tp: min(offset, committed.get(tp, 0)) for tp, offset in low.items()}
        below = {tp: offset for tp, offset in low.items() if offset > 0}
        if below:
            await self._store.prune_changes(below)

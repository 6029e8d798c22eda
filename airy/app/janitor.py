"""Keeps the store small: forgets changes every reader has passed."""

from typing import Any

import anyio

from airy import topics
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.topic import Topic
from airy.store.api import Store

CHANGE_TOPICS: tuple[Topic[Any], ...] = (topics.EVENTS, topics.CHANNELS, topics.TAGS)


class Janitor:
    """`readers`: the groups whose committed positions say how far changes were used; none: nobody reads them here."""

    def __init__(self, bus: Bus, store: Store, readers: tuple[str, ...], *, period_s: float = 5.0) -> None:
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
            await self._forget()

    async def _forget(self) -> None:
        low = await self._store.positions()
        for group in self._readers:
            committed = await self._bus.committed(group, CHANGE_TOPICS)
            low = {where: min(offset, committed.get(where, 0)) for where, offset in low.items()}
        below = {where: offset for where, offset in low.items() if offset > 0}
        if below:
            await self._store.forget_changes(below)

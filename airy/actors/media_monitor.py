"""Probes the storage of files, so that `client.config` tells clients whether uploads work.

A storage that does not answer makes this component unhealthy and nothing else: everything but files works without it.
"""

from typing import Protocol

import anyio

from airy.actors.runtime import Context

PERIOD_S = 15.0


class Probed(Protocol):
    async def probe(self) -> None:
        """Keeps what it finds, and raises nothing for a storage that does not work."""
        ...


class MediaMonitor:
    def __init__(self, storage: Probed) -> None:
        self._storage = storage

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while not ctx.draining.is_set():
            await self._storage.probe()
            ctx.progress()
            with ctx.waiting(), anyio.move_on_after(PERIOD_S):
                await ctx.draining.wait()

"""A publisher and dispatchers over one log, a queue and endpoints."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from airy.actors.change_sink import ReaderLimits
from airy.actors.delivery import DeliveryMetrics
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.publisher import Publisher
from airy.actors.runtime import Actor
from airy.model.dead_delivery import DeadDelivery
from airy.queue.api import NO_ENTRY, EntryId, Shard
from airy.queue.sqlite import SqliteQueue
from tests.kit.contracts.queue import entry
from tests.kit.webhooks import (
    SEALER,
    Endpoints,
    Outbox,
    Request,
    acting,
    logged,
    no_rebuild,
)

HOUR_S = 3_600
DAY_S = 86_400


class Setup:
    """A queue, endpoints, and a publisher with its dispatcher over one log."""

    def __init__(self, outbox: Outbox, queue: SqliteQueue) -> None:
        self.outbox = outbox
        self.queue = queue
        self.endpoints = Endpoints()
        self.metrics = DeliveryMetrics()

    def publisher(self) -> Publisher:
        return Publisher(
            self.outbox.bus,
            self.outbox,
            self.outbox,
            self.queue,
            rebuild=no_rebuild,
            limits=ReaderLimits(idle_s=HOUR_S, commit_s=DAY_S),
            position_check_s=DAY_S,
        )

    def dispatcher(self, **limits: Any) -> Dispatcher:
        return Dispatcher(
            self.outbox.bus,
            self.outbox,
            self.outbox,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            disable_webhook=self.outbox.disable_webhook,
            wait_for_arrival=self.queue.wait_for_arrival,
            limits=DispatcherLimits(**{"poll_s": DAY_S, **limits}),
            metrics=self.metrics,
        )

    async def delivered(self, name: str, count: int, *, within_s: float = 10.0) -> list[Request]:
        await self.endpoints.reached(name, count, within_s)
        await anyio.sleep(0.5)
        return self.endpoints.to(name)

    async def dead(self) -> list[DeadDelivery]:
        """From the log, newest first."""
        await self.outbox.dead_deliveries_of("")
        return list(self.outbox.dead.values())[::-1]

    async def empty(self) -> bool:
        stats = await self.queue.stats()
        return (stats.waiting, stats.leased) == (0, 0)


@asynccontextmanager
async def running(
    *, publishing: bool = True, dispatching: bool = True, queue: SqliteQueue | None = None, **limits: Any
) -> AsyncIterator[Setup]:
    async with logged() as outbox:
        queue = queue or SqliteQueue()
        await queue.open()
        made = Setup(outbox, queue)
        actors: list[Actor] = [made.publisher()] if publishing else []
        actors += [made.dispatcher(**limits)] if dispatching else []
        async with acting(*actors, clock=outbox.clock):
            yield made
        await queue.close()


async def put(queue: SqliteQueue, *webhooks: str, count: int = 1, after: EntryId = NO_ENTRY, lane: str = "") -> EntryId:
    """Jobs without a log."""
    first = after[0] + 1
    entries = [entry(number, *webhooks, lane=lane) for number in range(first, first + count)]
    entries = [replace(one, body=msgspec.json.encode({"payload": {"lane": one.lane}})) for one in entries]
    await queue.put(Shard("t", 0), entries, after=after)
    return entries[-1].id

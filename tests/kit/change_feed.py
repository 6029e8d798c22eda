"""Processes with a change feed over one log, and a client that records what it receives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio

from airy.actors.change_feed import ChangeFeed
from airy.actors.feed_position import PARTITIONS, ResumeToken, decode
from airy.actors.feed_subscriber import FeedEvent, FeedItem, FeedLimits, FeedMark, FeedScope, MarkKind
from airy.actors.projector import Projector
from airy.actors.runtime import Child, Context
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock
from airy.store.api import StoredChange
from airy.store.sqlite import SqliteStore
from tests.kit.harness import Harness

EVERYTHING = FeedScope()


class FeedHarness(Harness):
    def __init__(self, seed: int = 0, limits: FeedLimits | None = None) -> None:
        super().__init__(seed)
        self.feed = ChangeFeed(self.bus, self.store, self.projector, limits=limits)

    def broadcaster(self) -> Child:
        return Child(name="broadcaster", start=self.feed.broadcaster, mailbox=self.feed.mailbox, drain_s=0.0)

    async def stored(self) -> list[StoredChange]:
        """Every change of the store, partition by partition."""
        return [
            stored for tp in PARTITIONS for stored in await self.store.changes(tp, after=(-1, -1), changes_max=10_000)
        ]


class FeedClient:
    """`items` is what it received. `behaviour` may wait or raise."""

    def __init__(self) -> None:
        self.items: list[FeedItem] = []
        self.delay_s = 0.0
        self.ended: Exception | None = None

    async def deliver(self, item: FeedItem) -> None:
        if self.delay_s:
            await anyio.sleep(self.delay_s)
        self.items.append(item)

    @property
    def events(self) -> list[FeedEvent]:
        return [item for item in self.items if isinstance(item, FeedEvent)]

    @property
    def ids(self) -> list[str]:
        return [event.stored.change.id for event in self.events]

    @property
    def marks(self) -> list[MarkKind]:
        return [item.kind for item in self.items if isinstance(item, FeedMark)]

    @property
    def token(self) -> ResumeToken | None:
        """Of the last item, through its text."""
        return decode(self.items[-1].resume)

    async def until(self, count: int, within_s: float = 600.0) -> None:
        """Until it has `count` events."""
        with anyio.fail_after(within_s):
            while len(self.events) < count:
                await anyio.sleep(0.01)

    async def until_marked(self, within_s: float = 600.0) -> None:
        with anyio.fail_after(within_s):
            while not self.marks:
                await anyio.sleep(0.01)


@asynccontextmanager
async def following(
    feed: ChangeFeed, resume: ResumeToken | None = None, scope: FeedScope = EVERYTHING, *, delay_s: float = 0.0
) -> AsyncIterator[FeedClient]:
    """A client that is live, unless it ended before."""
    client = FeedClient()
    client.delay_s = delay_s

    async def run() -> None:
        try:
            await feed.follow(scope, resume, client.deliver)
        except Exception as error:  # noqa: BLE001 - for the test to look at
            client.ended = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        with anyio.fail_after(3600):
            while not client.marks and client.ended is None:
                await anyio.sleep(0.01)
        yield client
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def another_process(bus: MemoryBus, *, folding: bool = True) -> AsyncIterator[ChangeFeed]:
    """Its own store and fold over the same log."""
    store = SqliteStore(":memory:")
    await store.open()
    projector = Projector(bus, store)
    feed = ChangeFeed(bus, store, projector)
    clock = LoopClock()
    async with anyio.create_task_group() as tasks:
        if folding:
            tasks.start_soon(projector.run, Context("store", clock=clock, random=Random(0)))
            while not projector.caught_up:
                await anyio.sleep(0.01)
        tasks.start_soon(feed.broadcaster().run, Context("broadcaster", clock=clock, random=Random(0)))
        yield feed
        tasks.cancel_scope.cancel()
    await store.close()

"""Runs actors under test over an in-memory log, a store with its projector, and the simulated Messenger."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import anyio
import structlog
from msgspec.structs import replace
from structlog.testing import LogCapture

from airy import topics
from airy.actors.channel_directory import ChannelDirectory
from airy.actors.parked_replayer import ParkedReplayer
from airy.actors.projector import Projector
from airy.actors.router import Router
from airy.actors.runtime import Actor, Child, Context, Supervision, run_tree
from airy.bus.memory import Faults, MemoryBus
from airy.bus.record import Position
from airy.clock import LoopClock, RandomIds
from airy.model import ids
from airy.model.conversation import Message
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.secret import Secret
from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimHttpClient
from airy.sources.api import WebhookSource
from airy.sources.facebook.source import Facebook
from airy.sources.facebook.spec import FacebookSection
from airy.store.sqlite import SqliteStore
from tests.kit.clock import SkewedClock

GRAPH = "https://graph.sim"


class Harness:
    def __init__(self, seed: int = 0) -> None:
        self.clock = SkewedClock(LoopClock())
        self.faults = Faults(Random(seed))
        self.bus = MemoryBus(topics.ALL, clock=self.clock, faults=self.faults)
        self.store = SqliteStore(":memory:")
        self.projector = Projector(self.bus, self.store)
        self.ids = RandomIds(Random(seed))
        self.logged = LogCapture()
        self.source: WebhookSource = Facebook(
            FacebookSection(
                enabled=True,
                app_id="990011",
                app_secret=(Secret("app-secret"),),
                webhook_secret=Secret("verify-me"),
                graph_url=GRAPH,
            )
        )
        self.provider_webhooks = Counter[str]()  # by what the router did with them
        self.directory = ChannelDirectory(self.bus, self.store, self.projector, now_ms=self.clock.now_ms)
        options = GraphOptions(seed=seed, behaviour=Behaviour(read=0.0, delivered=0.0, echoes=False))
        self.messenger = GraphProvider(options, now_ms=self.clock.now_ms())
        self.fetch = SimHttpClient(self.messenger, self.clock, url=GRAPH)
        self.channel = Channel(
            id=ids.channel_id("facebook", DEMO_PAGE.id),
            source="facebook",
            source_channel_id=DEMO_PAGE.id,
            connected=True,
            token=DEMO_PAGE.token,
        )

    @asynccontextmanager
    async def open(self, **actors: Callable[[], Actor] | Child) -> AsyncIterator["Harness"]:
        """Run log, store and `actors`, started in this order; stop them on leaving."""
        await self.store.open()
        stop, started = anyio.Event(), anyio.Event()
        children = [
            Child(name="bus", start=lambda: self.bus, stall_s=float("inf")),
            Child(name="store", start=lambda: self.projector, drain_s=0.0),
            *(each if isinstance(each, Child) else Child(name=name, start=each) for name, each in actors.items()),
            Child(name="started", start=lambda: _StartedSignal(started)),
        ]
        spec = Supervision(name="harness", strategy="rest_for_one", children=tuple(children))
        log = structlog.wrap_logger(None, processors=[self.logged])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run_tree(spec, clock=self.clock, seed=1, stop=stop, log=log))
            await started.wait()
            yield self
            stop.set()
        await self.store.close()

    def router(self) -> Router:
        return Router(self.bus, self.source, self.directory, counts=self.provider_webhooks)

    def replayer(self) -> ParkedReplayer:
        return ParkedReplayer(
            self.bus, self.source, self.store, self.projector.wait_for_position, self.directory.identities
        )

    async def connect(self, *, connected: bool = True) -> None:
        changed = replace(self.channel, connected=connected, token=self.channel.token if connected else None)
        await self._settled(await self.bus.publish([topics.CHANNELS.record(changed.id, changed)]))

    async def append(self, *facts: Fact) -> None:
        """Append facts and wait until the store has folded them."""
        await self._settled(
            await self.bus.publish([topics.EVENTS.record(fact.conversation_id, fact) for fact in facts])
        )

    async def until(self, message_id: str, wanted: Callable[[Message], bool], *, within_s: float = 3600.0) -> Message:
        """The message once `wanted` is true of it."""
        with anyio.fail_after(within_s):
            while True:
                version = self.projector.version
                message = await self.store.message(message_id)
                if message is not None and wanted(message):
                    return message
                await self.projector.wait_for_progress(version, 60.0)

    async def _settled(self, positions: Sequence[Position]) -> None:
        for position in positions:
            assert await self.projector.wait_for_position(position, 60.0)


class _StartedSignal:
    def __init__(self, started: anyio.Event) -> None:
        self._started = started

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        self._started.set()
        with ctx.waiting():
            await ctx.draining.wait()

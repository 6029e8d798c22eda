"""Runs an installation in this process: opens what is on disk, builds the tree, runs it until told to stop."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import structlog

from airy import components, topics
from airy.actors.runtime import Context, run_tree
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.addresses import ANYWHERE
from airy.app import files
from airy.app.demo import prepared
from airy.app.edge import front
from airy.app.parts import Parts, assemble, webhook_reach
from airy.app.plan import plan
from airy.app.samples import Samples
from airy.app.status import TreeStatus
from airy.bus.journal import Journal, open_journal
from airy.bus.memory import MemoryBus
from airy.clock import Clock, RandomIds, SystemClock
from airy.config import Config, system_token
from airy.fetch_aiohttp import AiohttpFetch
from airy.http.server import HttpServer
from airy.secret import Secret
from airy.store.sqlite import SqliteStore

STOPPED = 0


class Running:
    """What whoever started the system may know and do."""

    def __init__(self, url: str, token: Secret | None, stop: anyio.Event, status: TreeStatus) -> None:
        self.url = url
        self.token = token
        self.status = status
        self._stop = stop

    def stop(self) -> None:
        """Start to drain. Called in the event loop's thread."""
        self._stop.set()


async def up(
    config: Config, *, components: frozenset[str] | None, ephemeral: bool, demo: bool,
    on_started: Callable[[Running], None],
) -> int:  # fmt: skip
    """Returns 0 when it was told to stop and did; raises `TreeFailed` when bugs were more than the tree bears."""
    clock, stop = SystemClock(), anyio.Event()
    async with AsyncExitStack() as held:
        show = await held.enter_async_context(prepared(config)) if demo else None
        config = show.config if show else config
        running = _running(config, components)
        parts = await held.enter_async_context(opened(config, clock, ephemeral=ephemeral))
        samples = Samples(parts)
        status = TreeStatus(parts, running, samples.totals)
        samples.counters = status.counters
        app, ingresses = front(parts, running, status, samples.read)
        samples.watch(app, ingresses)
        server = HttpServer(app, host=config.http.host, port=config.http.port)
        announce = _Once(lambda: on_started(Running(_url(server), system_token(config), stop, status)))
        guests = show.guests(parts, lambda: _url(server)) if show else ()
        await run_tree(
            plan(parts, running, edge=lambda: _Edge(server, announce), guests=guests),
            clock=clock, stop=stop, log=structlog.get_logger("airy"), on_start=status.started,
        )  # fmt: skip
    return STOPPED


def _running(config: Config, chosen: frozenset[str] | None) -> frozenset[str]:
    enabled = components.enabled(config)
    return enabled if chosen is None else (chosen & enabled) | {"http"}


@asynccontextmanager
async def opened(config: Config, clock: Clock, *, ephemeral: bool) -> AsyncIterator[Parts]:
    """The real ports: a journal, files, sockets."""
    async with AsyncExitStack() as held:
        durable = not ephemeral and config.bus.kind == "journal"
        journal: Journal | None = held.enter_context(open_journal(files.journal_path(config))) if durable else None
        store = SqliteStore(files.store_path(config) if durable else ":memory:")
        await store.open()
        held.push_async_callback(store.close)
        queue = SqliteQueue(files.queue_path(config) if durable else ":memory:")
        await queue.open()
        await queue.take_back_leases()  # the journal's lock keeps every other process out
        held.push_async_callback(queue.close)
        yield assemble(
            config, clock=clock, ids=RandomIds(), bus=MemoryBus(topics.ALL, clock=clock, journal=journal), store=store,
            queue=queue, sealer=files.sealer(config),
            provider_fetch=await held.enter_async_context(AiohttpFetch(ANYWHERE)),
            webhook_fetch=await held.enter_async_context(AiohttpFetch(webhook_reach(config))),
            arrived=queue.arrived, checkpoint=store.checkpoint if durable else None,
        )  # fmt: skip


class _Once:
    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class _Edge:
    """The server, and the word that it listens: its address is known only then."""

    def __init__(self, server: HttpServer, listening: Callable[[], None]) -> None:
        self._server = server
        self._listening = listening

    async def run(self, ctx: Context) -> None:
        await self._server.run(_Lifetime(ctx, self._listening))


class _Lifetime:
    def __init__(self, ctx: Context, listening: Callable[[], None]) -> None:
        self.draining = ctx.draining
        self.waiting = ctx.waiting
        self.cleanup = ctx.cleanup
        self._ready = ctx.ready
        self._listening = listening

    def ready(self) -> None:
        self._ready()
        self._listening()


def _url(server: HttpServer) -> str:
    host, port = server.address or ("127.0.0.1", 0)
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

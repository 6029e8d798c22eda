"""Runs an installation in this process: opens what is on disk, builds the tree, runs it until told to stop."""

import platform
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import structlog

from airy import access, components, topics
from airy.actors.runtime import Context, run_tree
from airy.actors.webhooks.queue_redis import RedisQueue
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.addresses import ANYWHERE
from airy.app import files, provision
from airy.app.demo import prepared
from airy.app.edge import front
from airy.app.kafka import kafka_settings
from airy.app.parts import Parts, assemble, webhook_reach
from airy.app.plan import plan
from airy.app.presence import Reporter
from airy.app.redis import redis_server
from airy.app.samples import Samples
from airy.app.status import TreeStatus
from airy.bus.journal import open_journal
from airy.bus.kafka import KafkaBus
from airy.bus.kafka.producer import codec
from airy.bus.memory import MemoryBus
from airy.clock import Clock, RandomIds, SystemClock
from airy.config import Config, system_token
from airy.errors import Refused
from airy.fetch_aiohttp import AiohttpFetch
from airy.http.server import HttpServer
from airy.secret import Secret
from airy.store.sqlite import SqliteStore

STOPPED = 0
DRAIN_S = 30.0  # for everything; what is slower is cancelled, and cleans up before `airy.shutdown` loses patience
HOST = platform.node() or "localhost"
WEBHOOKS = frozenset({"webhook-publisher", "webhook-consumer"})


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
    config: Config,
    *,
    components: frozenset[str] | None,
    ephemeral: bool,
    demo: bool,
    on_started: Callable[[Running], None],
) -> int:
    """Returns 0 when it was told to stop and did; raises `TreeFailed` when bugs were more than the tree bears."""
    clock, stop = SystemClock(), anyio.Event()
    async with AsyncExitStack() as held:
        show = await held.enter_async_context(prepared(config)) if demo else None
        config = show.config if show else config
        running = _running(config, components)
        parts = await held.enter_async_context(opened(config, running, clock, ephemeral=ephemeral))
        samples = Samples(parts)
        status = TreeStatus(parts, running, samples.totals)
        samples.counters = status.counters
        app, ingresses = front(parts, running, status, samples.read)
        samples.watch(app, ingresses)
        server = HttpServer(app, host=config.http.host, port=config.http.port)
        report = Reporter(parts, status, host=HOST, where=lambda: _reachable(server))
        announce = _Once(lambda: on_started(Running(_url(server), system_token(config), stop, status)))
        guests = show.guests(parts, lambda: _url(server)) if show else ()
        await run_tree(
            plan(parts, running, edge=lambda: _Edge(server), report=report, on_folded=announce, guests=guests),
            clock=clock,
            stop=stop,
            drain_s=DRAIN_S,
            log=structlog.get_logger("airy"),
            on_start=status.started,
        )
    return STOPPED


def _running(config: Config, chosen: frozenset[str] | None) -> frozenset[str]:
    enabled = components.enabled(config)
    if chosen is None:
        return enabled
    if off := chosen - enabled:
        names = ", ".join(sorted(off))
        raise Refused(f"not enabled in the configuration: {names}; give it its section under components", field=names)
    return chosen | {"http"}


@asynccontextmanager
async def opened(config: Config, running: frozenset[str], clock: Clock, *, ephemeral: bool) -> AsyncIterator[Parts]:
    """The real ports: a log, files, sockets."""
    _check(config)
    async with AsyncExitStack() as held:
        bus, place = await _log(config, running, clock, held, ephemeral=ephemeral)
        store = SqliteStore(place or ":memory:")
        await store.open()
        held.push_async_callback(store.close)
        queue = await _queue(config, held, durable=place is not None)
        yield assemble(
            config,
            clock=clock,
            ids=RandomIds(),
            bus=bus,
            store=store,
            queue=queue,
            sealer=files.sealer(config),
            provider_fetch=await held.enter_async_context(AiohttpFetch(ANYWHERE)),
            webhook_fetch=await held.enter_async_context(AiohttpFetch(webhook_reach(config))),
            arrived=queue.arrived,
            kept=store if place else None,
        )


def _check(config: Config) -> None:
    """What one key cannot tell alone, and only matters to who runs it."""
    if config.bus.kind == "kafka" and config.queue.kind == "embedded" and components.enabled(config) & WEBHOOKS:
        raise Refused(
            "webhook deliveries of a cluster wait in Redis, where every process finds them: set queue.kind: redis "
            "and queue.redis.url, or --redis redis://host:port/0; or disable webhook-publisher and webhook-consumer",
            field="queue.kind",
        )


async def _log(
    config: Config, running: frozenset[str], clock: Clock, held: AsyncExitStack, *, ephemeral: bool
) -> tuple[MemoryBus | KafkaBus, Path | None]:
    """The log, and the file its store is kept in, if anything is kept."""
    if config.bus.kind == "kafka":
        settings = kafka_settings(config)
        codec(settings)
        kafka = config.bus.kafka
        await provision.verify_topics(
            settings, access.used(running), replication=kafka.replication, min_in_sync=kafka.min_in_sync
        )
        place = held.enter_context(files.claimed_store(config))
        return KafkaBus(topics.ALL, settings), None if ephemeral else place
    if ephemeral or config.bus.kind == "memory":
        return MemoryBus(topics.ALL, clock=clock), None
    journal = held.enter_context(open_journal(files.journal_path(config)))
    return MemoryBus(topics.ALL, clock=clock, journal=journal), files.store_path(config)


async def _queue(config: Config, held: AsyncExitStack, *, durable: bool) -> SqliteQueue | RedisQueue:
    given = config.queue
    if given.kind == "redis":
        shared = RedisQueue(redis_server(config), namespace=given.redis.namespace, jobs_max=given.jobs_max)
        await shared.open()
        held.push_async_callback(shared.close)
        return shared
    queue = SqliteQueue(files.queue_path(config) if durable else ":memory:", jobs_max=given.jobs_max)
    await queue.open()
    await queue.take_back_leases()  # the journal's lock keeps every other process out
    held.push_async_callback(queue.close)
    return queue


class _Once:
    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class _Edge:
    """The server as an actor."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    async def run(self, ctx: Context) -> None:
        await self._server.run(ctx)


def _url(server: HttpServer) -> str:
    """As this machine reaches it."""
    host, port = server.address or ("127.0.0.1", 0)
    return _http({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104


def _reachable(server: HttpServer) -> str | None:
    """As others do, if they can at all."""
    if server.address is None:
        return None
    host, port = server.address
    return _http({"0.0.0.0": HOST, "::": HOST}.get(host, host), port)  # noqa: S104


def _http(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"

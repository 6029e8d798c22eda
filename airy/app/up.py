"""Runs Airy in this process: opens its services, builds the tree, and runs it until `stop` or a failure."""

import platform
from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import structlog

from airy.actors.runtime import Context, run_tree
from airy.app.demo import start_demo
from airy.app.edge import build_edge
from airy.app.garbage_collection import rare_collections
from airy.app.metrics_source import MetricsSource
from airy.app.open_services import open_services
from airy.app.status_reporter import StatusReporter
from airy.app.tree import build_tree
from airy.app.tree_status import TreeStatus
from airy.clock import SystemClock
from airy.config import Config, components_to_run
from airy.http.listener_handover import ListenerHandover
from airy.http.server import HttpServer
from airy.live_config.live_config import LiveConfig
from airy.secret import Secret
from airy.token_file import system_token

STOPPED = 0
DRAIN_S = 30.0  # for the whole tree; after it actors are cancelled and clean up within `airy.shutdown.GUARD_S`
HOST = platform.node() or "localhost"


class RunningSystem:
    """The running process, as its starter may use it."""

    def __init__(self, url: str, token: Secret | None, stop: anyio.Event, status: TreeStatus) -> None:
        self.url = url
        self.token = token
        self.status = status
        self._stop = stop

    def stop(self) -> None:
        """Start to drain. Call it in the event loop's thread."""
        self._stop.set()


async def up(
    config: Config,
    *,
    components: frozenset[str] | None,
    ephemeral: bool,
    demo: bool,
    on_started: Callable[[RunningSystem], None],
    configuration: LiveConfig,
    handover: ListenerHandover,
) -> int:
    """Returns 0 after a requested stop, by a signal or by a change of the configuration.

    Raises `TreeFailed` when bugs exceed the root's restart intensity.
    """
    clock, stop = SystemClock(), anyio.Event()
    async with AsyncExitStack() as held:
        simulation = await held.enter_async_context(start_demo(config)) if demo else None
        config = simulation.config if simulation else config
        running = components_to_run(config, components)
        services = await held.enter_async_context(open_services(config, running, clock, ephemeral=ephemeral))
        metrics = MetricsSource(services)
        status = TreeStatus(services, running, metrics.totals)
        metrics.counters = status.counters
        app, ingresses = build_edge(services, running, status, metrics.read, configuration)
        metrics.attach(app, ingresses)
        server = HttpServer(
            app,
            host=config.http.host,
            port=config.http.port,
            websocket_bytes_max=app.websocket_bytes_max,
            is_webhook=app.is_webhook if ingresses else None,
            handover=handover,
        )
        reporter = StatusReporter(services, status, host=HOST, url=lambda: _public_url(server))
        configuration.on_reload, configuration.running = stop.set, running
        configuration.instance = services.process_logs.instance = lambda: reporter.instance
        tree = build_tree(
            services,
            running,
            http_server=lambda: _HttpActor(server),
            read_status=reporter,
            on_folded=_Once(lambda: on_started(RunningSystem(_local_url(server), system_token(config), stop, status))),
            extra_children=simulation.children(services, lambda: _local_url(server)) if simulation else (),
        )
        log = structlog.get_logger("airy")
        with rare_collections():
            await run_tree(tree, clock=clock, stop=stop, drain_s=DRAIN_S, log=log, on_start=status.started)
    return STOPPED


class _Once:
    """Calls a function at its first call only: the fold barrier may be restarted."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class _HttpActor:
    """Runs the HTTP server."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server

    async def run(self, ctx: Context) -> None:
        await self._server.run(ctx)


def _local_url(server: HttpServer) -> str:
    """The address for clients on this machine."""
    host, port = server.address or ("127.0.0.1", 0)
    return _http_url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104


def _public_url(server: HttpServer) -> str | None:
    """The address for other machines; None until the server listens."""
    if server.address is None:
        return None
    host, port = server.address
    return _http_url({"0.0.0.0": HOST, "::": HOST}.get(host, host), port)  # noqa: S104


def _http_url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"

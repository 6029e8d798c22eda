"""All of Airy in one process, composed as in production, in virtual time. The log is in memory; provider and webhook
endpoint are simulated. Requests enter through the ASGI application.
"""

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import ExitStack, asynccontextmanager
from random import Random
from typing import Any
from urllib.parse import urlsplit

import anyio
import msgspec
import structlog
from msgspec.structs import replace
from structlog.testing import LogCapture

from airy import topics
from airy.actors.runtime import run_tree
from airy.app.edge import build_edge
from airy.app.metrics_source import MetricsSource
from airy.app.services import Ports, build_services
from airy.app.status_reporter import StatusReporter
from airy.app.tree import build_tree
from airy.app.tree_status import TreeStatus
from airy.bus.memory import MemoryBus
from airy.bus.record import Record
from airy.bus.topic import Topic
from airy.clock import LoopClock, RandomIds
from airy.config import Config, HttpConfig, SecurityConfig, enabled_components
from airy.config_file import config_of_text
from airy.http_client import HttpClient, Response
from airy.live_config.live_config import LiveConfig
from airy.log import add_trace
from airy.queue.sqlite import SqliteQueue
from airy.seal import Sealer
from airy.secret import Secret
from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import (
    Behaviour,
    PendingWebhook,
    SimHttpClient,
    SimulatedProvider,
    WebhookAnswer,
    WebhookSender,
)
from airy.sim.provider.api import UNPOSTED
from airy.sim.provider.setup import yaml
from airy.sources.facebook.spec import FacebookSection
from airy.sources.meta.signature import signature
from airy.sources.spec import SourceSection
from airy.store.sqlite import SqliteStore
from tests.kit.asgi import AsgiResponse, call
from tests.kit.clock import SkewedClock
from tests.kit.config_source import MemoryConfigSource
from tests.kit.downloads import WholeBodies
from tests.kit.litestar_pool import leased_app
from tests.kit.media import MemoryStorage
from tests.kit.providers import WIRES
from tests.kit.providers.base import PUBLIC_URL, Webhook, Wire
from tests.kit.scripted_provider import ScriptedProvider
from tests.sim.endpoint import SimulatedEndpoint

GRAPH = "https://graph.sim"
HOOK = "https://hook.example.org/airy"
SECRET = "app-secret"
TOKEN = "a-token-of-thirty-two-characters"
FACEBOOK = WIRES["facebook"]


class InProcessAiry:
    """With Messenger and its simulated provider, with the source of `wire` and a scripted provider, or with the sources
    of `sim`, which posts its webhooks by itself. A process `beside` another one shares its log, queue, clock,
    provider and endpoint. `fleet`: configured as one of several processes.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        running: frozenset[str] | None = None,
        wire: Wire | None = None,
        sim: SimulatedProvider[Any] | None = None,
        beside: "InProcessAiry | None" = None,
        fleet: bool = False,
    ) -> None:
        self.clock: SkewedClock = SkewedClock(LoopClock()) if beside is None else beside.clock
        self._beside = beside
        self.sim = sim
        self.config = _config(_facebook() if wire is None else wire.section) if sim is None else _simulated_config(sim)
        if fleet or (beside is not None and beside.config.bus.kind == "kafka"):
            self.config = replace(self.config, bus=replace(self.config.bus, kind="kafka"))
        self.running = running or enabled_components(self.config)
        self.ids = RandomIds(Random(seed))
        self.bus: MemoryBus = MemoryBus(topics.ALL, clock=self.clock) if beside is None else beside.bus
        self.store = SqliteStore(":memory:")
        self.queue: SqliteQueue = SqliteQueue(":memory:", ids=self.ids) if beside is None else beside.queue
        self.endpoint: SimulatedEndpoint = (
            SimulatedEndpoint(Random(seed), failure_rate=0.0) if beside is None else beside.endpoint
        )
        options = GraphOptions(app_secret=SECRET, seed=seed, behaviour=Behaviour(read=0.0, delivered=0.0, echoes=False))
        self.messenger = GraphProvider(options, now_ms=self.clock.now_ms())
        self.person = self.messenger.person()
        self._graph = SimHttpClient(self.messenger, self.clock, url=GRAPH)
        self.provider = ScriptedProvider(wire or FACEBOOK, self.clock, post=self.deliver)
        if beside is not None:
            self.provider = beside.provider
        self._http: HttpClient = self._graph if wire is None else self.provider
        if sim is not None:
            self._http = SimHttpClient(sim, self.clock, post=self._post_webhook)
        self.provider_calls: list[Mapping[str, str]] = []  # their headers
        self.logged = LogCapture()
        self.services = build_services(
            self.config,
            Ports(
                clock=self.clock,
                ids=self.ids,
                bus=self.bus,
                store=self.store,
                queue=self.queue,
                sealer=Sealer({"k1": bytes(32)}),
                media=MemoryStorage(),
                provider_http=self._fetch,
                provider_files=WholeBodies(self._fetch),
                attachment_files=WholeBodies(self._fetch),
                webhook_http=self._fetch,
                wait_for_arrival=self.queue.wait_for_arrival,
            ),
        )
        self.metrics = MetricsSource(self.services)
        self.status = TreeStatus(self.services, self.running, self.metrics.totals)
        self.metrics.counters = self.status.counters
        configuration = LiveConfig(self.config, MemoryConfigSource())
        self._lease = ExitStack()
        self.app, ingresses = build_edge(
            self.services,
            self.running,
            self.status,
            self.metrics.read,
            configuration,
            lambda resources, parts: self._lease.enter_context(leased_app(resources, parts)),
        )
        self.metrics.attach(self.app, ingresses)
        host = "here" if beside is None else "beside"
        self.report = StatusReporter(self.services, self.status, host=host, url=lambda: "http://127.0.0.1:8080")
        configuration.instance = self.services.process_logs.instance = lambda: self.report.instance

    @asynccontextmanager
    async def open(self) -> AsyncIterator["InProcessAiry"]:
        """Run the tree; stop it in order on leaving. Once: afterwards another process may have the application."""
        await self.store.open()
        if self._beside is None:
            await self.queue.open()
        stop = anyio.Event()
        log = structlog.wrap_logger(
            None,
            processors=[structlog.contextvars.merge_contextvars, add_trace, self.logged],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: run_tree(
                    build_tree(self.services, self.running, read_status=self.report),
                    clock=self.clock,
                    seed=1,
                    stop=stop,
                    log=log,
                    on_start=self.status.started,
                )
            )
            await self.until(lambda: not self.status.waiting_for())
            async with anyio.create_task_group() as webhooks:
                if self.sim is not None:
                    webhooks.start_soon(WebhookSender(self.sim, self.clock, self._post_webhook).run)
                yield self
                webhooks.cancel_scope.cancel()
            stop.set()
        if self._beside is None:
            await self.queue.close()
        await self.store.close()
        self._lease.close()

    async def until(self, wanted: Callable[[], Any], *, within_s: float = 120.0) -> Any:
        """The first truthy result of `wanted`."""
        with anyio.fail_after(within_s):
            while not (found := wanted()):
                await anyio.sleep(0.1)
        return found

    def line(self, event: str) -> MutableMapping[str, Any] | None:
        """The first log line of the tree with this event."""
        return next((entry for entry in self.logged.entries if entry["event"] == event), None)

    async def records(self, topic: Topic[Any]) -> list[Record]:
        async with self.bus.tail(await self.bus.beginning_offsets([topic])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)

    # --- requests

    async def post(self, path: str, body: object = None, /, **headers: str) -> AsgiResponse:
        given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(self.app, "POST", path, body=msgspec.json.encode(body), headers=given.items())

    async def asked(self, path: str, body: object = None, /, **headers: str) -> Any:
        answer = await self.post(path, body, **headers)
        assert answer.status < 300, (answer.status, answer.body)
        return answer.json() if answer.body else None

    async def get(self, path: str) -> AsgiResponse:
        return await call(self.app, "GET", path, headers=[("authorization", f"Bearer {TOKEN}")])

    async def says(self, text: str, **headers: str) -> AsgiResponse:
        """A person writes to the page: one signed webhook, as the provider posts it."""
        self.messenger.says(self.person, text, self.clock.now_ms())  # opens the reply window; posts nothing
        event = {
            "sender": {"id": self.person},
            "recipient": {"id": DEMO_PAGE.id},
            "timestamp": self.clock.now_ms(),
            "message": {"mid": f"m_{text}", "text": text},
        }
        body = msgspec.json.encode(
            {
                "object": "page",
                "entry": [{"id": DEMO_PAGE.id, "time": self.clock.now_ms(), "messaging": [event]}],
            }
        )
        return await self.posts(body, **headers)

    async def posts(self, body: bytes, **headers: str) -> AsgiResponse:
        """Post a signed webhook."""
        signed = f"sha256={signature(SECRET, body).decode()}"
        given = {"x-hub-signature-256": signed, "content-type": "application/json", **headers}
        return await call(self.app, "POST", "/facebook", body=body, headers=given.items())

    async def deliver(self, webhook: Webhook) -> None:
        """A webhook of the scripted provider; it has to be accepted."""
        path = f"{webhook.path}{'?' if webhook.query else ''}{webhook.query}"
        given = {name.decode(): value.decode() for name, value in self.provider.wire.signed(webhook)}
        given["content-type"] = webhook.content_type
        answer = await call(self.app, "POST", path, body=webhook.body, headers=given.items())
        assert answer.status == 200, (answer.status, answer.body)

    async def _post_webhook(self, webhook: PendingWebhook) -> WebhookAnswer:
        """A webhook of `sim`."""
        if not webhook.url:
            return UNPOSTED
        parts = urlsplit(webhook.url)
        given = webhook.headers.items()
        answer = await call(self.app, "POST", parts.path, query=parts.query, body=webhook.body, headers=given)
        return WebhookAnswer(answer.status, answer.body)

    async def connect_form(self) -> dict[str, Any]:
        """Connect the account of the scripted provider."""
        kind, wire = self.provider.kind, self.provider.wire
        given = msgspec.structs.asdict(wire.form(kind))
        body = {name: part.reveal() if isinstance(part, Secret) else part for name, part in given.items() if part}
        channel: dict[str, Any] = await self.asked(f"/channels.{kind}.connect", body)
        return channel

    async def connect(self) -> None:
        await self.asked("/channels.facebook.connect", {"page_id": DEMO_PAGE.id, "page_token": DEMO_PAGE.token})

    async def subscribe(self, *events: str) -> None:
        await self.asked("/webhooks.subscribe", {"url": HOOK, "events": list(events)})

    async def _fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        provider = not url.startswith(HOOK)
        if provider:
            self.provider_calls.append(headers)
        port: HttpClient = self._http if provider else self.endpoint
        return await port(
            method,
            url,
            headers=headers,
            body=body,
            connect_s=connect_s,
            total_s=total_s,
            body_bytes_max=body_bytes_max,
        )


def _facebook() -> FacebookSection:
    return FacebookSection(
        enabled=True,
        app_id="990011",
        app_secret=(Secret(SECRET),),
        webhook_secret=Secret("verify-me"),
        graph_url=GRAPH,
    )


def _simulated_config(sim: SimulatedProvider[Any]) -> Config:
    return replace(
        config_of_text(yaml(sim.setup(sim.default_address), public_url=PUBLIC_URL)),
        http=HttpConfig(public_url=PUBLIC_URL),
        security=SecurityConfig(system_token=Secret(TOKEN)),
    )


def _config(section: SourceSection) -> Config:
    config = Config(http=HttpConfig(public_url=PUBLIC_URL), security=SecurityConfig(system_token=Secret(TOKEN)))
    return config.with_sections(section)

"""A process for tests of the HTTP API: log, store, projector, webhook queue, commands and the ASGI application.

`ApiHarness.post` and `call` send requests as a client does. `ApiHarness.append` appends facts to the log that no client
writes, such as a contact's message.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from airy import components, topics
from airy.actors.change_feed import ChangeFeed
from airy.actors.feed_subscriber import FeedLimits
from airy.actors.process_logs import ProcessLogs
from airy.actors.projector import Projector
from airy.actors.runtime import Context
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, Record
from airy.bus.topic import Topic
from airy.clock import LoopClock, RandomIds
from airy.commands import Commands, DeadLetterCommands, EndpointTests, TopicBrowser, VisitorSettings, Writer
from airy.commands.channels import ChannelSource
from airy.commands.message_traces import MessageTracer, ProcessTimes
from airy.components import Service
from airy.egress import UNRESTRICTED, EgressPolicy
from airy.errors import Refused, Unavailable
from airy.http.admission import AdmissionControl, AdmissionLimits, ApiAdmission
from airy.http.api_tokens import ApiTokenDirectory
from airy.http.app import RootAsgiApp
from airy.http.auth import Authenticator, Guard, TokenAuthenticator
from airy.http.body_reader import BodyReader
from airy.http.catalogue import RESOURCES, any_origin, served
from airy.http.client_address import ClientLimiter
from airy.http.configured_tokens import ConfiguredTokens
from airy.http.cors import CorsPolicy
from airy.http.custom_source_directory import CustomSourceDirectory
from airy.http.edge_litestar import LitestarParts
from airy.http.ingress import Ingress
from airy.http.login.provider import IdentityProvider
from airy.http.login.routes import LoginRoutes, LoginSettings
from airy.http.ports import ApiContext
from airy.http.resource import Resource
from airy.http.sessions import COOKIE, HOST_COOKIE, CookieAuthenticator, SessionDirectory
from airy.http.signed_tokens import SignedTokenDirectory
from airy.http.store_refresh import StoreRefresh
from airy.http.visitor_directory import VisitorDirectory
from airy.http.websocket import WebsocketLimits, WebsocketRouter
from airy.http_client import ConnectFailed, HttpClient, Response
from airy.live_config.live_config import LiveConfig
from airy.live_config.source import ConfigSource
from airy.log import masker
from airy.log_ring import LogRing
from airy.media.library import MediaLimits
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.model.fleet import FleetStatus
from airy.model.process_status import ActorTree
from airy.permissions import Role
from airy.queue.sqlite import SqliteQueue
from airy.rate_limit import RateLimiter, RateLimits
from airy.seal import Sealer
from airy.secret import Secret
from airy.sources.api import Account, AccountKey, Call, Connected, Installation, Target
from airy.sources.catalogue import BY_NAME
from airy.sources.chatplugin.source import ChatPlugin
from airy.sources.chatplugin.spec import ChatPluginSection
from airy.sources.facebook.spec import ConnectPage, ExplorePages
from airy.sources.spec import ChannelForm, narrow
from airy.store.guarded_queries import GuardedQueries
from airy.store.sqlite import SqliteStore
from tests.kit.asgi import AsgiResponse, call
from tests.kit.builders import START_MS
from tests.kit.clock import SkewedClock
from tests.kit.config_source import MemoryConfigSource
from tests.kit.litestar_pool import leased_app
from tests.kit.media import MemoryStorage, media_library
from tests.kit.signing import SigningSource

TOKEN = "a-token-of-thirty-two-characters"
DAY_MS = 86_400_000
CREDENTIALS = (topics.API_TOKENS, topics.USERS, topics.CUSTOM_SOURCES)
ORIGIN = "https://inbox.example.net"
PUBLIC_URL = "https://api.example.net"
CONFIGURED_SECRET = "a-secret-of-the-configuration"
JWT_SECRET = "c2VjcmV0" * 16  # base64
LOGINS = {"ada@example.org": Role.ADMIN, "bob@example.org": Role.AGENT}  # who may log in


class FakeHealth:
    """Returns the values of its attributes."""

    def __init__(self) -> None:
        self.is_alive = True
        self.waiting: dict[str, str] = {}
        self.off: set[str] = set()  # services that are not enabled
        self.fleet_status = FleetStatus()
        self.tree = ActorTree()

    def alive(self) -> bool:
        return self.is_alive

    def waiting_for(self) -> Mapping[str, str]:
        return self.waiting

    def fleet(self) -> FleetStatus:
        return self.fleet_status

    def actors(self) -> ActorTree:
        return self.tree

    def services(self) -> Mapping[str, Service]:
        components = {"api-communication": "api-communication", "webhook-publisher": "integration-webhook"}
        return {
            name: Service(enabled=name not in self.off, healthy=name not in self.off, component=component)
            for name, component in components.items()
        }


class FakePages:
    """A provider with two pages and one user token that has access to them."""

    token = "user token"
    pages = ("204918377001", "204918377002")
    spec = BY_NAME["facebook"]

    def __init__(self) -> None:
        self.subscribed: set[str] = set()
        self.refusal: str | None = None  # of a disconnect
        self.error: Exception | None = None  # a disconnect raises it
        self.busy: Unavailable | None = None  # an explore raises it
        self.explored = 0

    async def connect(self, client: HttpClient, kind: str, form: ChannelForm, installation: Installation) -> Connected:
        page = narrow(form, ConnectPage)
        if page.page_token.reveal() != self.token or page.page_id not in self.pages:
            raise Refused("the provider knows no such page for this token", field="page_id")
        self.subscribed.add(page.page_id)
        return Connected(
            account=page.page_id,
            name=page.name or f"Page {page.page_id[-1]}",
            image_url=page.image_url,
            metadata={"page_id": page.page_id},
            credentials={"token": Secret("long lived token")},
        )

    def typing(self, target: Target, provider_id: str | None) -> Sequence[Call]:
        return ()

    async def disconnect(self, client: HttpClient, target: Target, others: Collection[Channel]) -> str | None:
        if self.error is not None:
            raise self.error
        if target.credentials["token"].reveal() != "long lived token":
            return "this token may not unsubscribe the page"
        if self.refusal is None:
            self.subscribed.discard(target.channel.source_channel_id)
        return self.refusal

    async def explore(
        self, client: HttpClient, kind: str, form: Struct, connected: Collection[AccountKey]
    ) -> list[Account]:
        self.explored += 1
        if self.busy is not None:
            raise self.busy
        given = narrow(form, ExplorePages)
        token = given.auth_token or given.token
        if token is None:
            raise Refused("is required", field="auth_token")
        if token.reveal() != self.token:
            raise Refused("the provider does not know this token", field="auth_token")
        return [Account(page, f"Page {page[-1]}", None, AccountKey(kind, page) in connected) for page in self.pages]


async def no_network(*_: object, **__: object) -> Response:
    raise AssertionError("no provider is called")


async def no_endpoint(*_: object, **__: object) -> Response:
    raise ConnectFailed("no endpoint of a webhook answers")


class ApiHarness(Struct):
    """A running process. With `projecting` false its store lags until the test runs `projector`."""

    bus: MemoryBus
    store: SqliteStore
    queue: SqliteQueue
    projector: Projector
    health: FakeHealth
    app: RootAsgiApp
    writer: Writer
    sealer: Sealer
    pages: FakePages
    changes: ChangeFeed
    storage: MemoryStorage
    clock: SkewedClock
    configuration: LiveConfig

    async def post(self, path: str, body: object = None, /, **headers: str) -> AsgiResponse:
        """POST JSON with the token. Header names are given with underscores; None: no body."""
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(self.app, "POST", path, body=raw, headers=given.items())

    async def call(self, path: str, body: object = None, /, status: int = 200, **headers: str) -> Any:
        """The decoded body of the response, which must have `status`."""
        answer = await self.post(path, body, **headers)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json() if answer.body else None

    async def append(self, *facts: Fact | Channel) -> None:
        """Append to the log; everything is folded on return."""
        await self.writer.write([_record_of(fact) for fact in facts])

    async def records(self, topic: Topic[Any]) -> list[Record]:
        async with self.bus.tail(await self.bus.beginning_offsets([topic])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)


def _record_of(thing: Fact | Channel) -> ProducerRecord:
    if isinstance(thing, Channel):
        return topics.CHANNELS.record(thing.id, thing)
    return topics.EVENTS.record(thing.conversation_id, thing)


@asynccontextmanager
async def api_harness(
    *,
    authenticators: Iterable[Authenticator] | None = None,
    projecting: bool = True,
    wait_s: float = 5.0,
    seed: int = 0,
    caught_up: Callable[[], bool] = lambda: True,
    feed_limits: FeedLimits | None = None,
    running: Collection[str] = frozenset(components.BY_ID),
    resources: Sequence[Resource] = RESOURCES,
    websocket_limits: WebsocketLimits | None = None,
    provider: IdentityProvider | None = None,
    secure: bool = False,
    rate_limits: RateLimits | None = None,
    anonymous_limits: RateLimits | None = None,
    trusted_proxies: Collection[str] = (),
    api_limits: AdmissionLimits | None = None,
    webhook_limits: AdmissionLimits | None = None,
    media_limits: MediaLimits | None = None,
    media_valid_s: int | None = None,
    visitors: VisitorSettings | None = None,
    connectable: Mapping[str, ChannelSource] | None = None,
    client: HttpClient | None = None,
    egress_policy: EgressPolicy = UNRESTRICTED,
    logs: ProcessLogs | None = None,
    config_source: ConfigSource | None = None,
) -> AsyncIterator[ApiHarness]:
    clock, ids = SkewedClock(LoopClock(START_MS + DAY_MS)), RandomIds(Random(seed))
    bus, store, queue = MemoryBus(topics.ALL, clock=clock), SqliteStore(":memory:"), SqliteQueue(ids=ids)
    await store.open()
    await queue.open()
    sealer = Sealer({"k1": bytes(32)})
    pages, storage = FakePages(), MemoryStorage()
    projector, health, reader = Projector(bus, store), FakeHealth(), BodyReader()
    writer = Writer(bus, projector.wait_for_position, clock, ids, within_s=wait_s, held=projector.held)
    queries = GuardedQueries(store, projector.held)
    changes = ChangeFeed(bus, store, projector, limits=feed_limits)
    sources: dict[str, ChannelSource] = {"facebook": pages, "chatplugin": ChatPlugin(ChatPluginSection())}
    sources.update(connectable or {})
    source = config_source or MemoryConfigSource()
    configuration = LiveConfig(source.config_of(source.read()), source)
    api = ApiContext(
        commands=Commands(
            writer,
            queries,
            sealer,
            sources.get,
            client or no_network,
            Installation(derived_secret=lambda _: Secret("a fresh secret"), public_url=PUBLIC_URL),
            visitors=visitors,
            egress_policy=egress_policy,
        ),
        store=queries,
        queue=queue,
        dead_letters=DeadLetterCommands(bus, clock),
        endpoint_tests=EndpointTests(queue, client or no_endpoint, sealer, clock, ids),
        message_traces=MessageTracer(
            bus, queries, store, queue, health.fleet, ProcessTimes(projector.times, changes.times)
        ),
        logs=logs or ProcessLogs(LogRing(epoch="tests")),
        topics=TopicBrowser(bus, clock, masker([CONFIGURED_SECRET])),
        wait_for_position=projector.wait_for_position,
        changes=changes,
        media=media_library(storage, clock, limits=media_limits, valid_s=media_valid_s),
        health=health,
        configuration=configuration,
        clock=clock,
        ids=ids,
        installation="tests",
        version="1.2.3",
        read_wait_s=wait_s,
        caught_up=caught_up,
    )
    refresh = StoreRefresh(lambda: projector.wait_until_current(CREDENTIALS, wait_s))
    signed = SignedTokenDirectory(Secret(JWT_SECRET), Role.AGENT, clock)
    configured = ConfiguredTokens({"tests": Secret(TOKEN)})
    tokens = TokenAuthenticator(
        configured,
        ApiTokenDirectory(queries, clock, caught_up, refresh),
        VisitorDirectory(api.commands.visitors, caught_up),
        CustomSourceDirectory(api.commands.custom_sources, queries, caught_up, refresh),
        signed,
    )
    sessions = SessionDirectory(queries, clock, LOGINS.get, caught_up, refresh)
    by_cookie = CookieAuthenticator({name: [sessions, signed] for name in (HOST_COOKIE, COOKIE)})
    clients = ClientLimiter(RateLimiter(anonymous_limits), trusted_proxies)
    guard = Guard([tokens, by_cookie] if authenticators is None else authenticators, RateLimiter(rate_limits), clients)
    settings = LoginSettings(session_s=3_600, success_url="/inbox", logout_url="/", secure=secure)
    login = LoginRoutes(api.commands.users, api.commands.audit, sessions, provider, LOGINS.get, settings, ids)
    webhooks = AdmissionControl(webhook_limits)
    ingress = Ingress(SigningSource(), bus, clock=clock, ids=ids, admission=webhooks, reader=reader)

    async def samples() -> Mapping[str, float | Mapping[str, float]]:
        return {"responses_total": dict(root.responses), "send_pending": 3}

    running_resources = served(resources, running)
    websockets = WebsocketRouter(
        api, guard, [route for each in running_resources for route in each.websockets], websocket_limits
    )
    parts = LitestarParts(api=api, reader=reader, guard=guard, login=login, samples=samples)
    with leased_app(running_resources, parts) as app:
        root = RootAsgiApp(
            app,
            [ingress],
            cors=CorsPolicy([ORIGIN], PUBLIC_URL),
            ids=ids,
            websockets=websockets,
            admission=ApiAdmission(api_limits, webhooks),
            limiters=(guard.limiter, guard.clients.limiter, *api.commands.visitors.settings.limiters),
            any_origin=any_origin(running_resources),
        )
        async with anyio.create_task_group() as tasks:
            if projecting:
                tasks.start_soon(projector.run, Context("store", clock=clock, random=Random(seed)))
            tasks.start_soon(changes.broadcaster().run, Context("broadcaster", clock=clock, random=Random(seed)))
            yield ApiHarness(
                bus,
                store,
                queue,
                projector,
                health,
                root,
                writer,
                sealer,
                pages,
                changes,
                storage,
                clock,
                configuration,
            )
            tasks.cancel_scope.cancel()
    await queue.close()
    await store.close()


def position_of(answer: AsgiResponse) -> Position:
    return topics.parse_position_token(answer.headers["x-airy-position"])

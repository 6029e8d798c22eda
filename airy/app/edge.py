"""Builds the HTTP edge of a process: provider webhooks, the API, probes and metrics, in one ASGI application."""

from collections.abc import Awaitable, Callable
from functools import partial

from airy import __version__, topics
from airy.app.authentication import REFRESH_S, Authentication, build_authentication
from airy.app.services import Services, installation_name, public_url
from airy.app.tree_status import TreeStatus
from airy.commands import DeadLetterCommands, EndpointTests, TopicBrowser
from airy.commands.message_traces import MessageTracer, ProcessTimes
from airy.components import ConsumerSection, WebsocketSection
from airy.config import Config
from airy.config_secrets import secret_values
from airy.http import metrics
from airy.http.admission import AdmissionControl, AdmissionLimits, ApiAdmission
from airy.http.app import RootAsgiApp
from airy.http.auth import Guard
from airy.http.body_reader import BodyLimits, BodyReader
from airy.http.catalogue import RESOURCES, any_origin, served
from airy.http.client_address import ClientLimiter
from airy.http.cors import CorsPolicy
from airy.http.edge_litestar import BuildLitestar, LitestarParts, build_litestar
from airy.http.ingress import Ingress
from airy.http.ports import ApiContext
from airy.http.store_refresh import StoreRefresh
from airy.http.websocket import WebsocketLimits, WebsocketRouter
from airy.live_config.live_config import LiveConfig
from airy.log import masker
from airy.rate_limit import RateLimiter, RateLimits
from airy.webhooks.send import DeliveryTimeouts

API_QUEUE_MAX = 1_024

ReadSamples = Callable[[], Awaitable[metrics.Samples]]


def build_edge(
    services: Services,
    running: frozenset[str],
    status: TreeStatus,
    read_samples: ReadSamples,
    configuration: LiveConfig,
    build: BuildLitestar = build_litestar,
) -> tuple[RootAsgiApp, list[Ingress]]:
    """The ASGI application, and the provider endpoints in it."""
    config, ports = services.config, services.ports
    reader = BodyReader(BodyLimits(bytes_max=config.http.body_bytes_max))
    admission = AdmissionControl(AdmissionLimits(in_flight_max=config.http.in_flight_max))
    ingresses = _ingresses(services, running, admission)
    context = _api_context(services, status, configuration)
    authentication = build_authentication(services)
    guard, resources = _guard(config, authentication), served(RESOURCES, running)
    login = authentication.login if "api-admin" in running else None
    app = build(resources, LitestarParts(api=context, reader=reader, guard=guard, login=login, samples=read_samples))
    routes = [route for each in resources for route in each.websockets]
    limits = WebsocketLimits(sessions_max=config.section(WebsocketSection).sessions_max)
    websockets = WebsocketRouter(context, guard, routes, limits) if routes else None
    cors = CorsPolicy(config.http.allowed_origins, public_url(config))
    api_admission = ApiAdmission(
        AdmissionLimits(in_flight_max=config.http.api_in_flight_max, queue_max=API_QUEUE_MAX), admission
    )
    root = RootAsgiApp(
        app,
        ingresses,
        cors=cors,
        ids=ports.ids,
        websockets=websockets,
        admission=api_admission,
        limiters=(guard.limiter, guard.clients.limiter, *services.commands.visitors.settings.limiters),
        any_origin=any_origin(resources),
    )
    return root, ingresses


def _api_context(services: Services, status: TreeStatus, configuration: LiveConfig) -> ApiContext:
    config, ports = services.config, services.ports
    mask = masker(secret_values(config))
    return ApiContext(
        commands=services.commands,
        store=services.queries,
        queue=ports.queue,
        dead_letters=DeadLetterCommands(ports.bus, ports.clock),
        endpoint_tests=EndpointTests(
            ports.queue,
            ports.webhook_http,
            ports.sealer,
            ports.clock,
            ports.ids,
            timeouts=DeliveryTimeouts(total_s=config.section(ConsumerSection).timeout_s),
        ),
        message_traces=MessageTracer(
            ports.bus,
            services.queries,
            ports.store,
            ports.queue,
            status.fleet,
            ProcessTimes(services.projector.times, services.changes.times, lambda: services.process_logs.name),
            mask,
        ),
        logs=services.process_logs,
        topics=TopicBrowser(ports.bus, ports.clock, mask),
        wait_for_position=services.projector.wait_for_position,
        changes=services.changes,
        media=services.media,
        health=status,
        configuration=configuration,
        clock=ports.clock,
        ids=ports.ids,
        version=__version__,
        installation=installation_name(ports.sealer),
        caught_up=lambda: services.projector.caught_up,
    )


def _ingresses(services: Services, running: frozenset[str], admission: AdmissionControl) -> list[Ingress]:
    ports = services.ports
    reader = BodyReader()  # it takes nothing of the API's share of unfinished bodies
    refresh = StoreRefresh(partial(services.projector.wait_until_current, [topics.CHANNELS], REFRESH_S))
    return [
        Ingress(
            services.sources.with_webhooks(name),
            ports.bus,
            clock=ports.clock,
            ids=ports.ids,
            admission=admission,
            reader=reader,
            accounts=services.channel_directory.refresh,
            public_url=public_url(services.config),
            caught_up=lambda: services.projector.caught_up,
            refresh=refresh,
        )
        for name in topics.SOURCE_NAMES
        if f"sources-{name}" in running
    ]


def _guard(config: Config, authentication: Authentication) -> Guard:
    http = config.http
    callers = RateLimits(requests_per_s=http.caller_requests_per_s, burst=http.caller_burst)
    anonymous = RateLimits(requests_per_s=http.anonymous_requests_per_s, burst=http.anonymous_burst)
    clients = ClientLimiter(RateLimiter(anonymous), http.trusted_proxies)
    return Guard(authentication.authenticators, RateLimiter(callers), clients)

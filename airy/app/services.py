"""Everything one process runs on: its ports, and the services built over them.

`Ports` is what differs between a real process and a simulated one; `build_services` derives the rest from them and the
configuration, so both run the same code.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from hmac import digest
from pathlib import Path

import anyio
from msgspec import Struct, field
from msgspec.structs import asdict

from airy import base64url, topics
from airy.actors.bug_report import BugCounts
from airy.actors.change_feed import ChangeFeed
from airy.actors.channel_directory import ChannelDirectory
from airy.actors.delivery import DeliveryMetrics
from airy.actors.feed_subscriber import FeedLimits
from airy.actors.lag_monitor import LagMonitor
from airy.actors.media_fetcher import MediaSources
from airy.actors.process_logs import ProcessLogs
from airy.actors.process_registry import ProcessRegistry
from airy.actors.projector import Projector
from airy.app.source_registry import SourceRegistry
from airy.bus.api import Bus
from airy.clock import Clock, Ids
from airy.commands import ChannelSecrets, Commands, VisitorSettings, Writer
from airy.components import CommunicationSection, WebsocketSection
from airy.config import Config
from airy.egress import EgressPolicy
from airy.http.store_refresh import StoreRefresh
from airy.http_client import Downloader, HttpClient
from airy.log_ring import RECENT
from airy.media.attachment_download import AttachmentDownloads, origin
from airy.media.library import MediaLibrary, MediaLimits
from airy.media.signed_url import PURPOSE, SignedUrls
from airy.media.storage import MediaStorage
from airy.queue.api import WebhookQueue
from airy.rate_limit import RateLimiter, RateLimits
from airy.seal import Sealer
from airy.secret import Secret
from airy.sources.api import Installation
from airy.sources.catalogue import spec_of
from airy.sources.chatplugin.spec import ChatPluginSection
from airy.sources.provider_pauses import ProviderPauses
from airy.sources.spec import SourceSection, SourceSpec
from airy.store.api import Store, StoreQueries
from airy.store.guarded_queries import GuardedQueries

VISITS_CURRENT_S = 5.0  # a visit that is resumed waits so long for the store
INGESTED = (topics.EVENTS, topics.CHANNELS, topics.CUSTOM_SOURCES)  # what a batch of a custom source refers to
INGEST_CURRENT_S = 5.0  # a batch that refers to what the store lacks waits so long for it
INSTALLATION = "installation"  # of which text its name is derived
INSTALLATION_CHARS = 16
SECRETS_PURPOSE = "secrets for providers"  # the keys are derived for it
VISITORS_MAX = 100_000  # whose limits are kept


class Ports(Struct, kw_only=True):
    clock: Clock
    ids: Ids
    bus: Bus
    store: Store
    queue: WebhookQueue
    sealer: Sealer
    media: MediaStorage
    provider_http: HttpClient  # to providers: addresses from the configuration
    webhook_http: HttpClient  # to webhook endpoints: addresses from API callers, restricted by `EgressPolicy`
    provider_files: Downloader  # from the addresses of providers that the configuration names
    attachment_files: Downloader  # from addresses in messages, restricted by `EgressPolicy`
    media_temporary: Path | None = None  # for files that are being received; None: the system's directory
    wait_for_arrival: Callable[[float], Awaitable[None]] = anyio.sleep  # returns when the queue has new jobs, or later


class ProcessCounters(Struct):
    """Totals that survive the restart of an actor."""

    provider_webhooks: Counter[str] = field(default_factory=Counter)  # by outcome: routed, parked, dead-lettered …
    channel_checks: Counter[str] = field(default_factory=Counter)  # by outcome
    media_fetches: Counter[str] = field(default_factory=Counter)  # by outcome; `waiting` is a gauge
    bugs: BugCounts = field(default_factory=Counter)  # of sends, look-ups, checks and fetches
    deliveries: DeliveryMetrics = field(default_factory=DeliveryMetrics)


class Services(Struct, kw_only=True):
    config: Config
    ports: Ports
    projector: Projector
    queries: StoreQueries  # for the API
    lag_monitor: LagMonitor
    process_registry: ProcessRegistry
    process_logs: ProcessLogs
    sources: SourceRegistry
    channel_secrets: ChannelSecrets
    channel_directory: ChannelDirectory
    commands: Commands
    changes: ChangeFeed
    media: MediaLibrary
    provider_pauses: ProviderPauses  # shared by the connector and the commands
    counters: ProcessCounters = field(default_factory=ProcessCounters)


def build_services(config: Config, ports: Ports) -> Services:
    projector = Projector(ports.bus, ports.store)
    queries = GuardedQueries(ports.store, projector.held)
    secrets = ChannelSecrets(ports.sealer)
    pauses = ProviderPauses()
    sources = SourceRegistry(lambda spec: source_section(config, spec), public_url(config))
    websocket = config.section(WebsocketSection)
    return Services(
        config=config,
        ports=ports,
        projector=projector,
        queries=queries,
        lag_monitor=LagMonitor(ports.bus, projector),
        process_registry=ProcessRegistry(ports.bus, ports.clock),
        process_logs=ProcessLogs(RECENT),
        sources=sources,
        channel_secrets=secrets,
        channel_directory=ChannelDirectory(
            ports.bus, ports.store, projector, unseal=secrets.unseal, now_ms=ports.clock.now_ms
        ),
        commands=Commands(
            Writer(ports.bus, projector.wait_for_position, ports.clock, ports.ids, held=projector.held),
            queries,
            ports.sealer,
            sources.of_kind,
            ports.provider_http,
            Installation(
                public_url=public_url(config),
                derived_secret=partial(derived_secret, ports.sealer),
                now_ms=ports.clock.now_ms,
            ),
            message_ttl_s=config.section(CommunicationSection).message_ttl_s,
            egress_policy=webhook_egress_policy(config),
            pauses=pauses,
            visitors=visitor_settings(config, projector),
            refresh=StoreRefresh(lambda: projector.wait_until_current(INGESTED, INGEST_CURRENT_S)),
        ),
        changes=ChangeFeed(
            ports.bus, ports.store, projector, limits=FeedLimits(subscribers_max=websocket.sessions_max)
        ),
        media=media_library(config, ports),
        provider_pauses=pauses,
    )


def visitor_settings(config: Config, projector: Projector) -> VisitorSettings:
    section = config.section(ChatPluginSection)

    async def current(conversation_id: str) -> bool:
        partition = topics.EVENTS.partition(conversation_id)
        return await projector.wait_until_current([topics.EVENTS], VISITS_CURRENT_S, partition=partition)

    requests = RateLimits(requests_per_s=section.requests_per_s, burst=section.requests_burst, callers_max=VISITORS_MAX)
    visits = RateLimits(requests_per_s=section.visits_per_s, burst=section.visits_burst)
    return VisitorSettings(
        requests=RateLimiter(requests),
        visits=RateLimiter(visits),
        rotating=section.resume_tokens == "rotating",
        current=current,
    )


def source_section(config: Config, spec: SourceSpec) -> SourceSection:
    return config.section(spec.section)


def public_url(config: Config) -> str:
    """Without a slash at the end; empty if it is not configured."""
    return (config.http.public_url or "").rstrip("/")


def media_library(config: Config, ports: Ports, limits: MediaLimits | None = None) -> MediaLibrary:
    """`limits`: other than those of uploads."""
    media = config.media
    base = public_url(config) or f"http://{config.http.host}:{config.http.port}"
    public = media.s3.public_url if media.kind == "s3" else None
    return MediaLibrary(
        ports.media,
        SignedUrls(ports.sealer.signing_keys(PURPOSE), base, media.urls_valid_s),
        ports.clock,
        temporary=ports.media_temporary,
        prefix=media.prefix,
        public_base=(public or "").rstrip("/"),
        limits=limits or MediaLimits(bytes_max=media.bytes_max, types=media.types, files_at_once_max=media.uploads_max),
    )


def attachment_downloads(config: Config, ports: Ports) -> AttachmentDownloads:
    """Over a library with the limits of fetched files, in the same storage."""
    fetch = config.media.fetch
    limits = MediaLimits(bytes_max=fetch.bytes_max, types=fetch.types, files_at_once_max=fetch.parallel_max)
    return AttachmentDownloads(
        media_library(config, ports, limits),
        guarded=ports.attachment_files,
        configured=ports.provider_files,
        total_s=fetch.timeout_s,
    )


def attachment_egress_policy(config: Config) -> EgressPolicy:
    """Which addresses attachments are fetched from; checked again at each connection."""
    fetch = config.media.fetch
    ports = () if fetch.allow_http or fetch.allow_private_addresses else (443,)
    return EgressPolicy(ports=ports, http=fetch.allow_http, private=fetch.allow_private_addresses)


def media_sources(services: Services) -> MediaSources:
    def origins_of(kind: str) -> frozenset[str]:
        """Of the addresses in the section of a source: where its API is."""
        values = asdict(source_section(services.config, spec_of(kind))).values()
        return frozenset(origin(each) for each in values if isinstance(each, str) and "://" in each)

    return MediaSources(
        services.sources.of_kind, origins_of, services.channel_secrets.unseal_all, services.ports.provider_http
    )


def derived_secret(sealer: Sealer, text: str) -> Secret:
    """Of letters, digits, `_` and `-`. Another one after the sealing key is replaced."""
    return Secret(base64url.encode(digest(sealer.signing_keys(SECRETS_PURPOSE)[0], text.encode(), sha256)))


def installation_name(sealer: Sealer) -> str:
    """What every process with this sealing key calls the installation. Tells nothing about the key."""
    return derived_secret(sealer, INSTALLATION).reveal()[:INSTALLATION_CHARS]


def webhook_egress_policy(config: Config) -> EgressPolicy:
    """Which addresses outbound webhooks may go to; checked at subscription and again at each connection."""
    guard = config.security.webhooks
    return EgressPolicy(ports=guard.ports, http=guard.allow_http, private=guard.allow_private_addresses)

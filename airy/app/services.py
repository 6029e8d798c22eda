"""Everything one process runs on: its ports, and the services built over them.

`Ports` is what differs between a real process and a simulated one; `build_services` derives the rest from them and the
configuration, so both run the same code.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import anyio
from msgspec import Struct, field

from airy import topics
from airy.actors.delivery import DeliveryMetrics
from airy.actors.lag_monitor import LagMonitor
from airy.actors.process_registry import ProcessRegistry
from airy.actors.projector import Projector
from airy.app.accounts import FacebookAccounts
from airy.bus.api import Bus
from airy.clock import Clock, Ids
from airy.commands import Commands, Writer
from airy.config import Config
from airy.egress import EgressPolicy
from airy.http_client import HttpClient
from airy.model.entity import Channel
from airy.queue.api import WebhookQueue
from airy.seal import Sealer, seal_context
from airy.sources.api import Source
from airy.sources.facebook import Facebook, FacebookConfig
from airy.store.api import Store, StoreQueries
from airy.store.guarded_queries import GuardedQueries


class Ports(Struct, kw_only=True):
    clock: Clock
    ids: Ids
    bus: Bus
    store: Store
    queue: WebhookQueue
    sealer: Sealer
    provider_http: HttpClient  # to providers: addresses from the configuration
    webhook_http: HttpClient  # to webhook endpoints: addresses from API callers, restricted by `EgressPolicy`
    wait_for_arrival: Callable[[float], Awaitable[None]] = anyio.sleep  # returns when the queue has new jobs, or later


class ProcessCounters(Struct):
    """Totals that survive the restart of an actor."""

    provider_webhooks: Counter[str] = field(default_factory=Counter)  # by outcome: routed, parked, dead-lettered …
    deliveries: DeliveryMetrics = field(default_factory=DeliveryMetrics)


class Services(Struct, kw_only=True):
    config: Config
    ports: Ports
    projector: Projector
    queries: StoreQueries  # for the API
    lag_monitor: LagMonitor
    process_registry: ProcessRegistry
    sources: Mapping[str, Source]
    commands: Commands
    counters: ProcessCounters = field(default_factory=ProcessCounters)

    def unseal(self, channel: Channel) -> str:
        """A channel's token in clear. Raises `Refused`."""
        context = seal_context(topics.CHANNELS.name, channel.id, "token")
        return self.ports.sealer.unseal(channel.token or "", context)


def build_services(config: Config, ports: Ports) -> Services:
    projector = Projector(ports.bus, ports.store)
    queries = GuardedQueries(ports.store, projector.held)
    facebook = Facebook(facebook_config(config))
    return Services(
        config=config,
        ports=ports,
        projector=projector,
        queries=queries,
        lag_monitor=LagMonitor(ports.bus, projector),
        process_registry=ProcessRegistry(ports.bus, ports.clock),
        sources={facebook.name: facebook},
        commands=Commands(
            Writer(ports.bus, projector.wait_for_position, ports.clock, ports.ids, held=projector.held),
            queries,
            ports.sealer,
            FacebookAccounts(ports.provider_http, facebook.config),
            message_ttl_s=config.components.api_communication.message_ttl_s,
            egress_policy=webhook_egress_policy(config),
        ),
    )


def webhook_egress_policy(config: Config) -> EgressPolicy:
    """Which addresses outbound webhooks may go to; checked at subscription and again at each connection."""
    guard = config.security.webhooks
    return EgressPolicy(ports=guard.ports, http=guard.allow_http, private=guard.allow_private_addresses)


def facebook_config(config: Config) -> FacebookConfig:
    """Placeholders where the component is disabled: nothing is verified or sent with them."""
    section = config.components.sources_facebook
    return FacebookConfig(
        app_id=section.app_id or "off",
        app_secrets=tuple(secret.reveal() for secret in section.app_secret) or ("off",),
        verify_token=section.webhook_secret.reveal() if section.webhook_secret else "off",
        graph_url=section.graph_url,
        graph_version=section.graph_version,
        human_agent=section.human_agent,
    )

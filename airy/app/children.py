"""The supervisors that components add to the supervision tree. `airy.components` names these functions.

Each gets the running components that name it; a crash below one of the supervisors restarts nothing outside of it.
"""

from collections.abc import Sequence

from airy.actors.connector import Connector
from airy.actors.deferred_sends import DeferredSends
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.media_fetcher import MediaFetcher
from airy.actors.media_monitor import MediaMonitor
from airy.actors.parked_replayer import ParkedReplayer
from airy.actors.process_registry import ProcessRegistry
from airy.actors.publisher import Publisher
from airy.actors.router import Router
from airy.actors.runtime import Child, Combined, Context, Supervision
from airy.app.services import Services, attachment_downloads, media_sources, source_section
from airy.components import CommunicationSection, Component, ConsumerSection
from airy.sources.catalogue import BY_NAME
from airy.sources.spec import marks_read
from airy.webhooks.send import DeliveryTimeouts


class _RegistryActor:
    """Runs the registry, which keeps its content across restarts."""

    def __init__(self, registry: ProcessRegistry) -> None:
        self._registry = registry

    async def run(self, ctx: Context) -> None:
        await self._registry.run(ctx)


class _LogsActor:
    """Reads the log lines of other processes; they are kept across restarts."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, ctx: Context) -> None:
        await self._services.process_logs.run(ctx, self._services.ports.bus)


def process_registry(services: Services, _components: Sequence[Component]) -> Supervision:
    registry = services.process_registry
    children = [Child(name="process-registry", start=lambda: _RegistryActor(registry), drain_s=1.0)]
    if services.config.bus.kind == "kafka":
        children.append(Child(name="process-logs", start=lambda: _LogsActor(services), drain_s=1.0))
    return Supervision(name="api-admin", children=tuple(children))


def sources(services: Services, components: Sequence[Component]) -> Supervision:
    """The intake of each source, and one connector for all of them."""
    ports, running = services.ports, [services.sources[component.name] for component in components]
    credentials = services.channel_secrets.unseal_all

    def connector() -> Connector:
        return Connector(
            ports.bus,
            ports.store,
            services.projector,
            running,
            ports.provider_http,
            credentials,
            guarded_http=ports.webhook_http,
            bugs=services.counters.bugs,
            pauses=services.provider_pauses,
            record_check=services.commands.channels.record_check,
            checks=services.counters.channel_checks,
            marked_kinds=[
                kind.name
                for source in running
                for kind in source.spec.kinds
                if marks_read(source_section(services.config, source.spec), kind)
            ],
        )

    intakes = [_intake(services, component) for component in components if BY_NAME[component.name].webhooks]
    return Supervision(name="sources", children=(*intakes, Child(name="connector", start=connector, drain_s=20.0)))


def _intake(services: Services, component: Component) -> Child:
    ports, counts = services.ports, services.counters.provider_webhooks
    source, directory = services.sources.with_webhooks(component.name), services.channel_directory

    def replayer() -> ParkedReplayer:
        wait = services.projector.wait_for_position
        return ParkedReplayer(ports.bus, source, ports.store, wait, directory.identities, counts=counts)

    return Child(
        name=component.id, start=lambda: Combined(Router(ports.bus, source, directory, counts=counts), replayer())
    )


def publisher(services: Services, _components: Sequence[Component]) -> Supervision:
    ports = services.ports

    def start() -> Publisher:
        return Publisher(
            ports.bus,
            ports.store,
            services.projector,
            ports.queue,
            rebuild=services.projector.rebuild,
        )

    return Supervision(name="webhook-publisher", children=(Child(name="publisher", start=start),))


def broadcaster(services: Services, components: Sequence[Component]) -> Supervision:
    """Named after the first of the components that need it."""
    changes = services.changes
    child = Child(name="broadcaster", start=changes.broadcaster, mailbox=changes.mailbox, drain_s=1.0)
    return Supervision(name=components[0].id, children=(child,))


def deferred_sends(services: Services, _components: Sequence[Component]) -> Supervision:
    ports, ttl_s = services.ports, services.config.section(CommunicationSection).message_ttl_s

    def start() -> DeferredSends:
        return DeferredSends(
            ports.bus, ports.store, services.projector, message_ttl_s=ttl_s, bugs=services.counters.bugs
        )

    return Supervision(name="api-communication", children=(Child(name="deferred-sends", start=start, drain_s=2.0),))


def media_resolver(services: Services, _components: Sequence[Component]) -> Supervision:
    ports, fetch, counters = services.ports, services.config.media.fetch, services.counters
    downloads, sources = attachment_downloads(services.config, ports), media_sources(services)

    def fetcher() -> MediaFetcher:
        return MediaFetcher(
            ports.bus,
            ports.store,
            services.projector,
            downloads,
            sources,
            is_own=services.media.is_own,
            rebuild=services.projector.rebuild,
            enabled=fetch.enabled,
            parallel_max=fetch.parallel_max,
            counts=counters.media_fetches,
            bugs=counters.bugs,
        )

    monitor = Child(name="media-monitor", start=lambda: MediaMonitor(services.media), drain_s=1.0)
    return Supervision(name="media-resolver", children=(monitor, Child(name="media-fetcher", start=fetcher)))


def dispatcher(services: Services, _components: Sequence[Component]) -> Supervision:
    ports, section = services.ports, services.config.section(ConsumerSection)

    def start() -> Dispatcher:
        return Dispatcher(
            ports.bus,
            ports.store,
            services.projector,
            ports.queue,
            ports.webhook_http,
            sealer=ports.sealer,
            disable_webhook=services.commands.webhooks.disable_webhook,
            wait_for_arrival=ports.wait_for_arrival,
            limits=DispatcherLimits(
                in_flight_max=section.in_flight_max,
                per_webhook_max=section.per_webhook_max,
                claim_interval_s=ports.queue.claim_interval_s,
            ),
            timeouts=DeliveryTimeouts(total_s=section.timeout_s),
            metrics=services.counters.deliveries,
        )

    return Supervision(name="webhook-consumer", children=(Child(name="dispatcher", start=start, drain_s=20.0),))

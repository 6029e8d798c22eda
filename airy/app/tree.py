"""The supervision tree as a value: the actors of a set of components, their order and their limits.

The order is that of dependencies: log, fold, HTTP server, then, once the fold has caught up, the actors that act on it.
The server starts before that: provider webhooks need the log alone, and probes are answered while a large log is
folded. The root is `rest_for_one`, so a crash restarts everything started after it; the children of the inner
supervisors are independent of each other.
"""

import math
from collections.abc import Callable, Collection, Sequence

from airy import acls, change_readers, components
from airy.actors.change_pruner import ChangePruner, ResumeWindow
from airy.actors.checkpointer import Checkpointer
from airy.actors.connector import Connector
from airy.actors.delivery import DeliveryTimeouts
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.heartbeat import HeartbeatPublisher, ReadStatus
from airy.actors.lag_monitor import LagMonitorActor
from airy.actors.parked_replayer import ParkedReplayer
from airy.actors.process_registry import ProcessRegistry
from airy.actors.publisher import Publisher
from airy.actors.router import Router
from airy.actors.runtime import Actor, Child, Combined, Context, Supervision
from airy.app.services import Services
from airy.app.tree_status import REGISTRY_COMPONENT
from airy.sources.api import Source

CHECK_S = 1.0


def build_tree(
    services: Services,
    running: Collection[str],
    *,
    http_server: Callable[[], Actor] | None = None,
    read_status: ReadStatus | None = None,
    on_folded: Callable[[], None] = lambda: None,
    extra_children: Sequence[Child | Supervision] = (),
) -> Supervision:
    """The tree for the components `running`.

    `read_status`: what the heartbeat publishes; None: no heartbeat. `on_folded` is called once the store holds what was
    in the log at the start. `extra_children` (the demo's) start last.
    """
    children: list[Child | Supervision] = [
        Child(name="bus", start=lambda: _Bus(services), drain_s=5.0, stall_s=math.inf),
        Child(name="store", start=lambda: _Store(services), drain_s=0.0),
    ]
    if (checkpoints := services.ports.store.checkpoints) is not None:
        children.append(Child(name="checkpointer", start=lambda: Checkpointer(checkpoints), drain_s=0.0))
    if http_server is not None:
        children.append(Child(name="http", start=http_server, drain_s=20.0, stall_s=math.inf))
    if read_status is not None:
        children.append(_process_status(services, running, read_status))
    groups = acls.committing_groups(running)
    children += [
        Child(name="fold-barrier", start=lambda: _FoldBarrier(services, on_folded), ready_s=math.inf, drain_s=0.0),
        Child(name="change-pruner", start=lambda: _change_pruner(services, running)),
        Child(name="lag-monitor", start=lambda: LagMonitorActor(services.lag_monitor, groups), drain_s=1.0),
    ]
    sources = [services.sources[name] for name in services.sources if f"sources-{name}" in running]
    if sources:
        intakes = [_source(services, source) for source in sources]
        children.append(Supervision(name="sources", children=(*intakes, _connector(services, sources))))
    webhooks = _webhooks(services, running)
    if webhooks:
        children.append(Supervision(name="webhooks", children=tuple(webhooks)))
    if extra_children:
        children.append(Supervision(name="demo", children=tuple(extra_children)))
    return Supervision(name="airy", strategy="rest_for_one", children=tuple(children))


class _Bus:
    """Runs the log's backend."""

    def __init__(self, services: Services) -> None:
        self._bus = services.ports.bus

    async def run(self, ctx: Context) -> None:
        await self._bus.run(ctx)


class _Store:
    """Runs the fold. Ready at once: actors that need it caught up start after the fold barrier or await a position."""

    def __init__(self, services: Services) -> None:
        self._projector = services.projector

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        await self._projector.run(ctx)


class _FoldBarrier:
    """Becomes ready when the store holds what was in the log at the start, and so delays the children after it."""

    def __init__(self, services: Services, on_folded: Callable[[], None]) -> None:
        self._projector = services.projector
        self._on_folded = on_folded

    async def run(self, ctx: Context) -> None:
        while not self._projector.caught_up:
            await self._projector.wait_for_progress(self._projector.version, CHECK_S)
            ctx.progress()
        ctx.ready()
        self._on_folded()
        with ctx.waiting():
            await ctx.draining.wait()


def _process_status(services: Services, running: Collection[str], read_status: ReadStatus) -> Supervision:
    """Below its own supervisor, so that a crash in it restarts nothing else."""
    heartbeat = Child(name="heartbeat", start=lambda: HeartbeatPublisher(services.ports.bus, read_status), drain_s=2.0)
    children = [heartbeat]
    if REGISTRY_COMPONENT in running:
        registry = services.process_registry
        children.append(Child(name="process-registry", start=lambda: _RegistryActor(registry), drain_s=1.0))
    return Supervision(name="process-status", children=tuple(children))


class _RegistryActor:
    """Runs the registry, which keeps its content across restarts."""

    def __init__(self, registry: ProcessRegistry) -> None:
        self._registry = registry

    async def run(self, ctx: Context) -> None:
        await self._registry.run(ctx)


def _change_pruner(services: Services, running: Collection[str]) -> ChangePruner:
    """Keeps changes for the readers of all enabled components, whichever process runs them: a store pruned further
    could not serve a reader that is started over it later.
    """
    data = services.config.data
    return ChangePruner(
        services.ports.bus,
        services.ports.store,
        change_readers.of_components({*running, *components.enabled(services.config)}),
        window=ResumeWindow(age_s=data.resume_window_s, records_max=data.resume_window_records),
    )


def _source(services: Services, source: Source) -> Child:
    ports, counts = services.ports, services.counters.provider_webhooks
    directory = services.channel_directory

    def replayer() -> ParkedReplayer:
        return ParkedReplayer(ports.bus, source, ports.store, services.projector.wait_for_position, counts=counts)

    def intake() -> Combined:
        return Combined(Router(ports.bus, source, directory, counts=counts), replayer())

    return Child(name=f"sources-{source.spec.name}", start=intake)


def _connector(services: Services, sources: Sequence[Source]) -> Child:
    """One for all sources that run here."""
    ports, credentials = services.ports, services.channel_secrets.unseal_all

    def connector() -> Connector:
        return Connector(ports.bus, ports.store, services.projector, sources, ports.provider_http, credentials)

    return Child(name="connector", start=connector, drain_s=20.0)


def _webhooks(services: Services, running: Collection[str]) -> list[Child | Supervision]:
    ports, consumer = services.ports, services.config.components.webhook_consumer

    def publisher() -> Publisher:
        return Publisher(
            ports.bus,
            ports.store,
            services.projector,
            ports.queue,
            rebuild=services.projector.rebuild,
        )

    def dispatcher() -> Dispatcher:
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
                in_flight_max=consumer.in_flight_max,
                per_webhook_max=consumer.per_webhook_max,
                claim_interval_s=ports.queue.claim_interval_s,
            ),
            timeouts=DeliveryTimeouts(total_s=consumer.timeout_s),
            metrics=services.counters.deliveries,
        )

    children: list[Child | Supervision] = []
    if "webhook-publisher" in running:
        children.append(Child(name="publisher", start=publisher))
    if "webhook-consumer" in running:
        children.append(Child(name="dispatcher", start=dispatcher, drain_s=20.0))
    return children

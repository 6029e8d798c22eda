"""The supervision tree, as a value: what runs for a set of components, in which order, under which limits.

Order is dependency: the log, then the fold, then the edge, then, once the fold has caught up, those who act on it. The
edge does not wait for that: it takes provider webhooks, which need the log alone, and answers probes while a
large log is folded. `rest_for_one` at the top restarts what depends on a crashed elder; everything below is independent
of its siblings.
"""

import math
from collections.abc import Callable, Collection, Sequence

from airy import components
from airy.actors.connector import Connector
from airy.actors.router import Router
from airy.actors.runtime import Actor, Child, Context, Supervision
from airy.actors.unpark import Unpark
from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.publisher import GROUP as PUBLISHER_GROUP
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.app.checkpointer import Checkpointer
from airy.app.janitor import Janitor
from airy.app.parts import Parts
from airy.app.presence import Announcer, Report
from airy.app.roll import Roll
from airy.app.status import ROLL_OF
from airy.app.watch import Watching, groups
from airy.sources.api import Source

LOOK_S = 1.0
CLAIM_S = 0.01  # between claims from a queue that is far


def plan(
    parts: Parts,
    running: Collection[str],
    *,
    edge: Callable[[], Actor] | None = None,
    report: Report | None = None,
    on_folded: Callable[[], None] = lambda: None,
    guests: Sequence[Child | Supervision] = (),
) -> Supervision:
    """`edge` starts the HTTP server, where there is one; `guests` (the demo's) start after everything else. `report` is
    what the process says of itself to others, before its store is there and until it has stopped its work.

    `on_folded` is called when the store has everything that was in the log at the start.
    """
    children: list[Child | Supervision] = [
        Child(name="bus", start=lambda: _Bus(parts), drain_s=5.0, stall_s=math.inf),
        Child(name="store", start=lambda: _Store(parts), drain_s=0.0),
    ]
    if (kept := parts.kept) is not None:
        children.append(Child(name="checkpoints", start=lambda: Checkpointer(kept), drain_s=0.0))
    if edge is not None:
        children.append(Child(name="http", start=edge, drain_s=20.0, stall_s=math.inf))
    if report is not None:
        children.append(_presence(parts, running, report))
    children += [
        Child(name="folded", start=lambda: _Folded(parts, on_folded), ready_s=math.inf, drain_s=0.0),
        Child(name="janitor", start=lambda: _janitor(parts, running)),
        Child(name="watch", start=lambda: Watching(parts.watch, groups(running)), drain_s=1.0),
        *(_source(parts, source) for name, source in parts.sources.items() if f"sources-{name}" in running),
    ]
    webhooks = _webhooks(parts, running)
    if webhooks:
        children.append(Supervision(name="webhooks", children=tuple(webhooks)))
    if guests:
        children.append(Supervision(name="demo", children=tuple(guests)))
    return Supervision(name="airy", strategy="rest_for_one", children=tuple(children))


class _Bus:
    """The log's backend as an actor."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, ctx: Context) -> None:
        await self._parts.bus.run(ctx)


class _Store:
    """The fold. Ready at once: who needs it caught up comes after `folded`, or waits for a position."""

    def __init__(self, parts: Parts) -> None:
        self._follower = parts.follower

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        await self._follower.run(ctx)


class _Folded:
    """What starts after it starts when the store has what was in the log."""

    def __init__(self, parts: Parts, on_folded: Callable[[], None]) -> None:
        self._follower = parts.follower
        self._on_folded = on_folded

    async def run(self, ctx: Context) -> None:
        while not self._follower.caught_up:
            await self._follower.progressed(self._follower.version, LOOK_S)
            ctx.progress()
        ctx.ready()
        self._on_folded()
        with ctx.waiting():
            await ctx.draining.wait()


def _presence(parts: Parts, running: Collection[str], report: Report) -> Supervision:
    """Below a supervisor of its own: should any of it crash, nothing else does."""
    children = [Child(name="announcer", start=lambda: Announcer(parts.bus, report), drain_s=2.0)]
    if ROLL_OF in running:
        children.append(Child(name="roll", start=lambda: _Listener(parts.roll), drain_s=1.0))
    return Supervision(name="presence", children=tuple(children))


class _Listener:
    """The roll as an actor; what it has heard survives a restart."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll

    async def run(self, ctx: Context) -> None:
        await self._roll.run(ctx)


def _janitor(parts: Parts, running: Collection[str]) -> Janitor:
    """Where webhooks are published by anybody, here or elsewhere, changes stay until those have committed them: a store
    that was pruned further could not serve a publisher that is started over it later.
    """
    published = "webhook-publisher" in running or "webhook-publisher" in components.enabled(parts.config)
    readers = (PUBLISHER_GROUP,) if published else ()
    return Janitor(parts.bus, parts.store, readers)


def _source(parts: Parts, source: Source) -> Supervision:
    def connector() -> Connector:
        return Connector(parts.bus, parts.store, parts.follower, source, parts.provider_fetch, parts.unseal)

    return Supervision(
        name=f"sources-{source.name}",
        children=(
            Child(name="router", start=lambda: Router(parts.bus, source, counts=parts.counts)),
            Child(name="unpark", start=lambda: Unpark(parts.bus, source, counts=parts.counts)),
            Child(name="connector", start=connector, drain_s=20.0),
        ),
    )


def _webhooks(parts: Parts, running: Collection[str]) -> list[Child | Supervision]:
    consumer = parts.config.components.webhook_consumer

    def publisher() -> Publisher:
        return Publisher(
            parts.bus,
            parts.store,
            parts.follower,
            parts.queue,
            forget=parts.store.forget_changes,
            forgotten=parts.store.forgotten,
            rebuild=parts.follower.rebuild,
        )

    def dispatcher() -> Dispatcher:
        return Dispatcher(
            parts.bus,
            parts.store,
            parts.follower,
            parts.queue,
            parts.webhook_fetch,
            sealer=parts.sealer,
            switch_off=parts.commands.webhooks.switch_off,
            arrived=parts.arrived,
            in_flight_max=consumer.in_flight_max,
            per_webhook_max=consumer.per_webhook_max,
            total_s=consumer.timeout_s,
            gather_s=0.0 if isinstance(parts.queue, SqliteQueue) else CLAIM_S,
            counts=parts.deliveries,
            lateness=parts.lateness,
            heritage=parts.queue.heritage if isinstance(parts.queue, SqliteQueue) else None,
        )

    children: list[Child | Supervision] = []
    if "webhook-publisher" in running:
        children.append(Child(name="publisher", start=publisher))
    if "webhook-consumer" in running:
        children.append(Child(name="dispatcher", start=dispatcher, drain_s=20.0))
    return children

"""The supervision tree as a value: the order of the actors. Components bring their own children (`airy.app.children`).

The order is that of dependencies: log, fold, HTTP server, then, once the fold has caught up, the actors that act on it.
The server starts before that: provider webhooks need the log alone, and probes are answered while a large log is
folded. The root is `rest_for_one`, so a crash restarts everything started after it; the children of the inner
supervisors are independent of each other.
"""

import math
from collections.abc import Callable, Collection, Sequence
from importlib import import_module

from airy import acls, change_readers
from airy.actors.change_pruner import ChangePruner, ResumeWindow
from airy.actors.checkpointer import Checkpointer
from airy.actors.heartbeat import HeartbeatPublisher, ReadStatus
from airy.actors.lag_monitor import LagMonitorActor
from airy.actors.log_publisher import LogPublisher
from airy.actors.runtime import Actor, Child, Context, Supervision
from airy.app.services import Services
from airy.components import ALL, Component
from airy.config import enabled_components

CHECK_S = 1.0

MakeChildren = Callable[[Services, Sequence[Component]], Supervision]


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
        heartbeat = Child(
            name="heartbeat", start=lambda: HeartbeatPublisher(services.ports.bus, read_status), drain_s=2.0
        )
        children.append(Supervision(name="process-status", children=(heartbeat, *_log_publisher(services))))
    components = [component for component in ALL if component.id in running]
    children += _children(services, components, lambda component: component.early_children)
    groups = acls.committing_groups(running)
    children += [
        Child(name="fold-barrier", start=lambda: _FoldBarrier(services, on_folded), ready_s=math.inf, drain_s=0.0),
        Child(name="change-pruner", start=lambda: _change_pruner(services, running)),
        Child(name="lag-monitor", start=lambda: LagMonitorActor(services.lag_monitor, groups), drain_s=1.0),
    ]
    children += _children(services, components, lambda component: component.children)
    if extra_children:
        children.append(Supervision(name="demo", children=tuple(extra_children)))
    return Supervision(name="airy", strategy="rest_for_one", children=tuple(children))


def _log_publisher(services: Services) -> Sequence[Child]:
    """Where other processes show the lines of this one."""
    if services.config.bus.kind != "kafka":
        return ()
    logs = services.process_logs

    def start() -> LogPublisher:
        return LogPublisher(services.ports.bus, logs.own, logs.instance)

    return (Child(name="log-publisher", start=start, drain_s=2.0),)


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


def _children(
    services: Services, components: Sequence[Component], paths_of: Callable[[Component], Sequence[str]]
) -> list[Supervision]:
    """What the functions at the paths (module:function) of these components return; one call for equal paths."""
    found = []
    for path in dict.fromkeys(path for component in components for path in paths_of(component)):
        module, _, function = path.partition(":")
        make: MakeChildren = getattr(import_module(module), function)
        found.append(make(services, [component for component in components if path in paths_of(component)]))
    return found


def _change_pruner(services: Services, running: Collection[str]) -> ChangePruner:
    """Keeps changes for the readers of all enabled components, whichever process runs them: a store pruned further
    could not serve a reader that is started over it later.
    """
    data = services.config.data
    return ChangePruner(
        services.ports.bus,
        services.ports.store,
        change_readers.groups_of(change_readers.of_components({*running, *enabled_components(services.config)})),
        window=ResumeWindow(age_s=data.resume_window_s, records_max=data.resume_window_records),
    )

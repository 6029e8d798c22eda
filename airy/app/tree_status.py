"""The health of this process for probes, metrics and the console, read from its supervision tree and its services."""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, runtime_checkable

from airy import __version__, components
from airy.actors.runtime import Snapshot, Tree
from airy.app.actor_tree import actor_tree
from airy.app.services import Services
from airy.bus.append_health import AppendHealth
from airy.components import Service
from airy.config import enabled_components
from airy.config_secrets import secret_values
from airy.http.metrics import LabelledValues, Value
from airy.log import masker
from airy.model.fleet import FleetStatus
from airy.model.process_status import SHARED, ActorTree

ALL_SOURCES = "sources"  # the supervisor of all sources, and what its children belong to unless to one of them
MEDIA_COMPONENT = "media-resolver"
REGISTRY_COMPONENT = "api-admin"  # its processes run the process registry
HEALTHY_PHASES = frozenset({"ready", "draining", "stopped"})
FOLD_AGE_MAX_S = 30.0  # a store that lags by more serves reads that are too old
PAGE_BYTES = 4096
STATM = "/proc/self/statm"  # Linux; elsewhere the metric is omitted


@runtime_checkable
class CheckedAppends(Protocol):
    """A bus that knows whether its appends work."""

    append_health: AppendHealth


class TreeStatus:
    """`tree` is set once it runs. `totals`: counters by metric name, read at each scrape."""

    def __init__(self, services: Services, running: frozenset[str], totals: Mapping[str, Callable[[], float]]) -> None:
        self.tree: Tree | None = None
        self._services = services
        self._running = running
        self._totals = totals
        self._mask = masker(secret_values(services.config))

    def started(self, tree: Tree) -> None:
        self.tree = tree

    def alive(self) -> bool:
        """Whether every actor makes progress or is being restarted. An unavailable log or queue does not count:
        restarting the process would not help.
        """
        return self.tree is None or self.tree.alive

    def waiting_for(self) -> Mapping[str, str]:
        if self.tree is None:
            return {"airy": "it is starting"}
        root = self.tree.snapshot()
        if root.phase == "draining":
            return {"airy": "it is stopping"}
        waiting = {
            node.path: node.unavailable or node.error or node.phase
            for node in leaves(root)
            if node.phase not in HEALTHY_PHASES
        }
        age_s, held = self._services.lag_monitor.fold_age_s, self._services.projector.held
        if held:
            waiting["store"] = "; ".join(hold.reason for _, hold in sorted(held.items()))
        elif not self._services.projector.caught_up:
            waiting["store"] = "it is folding the log"
        elif age_s > FOLD_AGE_MAX_S:
            waiting["store"] = f"it is {age_s:.0f} s behind the log, and may be {FOLD_AGE_MAX_S:g} s"
        if self._services.projector.delayed:
            waiting["store"] = self._services.projector.delayed
        bus = self._services.ports.bus
        if isinstance(bus, CheckedAppends) and bus.append_health.problem:
            waiting["log"] = bus.append_health.problem
        return waiting

    def services(self) -> Mapping[str, Service]:
        return components.client_config_services(self._components_in_fleet(), self._healthy_in_fleet())

    def fleet(self) -> FleetStatus:
        """All processes, from their heartbeats; empty where the process registry does not run."""
        return self._services.process_registry.fleet(self._components_in_fleet())

    def actors(self) -> ActorTree:
        """The supervision tree of this process; empty until it runs."""
        return ActorTree() if self.tree is None else actor_tree(self.tree.snapshot(), self._mask)

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop. A tree that fails ends without."""
        return self.tree is not None and self.tree.snapshot().phase == "draining"

    def ready(self) -> Mapping[str, bool]:
        """Whether each component of this process is ready, and the actors they share (`SHARED`)."""
        waiting = self.waiting_for()
        return self._healthy() | {SHARED: not any(_component(name) == SHARED for name in waiting)}

    def restarts(self) -> Counter[tuple[str, ...]]:
        """By component and actor."""
        found: Counter[tuple[str, ...]] = Counter()
        for node in leaves(self.tree.snapshot()) if self.tree else ():
            found[_component(node.path), node.path.rpartition("/")[2]] += node.restarts
        return found

    def _components_in_fleet(self) -> frozenset[str]:
        """Components of the installation. On a shared log, every enabled component runs in some process."""
        config = self._services.config
        return self._running | enabled_components(config) if config.bus.kind == "kafka" else self._running

    def _healthy_in_fleet(self) -> dict[str, bool]:
        """Healthy in this process by its tree, or ready in another by its last heartbeat."""
        here = self._healthy()
        counts = self.fleet().components
        return {name: here.get(name, False) or count.ready > 0 for name, count in counts.items()}

    def _healthy(self) -> dict[str, bool]:
        failing = {_component(path) for path in self.waiting_for() if path.count("/") >= 1}
        if ALL_SOURCES in failing:
            failing |= {name for name in self._running if name.startswith(f"{ALL_SOURCES}-")}
        if self._services.media.problem:
            failing.add(MEDIA_COMPONENT)  # but not the process: all others serve without files
        return {name: name not in failing and SHARED not in failing for name in self._running}

    # --- metrics

    def counters(self) -> Mapping[str, Value]:
        values: dict[str, Value] = {
            **{name: read() for name, read in self._totals.items()},
            **self._tree_counters(),
            **self._fleet_counters(),
            "build_info": LabelledValues(
                ("version", "python", "components"),
                {(__version__, platform.python_version(), ",".join(sorted(self._running))): 1.0},
            ),
            "component_ready": LabelledValues(
                ("component",), {(name,): float(ready) for name, ready in self.ready().items()}
            ),
            "ready": float(not self.waiting_for()),
        }
        resident = resident_bytes()
        if resident is not None:
            values["process_resident_memory_bytes"] = LabelledValues(("component",), {(self.name,): float(resident)})
        return values

    @property
    def name(self) -> str:
        """`all`, or the names of the components this process runs."""
        if enabled_components(self._services.config) <= self._running:
            return "all"
        return "+".join(sorted(self._running - {"http"})) or "http"

    def _tree_counters(self) -> dict[str, Value]:
        if self.tree is None:
            return {}
        actors = sum(1 for _ in leaves(self.tree.snapshot()))
        return {"restarts_total": LabelledValues(("component", "actor"), self.restarts()), "actors": actors}

    def _fleet_counters(self) -> dict[str, Value]:
        if REGISTRY_COMPONENT not in self._running:
            return {}
        fleet = self.fleet()
        ready: dict[tuple[str, ...], float] = {(name,): count.ready for name, count in fleet.components.items()}
        return {
            "component_processes_ready": LabelledValues(("component",), ready),
            "processes": len(fleet.processes),
            "processes_stale": sum(each.stale for each in fleet.processes),
        }


def _component(path: str) -> str:
    """The component a leaf of the tree belongs to, `ALL_SOURCES` for what sources share, or `SHARED`."""
    parts = path.split("/")
    shared = ALL_SOURCES if ALL_SOURCES in parts else SHARED
    return next((part for part in parts if part in components.BY_ID), shared)


def leaves(node: Snapshot) -> Iterator[Snapshot]:
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)


def resident_bytes() -> int | None:
    try:
        with open(STATM, encoding="ascii") as file:  # noqa: PTH123 - a kernel file, read whole
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return None

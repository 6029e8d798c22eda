"""How the process is, for probes, metrics and the console: one reading of the supervision tree and of what counts."""

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from airy import __version__, components
from airy.actors.runtime import Snapshot, Tree
from airy.app.parts import Parts
from airy.components import Service
from airy.http.metrics import Labelled, Value
from airy.http.ports import Fleet
from airy.model.process import SHARED

COMPONENT_OF = {  # children of the tree, and the component whose health they are
    "publisher": "webhook-publisher",
    "dispatcher": "webhook-consumer",
    "http": "http",
}
ROLL_OF = "api-admin"  # whose processes keep the roll of all
WELL = frozenset({"ready", "draining", "stopped"})
FOLD_AGE_MAX_S = 30.0  # a store that lacks older records than this serves answers that are too old
PAGE_BYTES = 4096
STATM = "/proc/self/statm"  # Linux; elsewhere the sample is left out


class TreeStatus:
    """`tree` is set once it runs. `counted` are totals by metric name, read when asked for."""

    def __init__(self, parts: Parts, running: frozenset[str], counted: Mapping[str, Callable[[], float]]) -> None:
        self.tree: Tree | None = None
        self._parts = parts
        self._running = running
        self._counted = counted

    def started(self, tree: Tree) -> None:
        self.tree = tree

    def alive(self) -> bool:
        """Whether everything still makes progress, or is being restarted for that it did not. A log or a queue that is
        away changes nothing here: a restart would not help.
        """
        return self.tree is None or self.tree.alive

    def waiting_for(self) -> Mapping[str, str]:
        if self.tree is None:
            return {"airy": "it is starting"}
        root = self.tree.snapshot()
        if root.phase == "draining":
            return {"airy": "it is stopping"}
        waiting = {
            node.path: node.unavailable or node.error or node.phase for node in leaves(root) if node.phase not in WELL
        }
        age_s = self._parts.watch.fold_age_s
        if not self._parts.follower.caught_up:
            waiting["store"] = "it is folding the log"
        elif age_s > FOLD_AGE_MAX_S:
            waiting["store"] = f"it is {age_s:.0f} s behind the log, and may be {FOLD_AGE_MAX_S:g} s"
        return waiting

    def services(self) -> Mapping[str, Service]:
        return components.client_config_services(self._somewhere(), self._healthy_somewhere())

    def fleet(self) -> Fleet:
        """What processes said in the log, this one among them; nothing, where nobody listens."""
        return self._parts.roll.fleet(self._somewhere())

    def ready(self) -> Mapping[str, bool]:
        """Whether each component here is ready, and what they share."""
        waiting = self.waiting_for()
        return self._healthy() | {SHARED: not any(_component(name) == SHARED for name in waiting)}

    def restarts(self) -> Counter[tuple[str, ...]]:
        """By component and actor."""
        found: Counter[tuple[str, ...]] = Counter()
        for node in leaves(self.tree.snapshot()) if self.tree else ():
            found[_component(node.path), node.path.rpartition("/")[2]] += node.restarts
        return found

    def _somewhere(self) -> frozenset[str]:
        """What runs in this installation: on a shared log, what is enabled runs in some process."""
        config = self._parts.config
        return self._running | components.enabled(config) if config.bus.kind == "kafka" else self._running

    def _healthy_somewhere(self) -> dict[str, bool]:
        """Here, as the tree has it; elsewhere, if a process has said so lately."""
        here = self._healthy()
        told = self.fleet().components
        return {name: here.get(name, False) or share.ready > 0 for name, share in told.items()}

    def _healthy(self) -> dict[str, bool]:
        sick = {_component(path) for path in self.waiting_for() if path.count("/") >= 1}
        return {name: name not in sick and SHARED not in sick for name in self._running}

    # --- metrics

    def counters(self) -> Mapping[str, Value]:
        values: dict[str, Value] = {
            **{name: read() for name, read in self._counted.items()},
            **self._tree_counters(),
            **self._fleet_counters(),
            "build_info": Labelled(
                ("version", "python", "components"),
                {(__version__, platform.python_version(), ",".join(sorted(self._running))): 1.0},
            ),
            "component_ready": Labelled(("component",), {(name,): float(well) for name, well in self.ready().items()}),
            "ready": float(not self.waiting_for()),
        }
        resident = resident_bytes()
        if resident is not None:
            values["process_resident_memory_bytes"] = Labelled(("component",), {(self.name,): float(resident)})
        return values

    @property
    def name(self) -> str:
        """What runs in this process, in a word: `all`, or what an operator told it to run."""
        if components.enabled(self._parts.config) <= self._running:
            return "all"
        return "+".join(sorted(self._running - {"http"})) or "http"

    def _tree_counters(self) -> dict[str, Value]:
        if self.tree is None:
            return {}
        actors = sum(1 for _ in leaves(self.tree.snapshot()))
        return {"restarts_total": Labelled(("component", "actor"), self.restarts()), "actors": actors}

    def _fleet_counters(self) -> dict[str, Value]:
        if ROLL_OF not in self._running:
            return {}
        fleet = self.fleet()
        ready: dict[tuple[str, ...], float] = {(name,): share.ready for name, share in fleet.components.items()}
        return {
            "component_processes_ready": Labelled(("component",), ready),
            "processes": len(fleet.processes),
            "processes_silent": sum(each.silent for each in fleet.processes),
        }


def _component(path: str) -> str:
    """The component a leaf of the tree belongs to, or `SHARED`."""
    parts = path.split("/")
    return next((part for part in parts if part in components.BY_NAME), COMPONENT_OF.get(parts[-1], SHARED))


def leaves(node: Snapshot) -> Iterator[Snapshot]:
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)


def resident_bytes() -> int | None:
    try:
        with open(STATM, encoding="ascii") as file:  # noqa: PTH123 - a line of the kernel's, not a file to manage
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return None

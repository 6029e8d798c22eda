"""How the process is, for probes, metrics and the console: one reading of the supervision tree and of what counts."""

from collections.abc import Callable, Iterator, Mapping

from airy import components
from airy.actors.runtime import Snapshot, Tree
from airy.app.parts import Parts
from airy.components import Service

COMPONENT_OF = {  # children of the tree, and the component whose health they are
    "publisher": "webhook-publisher", "dispatcher": "webhook-consumer",
    "bus": "api-communication", "store": "api-communication", "http": "http",
}  # fmt: skip
WELL = frozenset({"ready", "draining", "stopped"})


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
        return self.tree is None or self.tree.alive

    def waiting_for(self) -> Mapping[str, str]:
        if self.tree is None:
            return {"airy": "it is starting"}
        waiting = {
            node.path: node.unavailable or node.error or node.phase
            for node in leaves(self.tree.snapshot())
            if node.phase not in WELL
        }
        if not self._parts.follower.caught_up:
            waiting["store"] = "it is folding the log"
        return waiting

    def services(self) -> Mapping[str, Service]:
        sick = {path for path in self.waiting_for() if path.count("/") >= 1}
        healthy = {name: not any(_component(path) == name for path in sick) for name in self._running}
        return components.client_config_services(self._running, healthy)

    def counters(self) -> Mapping[str, float]:
        return {name: read() for name, read in self._counted.items()} | self._tree_counters()

    def _tree_counters(self) -> dict[str, float]:
        if self.tree is None:
            return {}
        nodes = list(leaves(self.tree.snapshot()))
        return {"restarts_total": sum(node.restarts for node in nodes), "actors": len(nodes)}


def _component(path: str) -> str:
    """The component a leaf of the tree belongs to."""
    parts = path.split("/")
    return next((part for part in parts if part in components.BY_NAME), COMPONENT_OF.get(parts[-1], ""))


def leaves(node: Snapshot) -> Iterator[Snapshot]:
    if not node.children:
        yield node
    for child in node.children:
        yield from leaves(child)

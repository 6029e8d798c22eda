"""Many processes, simulated by seed: replicas of every component over one log and one queue, in virtual time.

Each process has its own store, fold, clock (wrong by some seconds) and supervision tree; they share only the log and
the webhook queue. Processes are killed, stopped, paused for longer than a session, slowed, lose their stores; clocks
jump; the queue is flushed; groups are rebalanced. Then, without faults, the cluster must become quiescent; then every
process is stopped and must end in time.

`ClusterSimulation` has the interface of `Simulation`, so that traffic and checkers work with both.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any

import anyio
from msgspec import field, structs

from airy import topics
from airy.actors.runtime import Child, run_tree
from airy.app.services import Ports, Services, build_services
from airy.app.tree import build_tree
from airy.bus.memory import Faults, GroupTimeouts, MemoryBus
from airy.bus.record import TopicPartition
from airy.clock import Clock, Ids, LoopClock, RandomIds
from airy.http.ingress import Ingress
from airy.queue.api import Shard
from airy.queue.sqlite import SqliteQueue
from airy.seal import Sealer
from airy.sim.graph import GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimHttpClient
from airy.store.sqlite import SqliteStore
from tests.kit.clock import SkewedClock
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage
from tests.sim.pausable_ports import FaultSwitch, PausableBus, PausablePort, pausable
from tests.sim.simulation import (
    GRAPH,
    QUIESCENT_WITHIN_S,
    SECRET,
    SILENT,
    ProcessRun,
    Simulation,
    SimulationSize,
    _config,
    _only_tree_failures,
    make_endpoint,
)
from tests.sim.traffic import Traffic

EDGE = frozenset({"http", "api-communication", "api-admin", "api-contacts"})
SOURCES = frozenset({"sources-facebook"})
PUBLISHER = frozenset({"webhook-publisher"})
DISPATCHER = frozenset({"webhook-consumer"})

ONE_COMPONENT_EACH: tuple[frozenset[str], ...] = (EDGE, SOURCES, PUBLISHER, DISPATCHER) * 2
ALL_COMPONENTS_EACH: tuple[frozenset[str], ...] = (EDGE | SOURCES | PUBLISHER | DISPATCHER,) * 3
TWO_HALVES: tuple[frozenset[str], ...] = (EDGE | SOURCES, PUBLISHER | DISPATCHER) * 2
LAYOUTS = (ONE_COMPONENT_EACH, TWO_HALVES, ALL_COMPONENTS_EACH)

GROUPS = (
    "sources.facebook.router",
    "sources.facebook.unpark",
    "sources.facebook.connector",
    "webhook-publisher",
)
SESSION_S = 10.0
REBALANCE_S = 25.0
STOP_S = 60.0  # for all processes, stopped at the same time
RESTARTS_MAX = 40
SKEW_MS_MAX = 20_000
STEP_MS_MAX = 3_600_000


class ClusterSize(SimulationSize, frozen=True, kw_only=True):
    layout: tuple[frozenset[str], ...] | None = None  # None: by seed
    disruptions: int = 7
    rates: dict[tuple[str, str], float] = field(
        default_factory=lambda: {
            ("publish", "unavailable"): 0.02,
            ("published", "unavailable"): 0.02,
            ("publish", "duplicate"): 0.04,
            ("publish", "delay"): 0.1,
            ("published", "delay"): 0.1,
            ("fetch", "rebalance"): 0.002,
            ("commit", "unavailable"): 0.03,
            ("committed", "crash"): 0.002,
            ("published", "crash"): 0.005,
        }
    )


class SharedQueue(SqliteQueue):
    """On a server with a clock of its own, like Redis."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        super().__init__(":memory:", ids=ids)
        self._clock = clock

    def now_ms(self, clock_ms: int) -> int:
        del clock_ms
        return self._clock.now_ms()


class SimulatedNode:
    """Runs processes one after the other; its store and clock outlive them."""

    def __init__(self, cluster: "ClusterSimulation", number: int, components: frozenset[str]) -> None:
        self.name = f"node-{number}"
        self.components = components
        self.random = Random(f"node {number} of {cluster.seed}")
        self.clock = SkewedClock(cluster.clock, self.random.randint(-SKEW_MS_MAX, SKEW_MS_MAX))
        self.ids = RandomIds(Random(f"ids of {number} of {cluster.seed}"))
        self.schemas = topics.SCHEMAS  # the kinds and versions of records its processes know
        self.store = SqliteStore(":memory:", schemas=self.schemas)
        self.switch = FaultSwitch(self.random)
        self.scope = anyio.CancelScope()
        self.process: ClusterProcessRun | None = None
        self.down_s = 1.0
        self.starts = 0
        self._cluster = cluster

    async def run(self) -> None:
        """Start the process again and again until the cluster is stopped."""
        await self.store.open()
        while not self._cluster.stopping:
            self.starts += 1
            assert self.starts < RESTARTS_MAX, f"{self.name} was started {RESTARTS_MAX} times"
            self.down_s = 1.0
            await self._run_once()
            if not self._cluster.stopping:
                await anyio.sleep(self.down_s)

    async def _run_once(self) -> None:
        self.switch = FaultSwitch(self.random)
        process = ClusterProcessRun(self._cluster, self._cluster.build_services(self), self.components, self.starts)
        with anyio.CancelScope() as self.scope:
            try:
                async with anyio.create_task_group() as tasks:
                    process.begin(tasks)
                    self.process = process
                    try:
                        await process.run()
                    finally:
                        self.process = None
                        process.end()
                    tasks.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                if not _only_tree_failures(group):
                    raise
                self._cluster.failures += 1

    def kill(self, down_s: float) -> None:
        self.down_s = down_s
        self.switch.killed = True
        self.scope.cancel()

    def stop(self, down_s: float) -> None:
        self.down_s = down_s
        if self.process is not None:
            self.process.stop.set()

    async def lose_store(self) -> None:
        """Call between two runs of the process."""
        await self.store.close()
        self.store = SqliteStore(":memory:", schemas=self.schemas)
        await self.store.open()

    @property
    def ready(self) -> bool:
        return self.process is not None and self.process.services.projector.caught_up


class ClusterProcessRun(ProcessRun):
    """One run of a process of the cluster."""

    def __init__(
        self, cluster: "ClusterSimulation", services: Services, components: frozenset[str], number: int
    ) -> None:
        super().__init__(cluster, services)
        self._components = components
        self._number = number

    def begin(self, tasks: Any) -> None:
        self._tasks = tasks

    def end(self) -> None:
        self._tasks = None

    async def run(self) -> None:
        extra = self.simulation.extra_children(self.services)  # type: ignore[attr-defined]
        tree = build_tree(self.services, self._components, extra_children=extra)
        seed = self.simulation.seed * 1000 + self._number
        await run_tree(tree, clock=self.services.ports.clock, seed=seed, stop=self.stop, log=SILENT)


class ClusterSimulation(Simulation):
    """`run` fills it; the checkers read it afterwards."""

    def __init__(self, seed: int, size: ClusterSize) -> None:
        self.seed = seed
        self.size: ClusterSize = size
        self.random = Random(f"fleet {seed}")
        self.clock = LoopClock()
        self.machine_clock = SkewedClock(self.clock)  # of the log; each node has its own
        self.config = _config()
        self.faults = Faults(Random(f"faults {seed}"), rates=size.rates)  # type: ignore[arg-type]
        self.bus = MemoryBus(
            topics.ALL,
            clock=self.clock,
            faults=self.faults,
            timeouts=GroupTimeouts(session_s=SESSION_S, rebalance_s=REBALANCE_S),
        )
        self.endpoint = make_endpoint(seed, size)
        self.sealer = Sealer({"k1": bytes(32)})
        self.ids = RandomIds(Random(f"ids {seed}"))
        self.queue = SharedQueue(self.clock, self.ids)
        self.abandoned_memberships: list[AbstractAsyncContextManager[Any]] = []
        layout = size.layout or LAYOUTS[seed % len(LAYOUTS)]
        self.nodes = [SimulatedNode(self, number, components) for number, components in enumerate(layout)]
        self.stopping = False
        self.failures = 0
        self.quiescent = False
        self.stopped_in_s: float | None = None
        self.ingress_type = Ingress
        self.disruptions: list[str] = []  # time, disruption and node, shown with a failure
        self.traffic = Traffic(self)

    # --- the interface of `Simulation`

    @property
    def process(self) -> ProcessRun | None:  # type: ignore[override]
        """The process that gets the next request: any ready replica with the HTTP edge."""
        ready = [node.process for node in self.nodes if "http" in node.components and node.ready]
        return self.random.choice(ready) if ready else None

    @property
    def store(self) -> SqliteStore:  # type: ignore[override]
        return self.nodes[0].store

    def build_services(self, node: SimulatedNode) -> Services:
        return build_services(
            self.config,
            Ports(
                clock=node.clock,
                ids=node.ids,
                bus=PausableBus(self.bus, node.switch, self.abandoned_memberships),  # type: ignore[arg-type]
                store=node.store,
                queue=PausablePort(self.queue, node.switch),  # type: ignore[arg-type]
                sealer=self.sealer,
                media=MemoryStorage(),
                provider_http=pausable(self.fetch, node.switch),
                provider_files=WholeBodies(pausable(self.fetch, node.switch)),
                attachment_files=WholeBodies(pausable(self.fetch, node.switch)),
                webhook_http=pausable(self.fetch, node.switch),
                wait_for_arrival=self.queue.wait_for_arrival,
            ),
        )

    def extra_children(self, services: Services) -> Sequence[Child]:
        """Further actors of every process."""
        del services
        return ()

    # --- the run

    async def run(self) -> None:
        options = GraphOptions(app_secret=SECRET, seed=self.seed, behaviour=self.size.behaviour)
        self.messenger = GraphProvider(options, now_ms=self.clock.now_ms())
        self.graph = SimHttpClient(self.messenger, self.clock, url=GRAPH)
        await self.queue.open()
        async with anyio.create_task_group() as running:
            async with anyio.create_task_group() as traffic:
                for node in self.nodes:
                    running.start_soon(node.run)
                traffic.start_soon(self.traffic.run)
                await self._disrupt()
                await self.traffic.finished.wait()
                await self._after_traffic()
                await self._heal_and_settle()
                traffic.cancel_scope.cancel()
            await self._stop(running)
        for membership in self.abandoned_memberships:
            await membership.__aexit__(None, None, None)

    async def _after_traffic(self) -> None:
        """What happens between traffic and the wait for quiescence."""

    async def _stop(self, running: anyio.abc.TaskGroup) -> None:
        self.stopping = True
        began = anyio.current_time()
        for node in self.nodes:
            node.stop(0.0)
        with anyio.move_on_after(STOP_S):
            while any(node.process is not None for node in self.nodes):
                await anyio.sleep(0.5)
            self.stopped_in_s = anyio.current_time() - began
        running.cancel_scope.cancel()

    async def _disrupt(self) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(self.size.disruptions):
                await anyio.sleep(self.random.uniform(0.2, 8.0))
                node = self.random.choice(self.nodes)
                disruption = self.random.choices(DISRUPTIONS, weights=WEIGHTS)[0]
                self.disruptions.append(f"{anyio.current_time():.1f} {disruption.__name__} {node.name}")
                tasks.start_soon(disruption, self, node)

    async def _heal_and_settle(self) -> None:
        self.faults.clear()
        self.endpoint.failure_rate = 0.0
        self.messenger.options = structs.replace(self.messenger.options, behaviour=Behaviour())
        with anyio.move_on_after(QUIESCENT_WITHIN_S) as limit:
            while not await self._is_quiescent():
                await anyio.sleep(1.0)
        self.quiescent = not limit.cancelled_caught

    async def _is_quiescent(self) -> bool:
        if self.messenger.pending or not all(node.ready for node in self.nodes):
            return False
        ends = await self.bus.end_offsets(topics.FOLDED)
        for node in self.nodes:
            positions = node.process.services.projector.positions()  # type: ignore[union-attr]
            if any(positions[tp] < end for tp, end in ends.items()):
                return False
            if (await node.store.counts())["send_pending"]:
                return False
        source = topics.source_events("facebook")
        done = await self.bus.committed("sources.facebook.router", [source])
        came = await self.bus.end_offsets([source])
        if any(done.get(tp, 0) < end for tp, end in came.items() if end):
            return False
        stats = await self.queue.stats()
        return not (stats.waiting or stats.leased or await self._anything_unpublished(ends))

    async def _anything_unpublished(self, ends: Mapping[TopicPartition, int]) -> bool:
        for tp, end in ends.items():
            if tp.topic == topics.EVENTS.name and end:
                after = await self.queue.last(Shard(tp.topic, tp.partition))
                for node in self.nodes:
                    if "webhook-publisher" in node.components and await node.store.changes(
                        tp, after=after, changes_max=1
                    ):
                        return True
        return False


# --- disruptions


async def killed(cluster: ClusterSimulation, node: SimulatedNode) -> None:
    """kill -9 and a restart; in a third of the cases the disk is lost."""
    node.kill(cluster.random.uniform(0.0, 15.0))
    await anyio.sleep(0.0)
    if cluster.random.random() < 0.35 and node.process is None:
        await node.lose_store()


async def stopped(cluster: ClusterSimulation, node: SimulatedNode) -> None:
    """SIGTERM, as in a rolling restart."""
    node.stop(cluster.random.uniform(0.0, 5.0))


async def paused(cluster: ClusterSimulation, node: SimulatedNode) -> None:
    """A zombie: suspended for longer than its session, then resumed."""
    switch = node.switch
    switch.pause()
    await anyio.sleep(cluster.random.uniform(SESSION_S + 1, SESSION_S + 15))
    switch.resume()


async def slowed(cluster: ClusterSimulation, node: SimulatedNode) -> None:
    """The store lags behind."""
    switch = node.switch
    switch.fold_delay_s = cluster.random.uniform(0.5, 6.0)
    await anyio.sleep(cluster.random.uniform(5.0, 40.0))
    switch.fold_delay_s = 0.0


async def rebalanced(cluster: ClusterSimulation, _: SimulatedNode) -> None:
    cluster.bus.rebalance(cluster.random.choice(GROUPS))


async def clock_set(cluster: ClusterSimulation, node: SimulatedNode) -> None:
    """The clock jumps by up to an hour; nothing may depend on it."""
    node.clock.set(cluster.random.randint(-STEP_MS_MAX, STEP_MS_MAX))


async def flushed(cluster: ClusterSimulation, _: SimulatedNode) -> None:
    """FLUSHALL."""
    await cluster.queue.wipe()


Disruption = Callable[[ClusterSimulation, SimulatedNode], Any]
DISRUPTIONS: Sequence[Disruption] = (killed, stopped, paused, slowed, rebalanced, flushed, clock_set)
WEIGHTS = (4, 2, 4, 3, 2, 1, 2)

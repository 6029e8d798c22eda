"""One seeded world of many processes: replicas of every component over one log and one queue, in virtual time.

Each process has what a process of its own would have: store, fold, clock (wrong by some seconds), supervision tree.
They share the log, the webhook queue and nothing else. Meanwhile they are killed, stopped, paused for longer than a
session and then go on, fold slowly, lose their stores; clocks jump; the queue is flushed; groups are rebalanced. Then
peace, in which everything must come right; then all are told to stop, and must.

A fleet looks like a `World` to those outside and to the checkers.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any

import anyio
from msgspec import field, structs

from airy import topics
from airy.actors.runtime import run_tree
from airy.actors.webhooks.queue import Shard
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.app.parts import Parts, assemble
from airy.app.plan import plan
from airy.bus.faults import Faults
from airy.bus.memory import MemoryBus
from airy.bus.record import TopicPartition
from airy.clock import LoopClock, RandomIds
from airy.http.ingress import Ingress
from airy.seal import Sealer
from airy.sim.messenger.core import MessengerCore
from airy.sim.messenger.fetch import SimFetch
from airy.sim.messenger.options import Behaviour, SimOptions
from airy.store.sqlite import SqliteStore
from tests.sim.endpoint import Endpoint
from tests.sim.gates import Gated, GatedBus, SkewedClock, Switch, gated
from tests.sim.outside import Outside
from tests.sim.world import GRAPH, PEACE_S, SECRET, SILENT, Life, Shape, World, _config, _only_tree_failures

EDGE = frozenset({"http", "api-communication", "api-admin"})
SOURCES = frozenset({"sources-facebook"})
PUBLISHER = frozenset({"webhook-publisher"})
DISPATCHER = frozenset({"webhook-consumer"})

APART: tuple[frozenset[str], ...] = (EDGE, SOURCES, PUBLISHER, DISPATCHER) * 2
TOGETHER: tuple[frozenset[str], ...] = (EDGE | SOURCES | PUBLISHER | DISPATCHER,) * 3
HALVES: tuple[frozenset[str], ...] = (EDGE | SOURCES, PUBLISHER | DISPATCHER) * 2
LAYOUTS = (APART, HALVES, TOGETHER)

GROUPS = (
    "sources.facebook.router",
    "sources.facebook.unpark",
    "sources.facebook.connector",
    "webhook-publisher",
)
SESSION_S = 10.0
REBALANCE_S = 25.0
STOP_S = 60.0  # all of them, told to stop at the same time
RESTARTS_MAX = 40
SKEW_MS_MAX = 20_000
STEP_MS_MAX = 300_000


class FleetShape(Shape, frozen=True, kw_only=True):
    layout: tuple[frozenset[str], ...] | None = None  # None: by seed
    troubles: int = 7
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


class Node:
    """A place processes run at, one after the other: what outlives them is its store's file and its clock."""

    def __init__(self, fleet: "Fleet", number: int, components: frozenset[str]) -> None:
        self.name = f"node-{number}"
        self.components = components
        self.random = Random(f"node {number} of {fleet.seed}")
        self.clock = SkewedClock(fleet.clock, self.random.randint(-SKEW_MS_MAX, SKEW_MS_MAX))
        self.ids = RandomIds(Random(f"ids of {number} of {fleet.seed}"))
        self.store = SqliteStore(":memory:")
        self.switch = Switch(self.random)
        self.scope = anyio.CancelScope()
        self.life: FleetLife | None = None
        self.down_s = 1.0
        self.lives = 0
        self._fleet = fleet

    async def live(self) -> None:
        """Life after life, until the fleet is told to stop."""
        await self.store.open()
        while not self._fleet.over:
            self.lives += 1
            assert self.lives < RESTARTS_MAX, f"{self.name} was started {RESTARTS_MAX} times"
            self.down_s = 1.0
            await self._one_life()
            if not self._fleet.over:
                await anyio.sleep(self.down_s)

    async def _one_life(self) -> None:
        self.switch = Switch(self.random)
        life = FleetLife(self._fleet, self._fleet.assemble(self), self.components, self.lives)
        with anyio.CancelScope() as self.scope:
            try:
                async with anyio.create_task_group() as tasks:
                    life.begin(tasks)
                    self.life = life
                    try:
                        await life.run()
                    finally:
                        self.life = None
                        life.end()
                    tasks.cancel_scope.cancel()
            except BaseExceptionGroup as group:
                if not _only_tree_failures(group):
                    raise
                self._fleet.failures += 1

    def kill(self, down_s: float) -> None:
        self.down_s = down_s
        self.switch.killed = True
        self.scope.cancel()

    def stop(self, down_s: float) -> None:
        self.down_s = down_s
        if self.life is not None:
            self.life.stop.set()

    async def lose_store(self) -> None:
        """Between two lives."""
        await self.store.close()
        self.store = SqliteStore(":memory:")
        await self.store.open()

    @property
    def ready(self) -> bool:
        return self.life is not None and self.life.parts.follower.caught_up


class FleetLife(Life):
    """A process of a fleet while it runs."""

    def __init__(self, fleet: "Fleet", parts: Parts, components: frozenset[str], number: int) -> None:
        super().__init__(fleet, parts)
        self._components = components
        self._number = number

    def begin(self, tasks: Any) -> None:
        self._tasks = tasks

    def end(self) -> None:
        self._tasks = None

    async def run(self) -> None:
        tree = plan(self.parts, self._components)
        seed = self.world.seed * 1000 + self._number
        await run_tree(tree, clock=self.parts.clock, seed=seed, stop=self.stop, log=SILENT)


class Fleet(World):
    """Filled by `live`; read by the checkers afterwards."""

    def __init__(self, seed: int, shape: FleetShape) -> None:
        self.seed = seed
        self.shape: FleetShape = shape
        self.random = Random(f"fleet {seed}")
        self.clock = LoopClock()
        self.config = _config()
        self.faults = Faults(Random(f"faults {seed}"), rates=shape.rates)  # type: ignore[arg-type]
        self.bus = MemoryBus(
            topics.ALL, clock=self.clock, faults=self.faults, session_s=SESSION_S, rebalance_s=REBALANCE_S
        )
        self.endpoint = Endpoint(Random(f"endpoint {seed}"), trouble=shape.trouble)
        self.sealer = Sealer({"k1": bytes(32)})
        self.ids = RandomIds(Random(f"ids {seed}"))
        self.queue = SqliteQueue(":memory:", ids=self.ids)
        self.graves: list[AbstractAsyncContextManager[Any]] = []
        layout = shape.layout or LAYOUTS[seed % len(LAYOUTS)]
        self.nodes = [Node(self, number, components) for number, components in enumerate(layout)]
        self.over = False
        self.failures = 0
        self.peaceful = False
        self.stopped_in_s: float | None = None
        self.ingress_type = Ingress
        self.troubles: list[str] = []  # what was done to whom, for who reads a failure
        self.outside = Outside(self)

    # --- as a world

    @property
    def process(self) -> Life | None:  # type: ignore[override]
        """Where the front sends the next request: any replica of the edge that says it is ready."""
        ready = [node.life for node in self.nodes if "http" in node.components and node.ready]
        return self.random.choice(ready) if ready else None

    @property
    def store(self) -> SqliteStore:  # type: ignore[override]
        return self.nodes[0].store

    def assemble(self, node: Node) -> Parts:
        return assemble(
            self.config,
            clock=node.clock,
            ids=node.ids,
            bus=GatedBus(self.bus, node.switch, self.graves),  # type: ignore[arg-type]
            store=node.store,
            queue=Gated(self.queue, node.switch),  # type: ignore[arg-type]
            sealer=self.sealer,
            provider_fetch=gated(self.fetch, node.switch),
            webhook_fetch=gated(self.fetch, node.switch),
            arrived=self.queue.arrived,
        )

    # --- the story

    async def live(self) -> None:
        options = SimOptions(app_secret=SECRET, seed=self.seed, behaviour=self.shape.behaviour)
        self.messenger = MessengerCore(options, now_ms=self.clock.now_ms())
        self.graph = SimFetch(self.messenger, self.clock, graph_url=GRAPH)
        await self.queue.open()
        async with anyio.create_task_group() as running:
            async with anyio.create_task_group() as outside:
                for node in self.nodes:
                    running.start_soon(node.live)
                outside.start_soon(self.outside.run)
                await self._make_trouble()
                await self.outside.finished.wait()
                await self._come_to_peace()
                outside.cancel_scope.cancel()
            await self._stop(running)
        for membership in self.graves:
            await membership.__aexit__(None, None, None)

    async def _stop(self, running: anyio.abc.TaskGroup) -> None:
        self.over = True
        began = anyio.current_time()
        for node in self.nodes:
            node.stop(0.0)
        with anyio.move_on_after(STOP_S):
            while any(node.life is not None for node in self.nodes):
                await anyio.sleep(0.5)
            self.stopped_in_s = anyio.current_time() - began
        running.cancel_scope.cancel()

    async def _make_trouble(self) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(self.shape.troubles):
                await anyio.sleep(self.random.uniform(0.2, 8.0))
                node = self.random.choice(self.nodes)
                deed = self.random.choices(DEEDS, weights=WEIGHTS)[0]
                self.troubles.append(f"{anyio.current_time():.1f} {deed.__name__} {node.name}")
                tasks.start_soon(deed, self, node)

    async def _come_to_peace(self) -> None:
        self.faults.calm()
        self.endpoint.trouble = 0.0
        self.messenger.options = structs.replace(self.messenger.options, behaviour=Behaviour())
        with anyio.move_on_after(PEACE_S) as limit:
            while not await self._all_quiet():
                await anyio.sleep(1.0)
        self.peaceful = not limit.cancelled_caught

    async def _all_quiet(self) -> bool:
        if self.messenger.pending or not all(node.ready for node in self.nodes):
            return False
        ends = await self.bus.ends(topics.FOLDED)
        for node in self.nodes:
            positions = node.life.parts.follower.positions()  # type: ignore[union-attr]
            if any(positions[where] < end for where, end in ends.items()):
                return False
            if (await node.store.counts())["send_pending"]:
                return False
        source = topics.source_events("facebook")
        done = await self.bus.committed("sources.facebook.router", [source])
        came = await self.bus.ends([source])
        if any(done.get(where, 0) < end for where, end in came.items() if end):
            return False
        stats = await self.queue.stats()
        return not (stats.waiting or stats.leased or await self._anything_unpublished(ends))

    async def _anything_unpublished(self, ends: Mapping[TopicPartition, int]) -> bool:
        for where, end in ends.items():
            if where.topic == topics.EVENTS.name and end:
                after = await self.queue.last(Shard(where.topic, where.partition))
                for node in self.nodes:
                    if "webhook-publisher" in node.components and await node.store.changes(
                        where, after=after, changes_max=1
                    ):
                        return True
        return False


# --- what happens to processes


async def killed(fleet: Fleet, node: Node) -> None:
    """kill -9, and somebody starts it again; a third of the time its disk is gone."""
    node.kill(fleet.random.uniform(0.0, 15.0))
    await anyio.sleep(0.0)
    if fleet.random.random() < 0.35 and node.life is None:
        await node.lose_store()


async def stopped(fleet: Fleet, node: Node) -> None:
    """SIGTERM, as in a rolling restart."""
    node.stop(fleet.random.uniform(0.0, 5.0))


async def paused(fleet: Fleet, node: Node) -> None:
    """A zombie: away for longer than its session, then it goes on as if nothing had been."""
    switch = node.switch
    switch.pause()
    await anyio.sleep(fleet.random.uniform(SESSION_S + 1, SESSION_S + 15))
    switch.resume()


async def slowed(fleet: Fleet, node: Node) -> None:
    """Its store lags behind."""
    switch = node.switch
    switch.fold_delay_s = fleet.random.uniform(0.5, 6.0)
    await anyio.sleep(fleet.random.uniform(5.0, 40.0))
    switch.fold_delay_s = 0.0


async def rebalanced(fleet: Fleet, _: Node) -> None:
    fleet.bus.rebalance(fleet.random.choice(GROUPS))


async def clock_set(fleet: Fleet, node: Node) -> None:
    """By minutes, in the middle of whatever it does; what it does not notice is the point."""
    node.clock.set(fleet.random.randint(-STEP_MS_MAX, STEP_MS_MAX))


async def flushed(fleet: Fleet, _: Node) -> None:
    """FLUSHALL."""
    await fleet.queue.wipe()


Deed = Callable[[Fleet, Node], Any]
DEEDS: Sequence[Deed] = (killed, stopped, paused, slowed, rebalanced, flushed, clock_set)
WEIGHTS = (4, 2, 4, 3, 2, 1, 2)

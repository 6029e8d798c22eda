"""One seeded world: the real supervision tree over simulated ports, in virtual time, with everything going wrong.

A world has a workload (people write, agents answer, subscribers listen), faults (log, provider, endpoint, kills of the
whole process) and then peace, in which everything must come right. What "right" means is in checkers.py.
"""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup
from msgspec import Struct, field, structs

from airy import topics
from airy.actors.runtime import TreeFailed, run_tree
from airy.actors.webhooks.queue import Shard
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.app.parts import Parts, assemble
from airy.app.plan import plan
from airy.app.presence import Reporter
from airy.app.status import TreeStatus
from airy.bus.faults import Faults
from airy.bus.memory import MemoryBus
from airy.bus.record import TopicPartition
from airy.clock import LoopClock, RandomIds
from airy.config import Components, Config, FacebookComponent
from airy.fetch import Answer, Fetch
from airy.http.bodies import BodyReader
from airy.http.ingress import Gate, Ingress
from airy.seal import Sealer
from airy.secret import Secret
from airy.sim.messenger.core import MessengerCore
from airy.sim.messenger.fetch import SimFetch
from airy.sim.messenger.options import ROUGH, Behaviour, SimOptions
from airy.store.sqlite import SqliteStore
from tests.sim.endpoint import Endpoint
from tests.sim.outside import Outside

GRAPH = "https://graph.sim"
HOOK = "https://hook.example.org/airy"
SECRET = "app-secret"
T = TypeVar("T")


def DROP(*_: object) -> dict[str, object]:  # noqa: N802 - a constant that happens to be a function
    raise structlog.DropEvent


SILENT = structlog.wrap_logger(None, processors=[DROP])
RESTARTS_MAX = 20
PEACE_S = 8 * 3600.0  # within this everything has to have come right
RUNNING = frozenset(
    {"http", "api-communication", "api-admin", "sources-facebook", "webhook-publisher", "webhook-consumer"}
)


class Shape(Struct, frozen=True, kw_only=True):
    """How big and how bad a world is."""

    people: int = 3
    steps: int = 14
    kills: int = 2
    wipes: bool = True  # a kill may take the store or the webhook queue with it
    behaviour: Behaviour = ROUGH
    trouble: float = 0.25
    rates: dict[tuple[str, str], float] = field(
        default_factory=lambda: {
            ("publish", "unavailable"): 0.03,
            ("published", "unavailable"): 0.03,
            ("publish", "duplicate"): 0.05,
            ("publish", "delay"): 0.1,
            ("published", "delay"): 0.1,
            ("fetch", "rebalance"): 0.01,
            ("commit", "unavailable"): 0.05,
            ("committed", "crash"): 0.005,
            ("published", "crash"): 0.01,
        }
    )


MILD = Shape(behaviour=Behaviour(), trouble=0.0, kills=0, rates={})


class World:
    """Filled by `live`; read by the checkers afterwards."""

    def __init__(self, seed: int, shape: Shape, *, ingress: type[Ingress] = Ingress) -> None:
        self.seed = seed
        self.shape = shape
        self.random = Random(f"world {seed}")
        self.clock = LoopClock()
        self.config = _config()
        self.faults = Faults(Random(f"faults {seed}"), rates=shape.rates)  # type: ignore[arg-type]
        self.bus = MemoryBus(topics.ALL, clock=self.clock, faults=self.faults)
        self.endpoint = Endpoint(Random(f"endpoint {seed}"), trouble=shape.trouble)
        self.sealer = Sealer({"k1": bytes(32)})
        self.ids = RandomIds(Random(f"ids {seed}"))
        self.ingress_type = ingress
        self.store = SqliteStore(":memory:")
        self.queue = SqliteQueue(":memory:", ids=self.ids)
        self.lives = 0
        self.process: Life | None = None
        self.peaceful = False
        self.announced = False  # beats are noise to a story: whoever tells one of processes wants them
        self.outside = Outside(self)

    # --- the outside

    def begin(self) -> None:
        """Once the clock runs."""
        options = SimOptions(app_secret=SECRET, seed=self.seed, behaviour=self.shape.behaviour)
        self.messenger = MessengerCore(options, now_ms=self.clock.now_ms())
        self.graph = SimFetch(self.messenger, self.clock, graph_url=GRAPH)

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Answer:
        port: Fetch = self.graph if url.startswith(GRAPH) else self.endpoint
        return await port(
            method,
            url,
            headers=headers,
            body=body,
            connect_s=connect_s,
            total_s=total_s,
            body_bytes_max=body_bytes_max,
        )

    # --- the process, life after life

    async def live(self) -> None:
        """The whole story: lives and kills under load, then peace, and nothing left to do."""
        self.begin()
        await self.store.open()
        await self.queue.open()
        async with anyio.create_task_group() as outside:
            outside.start_soon(self.outside.run)
            for number in range(self.shape.kills + 1):
                self.lives = number + 1
                last = number == self.shape.kills
                await self._one_life(None if last else self.random.uniform(0.5, 12.0))
                if not last:
                    await self._after_kill()
            outside.cancel_scope.cancel()

    async def _one_life(self, killed_after_s: float | None) -> None:
        """Until it is killed, or until peace has come. Bugs that fault switches make count as kills."""
        for _ in range(RESTARTS_MAX):
            life = Life(self, self._assemble())
            with anyio.CancelScope() as scope:
                try:
                    async with anyio.create_task_group() as tasks:
                        life.begin(tasks)
                        if killed_after_s is not None:
                            tasks.start_soon(_cancel_after, scope, killed_after_s)
                        else:
                            tasks.start_soon(self._until_peace, life)
                        await life.run()
                        tasks.cancel_scope.cancel()
                except BaseExceptionGroup as group:
                    if not _only_tree_failures(group):
                        raise
                    life.failed = True
                finally:
                    life.end()
            if not life.failed:
                return
            await anyio.sleep(1.0)
        raise AssertionError(f"the tree failed {RESTARTS_MAX} times in a row")

    def _assemble(self) -> Parts:
        return assemble(
            self.config,
            clock=self.clock,
            ids=self.ids,
            bus=self.bus,
            store=self.store,
            queue=self.queue,
            sealer=self.sealer,
            provider_fetch=self.fetch,
            webhook_fetch=self.fetch,
            arrived=self.queue.arrived,
        )

    async def _after_kill(self) -> None:
        """Caches may be lost with the process; the log is not."""
        fate = self.random.random() if self.shape.wipes else 1.0
        if fate < 0.3:
            await self.store.close()
            self.store = SqliteStore(":memory:")
            await self.store.open()
        elif fate < 0.6:
            await self.queue.close()
            self.queue = SqliteQueue(":memory:", ids=self.ids)
            await self.queue.open()
        await anyio.sleep(self.random.uniform(0.0, 5.0))

    async def _until_peace(self, life: "Life") -> None:
        await self.outside.finished.wait()
        self.faults.calm()
        self.endpoint.trouble = 0.0
        self.messenger.options = structs.replace(self.messenger.options, behaviour=Behaviour())
        with anyio.move_on_after(PEACE_S) as limit:
            while not await self._quiet(life):
                await anyio.sleep(1.0)
        self.peaceful = not limit.cancelled_caught
        life.stop.set()

    async def _quiet(self, life: "Life") -> bool:
        """Whether nobody has anything left to do."""
        if self.messenger.pending or not life.parts.follower.caught_up:
            return False
        ends = await self.bus.ends(topics.FOLDED)
        if any(life.parts.follower.positions()[where] < end for where, end in ends.items()):
            return False
        source = topics.source_events("facebook")
        done = await self.bus.committed("sources.facebook.router", [source])
        came = await self.bus.ends([source])
        if any(done.get(where, 0) < end for where, end in came.items() if end):
            return False
        stats, counts = await self.queue.stats(), await self.store.counts()
        return not (stats.waiting or stats.leased or counts["send_pending"] or await self._unpublished(ends))

    async def _unpublished(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether the publisher has yet to pass a change of a conversation."""
        for where, end in ends.items():
            if where.topic == topics.EVENTS.name and end:
                after = await self.queue.last(Shard(where.topic, where.partition))
                if await self.store.changes(where, after=after, changes_max=1):
                    return True
        return False


class Life:
    """The process while it runs: what the outside can reach of it."""

    def __init__(self, world: World, parts: Parts) -> None:
        self.world = world
        self.parts = parts
        self.stop = anyio.Event()
        self.failed = False
        self.ingress = world.ingress_type(
            parts.sources["facebook"], parts.bus, clock=world.clock, ids=world.ids, gate=Gate(), reader=BodyReader()
        )
        self._tasks: TaskGroup | None = None

    def begin(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self.world.process = self

    def end(self) -> None:
        self._tasks = None
        self.world.process = None

    async def run(self) -> None:
        status = TreeStatus(self.parts, RUNNING, {})
        report = Reporter(self.parts, status, host="sim", where=lambda: None) if self.world.announced else None
        tree = plan(self.parts, RUNNING, report=report)
        seed = self.world.seed * 100 + self.world.lives
        await run_tree(tree, clock=self.world.clock, seed=seed, stop=self.stop, log=SILENT, on_start=status.started)

    async def call(self, function: Callable[[], Awaitable[T]]) -> T | None:
        """`function` inside the process: None if the process died over it. What it raises, the caller gets."""
        done, outcome, errors = anyio.Event(), [], []

        async def inside() -> None:
            try:
                outcome.append(await function())
            except Exception as error:  # noqa: BLE001 - carried to whoever called
                errors.append(error)
            finally:
                done.set()

        if self._tasks is None:
            return None
        self._tasks.start_soon(inside)
        await done.wait()
        if errors:
            raise errors[0]
        return outcome[0] if outcome else None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int | None:
        """A webhook arrives, as ASGI has it; its status."""
        statuses: list[int] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, object]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(str(message["status"])))

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/facebook",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await self.call(lambda: self.ingress(scope, receive, send))  # type: ignore[arg-type]
        return statuses[0] if statuses else None


async def _cancel_after(scope: anyio.CancelScope, after_s: float) -> None:
    await anyio.sleep(after_s)
    scope.cancel()


def _only_tree_failures(group: BaseExceptionGroup[BaseException]) -> bool:
    return group.split(TreeFailed)[1] is None


def _config() -> Config:
    facebook = FacebookComponent(
        enabled=True,
        app_id="990011",
        app_secret=(Secret(SECRET),),
        webhook_secret=Secret("verify-me"),
        graph_url=GRAPH,
    )
    return Config(components=Components(sources_facebook=facebook))

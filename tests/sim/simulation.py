"""One process, simulated by seed: the real supervision tree over simulated ports, in virtual time, with faults.

A simulation has a workload (contacts write, agents answer, a webhook receives), faults (log, provider, endpoint, kills
of the process) and then a fault-free phase in which it must become quiescent. checkers.py says what must hold then.
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
from airy.app.services import Ports, Services, build_services
from airy.app.status_reporter import StatusReporter
from airy.app.tree import build_tree
from airy.app.tree_status import TreeStatus
from airy.bus.memory import Faults, MemoryBus
from airy.bus.record import TopicPartition
from airy.clock import LoopClock, RandomIds
from airy.config import Config
from airy.http.admission import AdmissionControl
from airy.http.body_reader import BodyReader
from airy.http.ingress import Ingress
from airy.http_client import HttpClient, Response
from airy.queue.api import Shard
from airy.queue.sqlite import SqliteQueue
from airy.seal import Sealer
from airy.secret import Secret
from airy.sim.graph import GraphOptions, GraphProvider
from airy.sim.provider import ROUGH, Behaviour, SimHttpClient
from airy.sources.facebook.spec import FacebookSection
from airy.store.sqlite import SqliteStore
from tests.kit.clock import SkewedClock
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage
from tests.kit.silent_logs import drop
from tests.sim.endpoint import SimulatedEndpoint
from tests.sim.traffic import Traffic

GRAPH = "https://graph.sim"
HOOK = "https://hook.example.org/airy"
SECRET = "app-secret"
T = TypeVar("T")


SILENT = structlog.wrap_logger(None, processors=[drop])
RESTARTS_MAX = 20
HOUR_MS = 3_600_000
QUIESCENT_WITHIN_S = 8 * 3600.0  # virtual time within which it must become quiescent
CLOCK_IS_RIGHT_AFTER_S = 60.0  # of the fault-free phase: a retry that was stored before a step back waits for its time
WAITING_SEEDS = 20  # one of so many waits instead: that hour costs ten times the rest of a simulation
SHARED_COMPONENTS = frozenset({"http", "api-communication", "api-admin", "webhook-publisher", "webhook-consumer"})


class SimulationSize(Struct, frozen=True, kw_only=True):
    """Workload and fault rates."""

    people: int = 3
    steps: int = 14
    kills: int = 2
    wipes: bool = True  # a kill may lose the store or the webhook queue
    clock_steps: int = 2  # the machine's clock is set by an hour, forward or back
    behaviour: Behaviour = ROUGH
    failure_rate: float = 0.25
    slow_rate: float = 0.1  # of requests to the endpoint,
    slow_s: float = 13.0  # which then take almost all of the time an attempt has
    badly_framed_rates: tuple[float, ...] = (0.0, 0.2, 1.0)  # one by the seed; some endpoints never frame correctly
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


FAULT_FREE = SimulationSize(
    behaviour=Behaviour(), failure_rate=0.0, slow_rate=0.0, badly_framed_rates=(0.0,), kills=0, clock_steps=0, rates={}
)


class Simulation:
    """`run` fills it; the checkers read it afterwards.

    With Messenger and its simulated provider; `MixedSimulation` replaces them by every source that has one.
    """

    sources: tuple[str, ...] = ("facebook",)

    def __init__(self, seed: int, size: SimulationSize, *, ingress: type[Ingress] = Ingress) -> None:
        self.seed = seed
        self.size = size
        self.random = Random(f"world {seed}")
        self.clock = LoopClock()  # of the world outside
        self.machine_clock = SkewedClock(self.clock)
        self.config = self.make_config()
        self.running = SHARED_COMPONENTS | {f"sources-{name}" for name in self.sources}
        self.faults = Faults(Random(f"faults {seed}"), rates=size.rates)  # type: ignore[arg-type]
        self.bus = MemoryBus(topics.ALL, clock=self.machine_clock, faults=self.faults)
        self.endpoint = make_endpoint(seed, size)
        self.sealer = Sealer({"k1": bytes(32)})
        self.ids = RandomIds(Random(f"ids {seed}"))
        self.ingress_type = ingress
        self.store = SqliteStore(":memory:")
        self.queue = SqliteQueue(":memory:", ids=self.ids)
        self.starts = 0
        self.process: ProcessRun | None = None
        self.quiescent = False
        self.publishes_heartbeats = False  # off by default: they would be noise in the log
        self.traffic = Traffic(self)

    def make_config(self) -> Config:
        return _config()

    # --- outside of the process

    def begin(self) -> None:
        """Create the simulated Messenger; call it inside the event loop."""
        options = GraphOptions(app_secret=SECRET, seed=self.seed, behaviour=self.size.behaviour)
        self.messenger = GraphProvider(options, now_ms=self.clock.now_ms())
        self.graph = SimHttpClient(self.messenger, self.clock, url=GRAPH)

    def heal_provider(self) -> None:
        self.messenger.options = structs.replace(self.messenger.options, behaviour=Behaviour())

    def provider_is_done(self) -> bool:
        """Whether it has no webhook left to post."""
        return not self.messenger.pending

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
    ) -> Response:
        port: HttpClient = self.graph if url.startswith(GRAPH) else self.endpoint
        return await port(
            method,
            url,
            headers=headers,
            body=body,
            connect_s=connect_s,
            total_s=total_s,
            body_bytes_max=body_bytes_max,
        )

    # --- the process and its restarts

    async def run(self) -> None:
        """Run and kill the process under load, then without faults until it is quiescent."""
        self.begin()
        await self.store.open()
        await self.queue.open()
        async with anyio.create_task_group() as traffic:
            traffic.start_soon(self.traffic.run)
            traffic.start_soon(self._set_clock)
            for number in range(self.size.kills + 1):
                self.starts = number + 1
                last = number == self.size.kills
                await self._run_once(None if last else self.random.uniform(0.5, 12.0))
                if not last:
                    await self._after_kill()
            traffic.cancel_scope.cancel()

    async def _set_clock(self) -> None:
        random = Random(f"clock {self.seed}")
        for _ in range(self.size.clock_steps):
            await anyio.sleep(random.uniform(0.0, 15.0))
            self.machine_clock.set(random.choice((-HOUR_MS, 0, HOUR_MS)))

    async def _run_once(self, killed_after_s: float | None) -> None:
        """Until it is killed or quiescent. A tree that fails because of injected crashes is started again."""
        for _ in range(RESTARTS_MAX):
            process = ProcessRun(self, self._assemble())
            with anyio.CancelScope() as scope:
                try:
                    async with anyio.create_task_group() as tasks:
                        process.begin(tasks)
                        if killed_after_s is not None:
                            tasks.start_soon(_cancel_after, scope, killed_after_s)
                        else:
                            tasks.start_soon(self._until_quiescent, process)
                        await process.run()
                        tasks.cancel_scope.cancel()
                except BaseExceptionGroup as group:
                    if not _only_tree_failures(group):
                        raise
                    process.failed = True
                finally:
                    process.end()
            if not process.failed:
                return
            await anyio.sleep(1.0)
        raise AssertionError(f"the tree failed {RESTARTS_MAX} times in a row")

    def _assemble(self) -> Services:
        return build_services(
            self.config,
            Ports(
                clock=self.machine_clock,
                ids=self.ids,
                bus=self.bus,
                store=self.store,
                queue=self.queue,
                sealer=self.sealer,
                media=MemoryStorage(),
                provider_http=self.fetch,
                provider_files=WholeBodies(self.fetch),
                attachment_files=WholeBodies(self.fetch),
                webhook_http=self.fetch,
                wait_for_arrival=self.queue.wait_for_arrival,
            ),
        )

    async def _after_kill(self) -> None:
        """The store or the queue may be lost with the process; the log is not."""
        fate = self.random.random() if self.size.wipes else 1.0
        if fate < 0.3:
            await self.store.close()
            self.store = SqliteStore(":memory:")
            await self.store.open()
        elif fate < 0.6:
            await self.queue.close()
            self.queue = SqliteQueue(":memory:", ids=self.ids)
            await self.queue.open()
        await anyio.sleep(self.random.uniform(0.0, 5.0))

    async def _until_quiescent(self, process: "ProcessRun") -> None:
        await self.traffic.finished.wait()
        self.faults.clear()
        self.endpoint.failure_rate = 0.0
        self.heal_provider()
        right_at = anyio.current_time() + CLOCK_IS_RIGHT_AFTER_S
        with anyio.move_on_after(QUIESCENT_WITHIN_S) as limit:
            while not await self._is_quiescent(process):
                await anyio.sleep(1.0)
                if self.size.clock_steps and self.seed % WAITING_SEEDS and anyio.current_time() > right_at:
                    self.machine_clock.set(HOUR_MS)  # the latest it has shown
        self.quiescent = not limit.cancelled_caught
        process.stop.set()

    async def _is_quiescent(self, process: "ProcessRun") -> bool:
        """Whether no actor has work left."""
        if not self.provider_is_done() or not process.services.projector.caught_up:
            return False
        ends = await self.bus.end_offsets(topics.FOLDED)
        if any(process.services.projector.positions()[tp] < end for tp, end in ends.items()):
            return False
        for name in self.sources:
            source = topics.source_events(name)
            done = await self.bus.committed(f"sources.{name}.router", [source])
            came = await self.bus.end_offsets([source])
            if any(done.get(tp, 0) < end for tp, end in came.items() if end):
                return False
        stats, counts = await self.queue.stats(), await self.store.counts()
        return not (stats.waiting or stats.leased or counts["send_pending"] or await self._unpublished(ends))

    async def _unpublished(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether the publisher has not queued every change of a conversation yet."""
        for tp, end in ends.items():
            if tp.topic == topics.EVENTS.name and end:
                after = await self.queue.last(Shard(tp.topic, tp.partition))
                if await self.store.changes(tp, after=after, changes_max=1):
                    return True
        return False


class ProcessRun:
    """One run of the process, as reached from outside."""

    def __init__(self, simulation: Simulation, services: Services) -> None:
        self.simulation = simulation
        self.services = services
        self.stop = anyio.Event()
        self.failed = False
        self.ingresses = {
            name: simulation.ingress_type(
                services.sources[name],
                services.ports.bus,
                clock=simulation.machine_clock,
                ids=simulation.ids,
                admission=AdmissionControl(),
                reader=BodyReader(),
                accounts=services.channel_directory.refresh,
                public_url=services.config.http.public_url or "",
            )
            for name in simulation.sources
        }
        self._tasks: TaskGroup | None = None

    def begin(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self.simulation.process = self

    def end(self) -> None:
        self._tasks = None
        self.simulation.process = None

    async def run(self) -> None:
        status = TreeStatus(self.services, self.simulation.running, {})
        report = (
            StatusReporter(self.services, status, host="sim", url=lambda: None)
            if self.simulation.publishes_heartbeats
            else None
        )
        tree = build_tree(self.services, self.simulation.running, read_status=report)
        seed = self.simulation.seed * 100 + self.simulation.starts
        await run_tree(
            tree, clock=self.simulation.machine_clock, seed=seed, stop=self.stop, log=SILENT, on_start=status.started
        )

    async def call(self, function: Callable[[], Awaitable[T]]) -> T | None:
        """Run `function` inside the process; None if the process died meanwhile. Its exception is raised here."""
        done, outcome, errors = anyio.Event(), [], []

        async def inside() -> None:
            try:
                outcome.append(await function())
            except Exception as error:  # noqa: BLE001 - raised again in the caller
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

    async def post(
        self, body: bytes, headers: Mapping[str, str], *, path: str = "/facebook", query: str = ""
    ) -> int | None:
        """Deliver a webhook as an ASGI request; the status, None if the process died."""
        statuses: list[int] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, object]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(str(message["status"])))

        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        ingress = self.ingresses[path.split("/")[1]]
        await self.call(lambda: ingress(scope, receive, send))  # type: ignore[arg-type]
        return statuses[0] if statuses else None


async def _cancel_after(scope: anyio.CancelScope, after_s: float) -> None:
    await anyio.sleep(after_s)
    scope.cancel()


def _only_tree_failures(group: BaseExceptionGroup[BaseException]) -> bool:
    return group.split(TreeFailed)[1] is None


def make_endpoint(seed: int, size: SimulationSize) -> SimulatedEndpoint:
    random = Random(f"endpoint {seed}")
    badly_framed_rate = random.choice(size.badly_framed_rates)
    return SimulatedEndpoint(
        random,
        failure_rate=size.failure_rate,
        badly_framed_rate=badly_framed_rate,
        slow_rate=size.slow_rate,
        slow_s=size.slow_s,
    )


def _config() -> Config:
    facebook = FacebookSection(
        enabled=True,
        app_id="990011",
        app_secret=(Secret(SECRET),),
        webhook_secret=Secret("verify-me"),
        graph_url=GRAPH,
    )
    return Config().with_sections(facebook)

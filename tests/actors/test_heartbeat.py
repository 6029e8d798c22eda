"""Heartbeats: every interval, at once on a change, and a tombstone at the end."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.heartbeat import CHECK_S, Heartbeat, HeartbeatPublisher, is_due
from airy.actors.runtime import Child, Context, Supervision, Tree, TreeFailed, run_tree
from airy.app.status_reporter import REASON_CHARS_MAX, REASONS_MAX, StatusReporter
from airy.app.tree import build_tree
from airy.app.tree_status import TreeStatus
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, Record
from airy.clock import LoopClock
from airy.errors import Unavailable
from airy.log import MASK
from airy.model.process_status import ComponentStatus, ProcessStatus
from tests.kit.event_loops import run_seeded
from tests.kit.in_process import TOKEN, InProcessAiry
from tests.kit.silent_logs import silent_logs
from tests.sim.checkers import problems, trace
from tests.sim.simulation import SILENT, Simulation, SimulationSize

BEAT_S = 5.0


def process(instance: str = "one:8080", *, at_ms: int = 0, ready: bool = True, **more: object) -> ProcessStatus:
    given = {"version": "1", "started_at_ms": 0, "heartbeat_interval_ms": round(BEAT_S * 1000), **more}
    return ProcessStatus(instance=instance, at_ms=at_ms, ready=ready, **given)  # type: ignore[arg-type]


# --- when a heartbeat is due


def test_a_heartbeat_is_due_at_first_and_after_each_interval() -> None:
    one = process()

    assert is_due(None, one, 7.0)
    assert not is_due(Heartbeat(one, 7.0), one, 7.0 + BEAT_S - 0.1)
    assert is_due(Heartbeat(one, 7.0), one, 7.0 + BEAT_S)


@pytest.mark.parametrize(
    "news",
    [
        {"ready": False},
        {"caught_up": True},
        {"url": "http://elsewhere"},
        {"waiting_for": {"store": "it folds"}},
        {"components": {"http": ComponentStatus(ready=False)}},
        {"components": {"http": ComponentStatus(ready=True, restarts=1)}},
        {"components": {"http": ComponentStatus(ready=True), "api-admin": ComponentStatus(ready=True)}},
    ],
)
def test_a_decisive_change_is_due_at_once(news: dict[str, object]) -> None:
    one = process(components={"http": ComponentStatus(ready=True)})

    assert is_due(Heartbeat(one, 7.0), replace(one, **news), 7.0)


def test_numbers_and_wording_wait_for_the_interval() -> None:
    one = process(waiting_for={"store": "it is 31 s behind"}, components={"a": ComponentStatus(ready=True, lag=1)})
    two = replace(
        one,
        at_ms=9,
        memory_bytes=9,
        fold_lag=9,
        loop_delay_ms=9,
        waiting_for={"store": "it is 32 s behind"},
        components={"a": ComponentStatus(ready=True, lag=9, rebalances=2)},
    )

    assert not is_due(Heartbeat(one, 7.0), two, 7.0)


# --- the actor, in virtual time


class Away(MemoryBus):
    """A log that refuses publishes while `away`, and never responds while `mute`."""

    away = False
    mute = False
    asked = 0

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        self.asked += 1
        if self.mute:
            await anyio.sleep_forever()
        if self.away:
            raise Unavailable("no broker answers")
        return await super().publish(records)


class RunningTree:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.bus = Away(topics.ALL, clock=self.clock)
        self.ready = True
        self.stop = anyio.Event()
        self.trees: list[Tree] = []

    def report(self) -> ProcessStatus:
        waiting = {} if self.ready else {"airy/webhooks/publisher": "redis is away"}
        stopping = self.trees[0].snapshot().phase == "draining"
        return process(at_ms=self.clock.now_ms(), ready=self.ready, waiting_for=waiting, stopping=stopping)

    async def records(self) -> list[Record]:
        async with self.bus.tail(await self.bus.beginning_offsets([topics.COMPONENTS])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)

    async def said(self) -> list[tuple[float, bool | None]]:
        """Time and readiness of each heartbeat; None: a tombstone."""
        start_ms = LoopClock().now_ms() - round(anyio.current_time() * 1000)
        values = [(record.timestamp_ms, topics.COMPONENTS.decode(record)) for record in await self.records()]
        return [((at_ms - start_ms) / 1000, value.ready if value else None) for at_ms, value in values]


@asynccontextmanager
async def stage(*extra: Child, drain_s: float = 2.0) -> AsyncIterator[RunningTree]:
    here = RunningTree()
    heartbeat = Child(name="heartbeat", start=lambda: HeartbeatPublisher(here.bus, here.report), drain_s=drain_s)
    bus = Child(name="bus", start=lambda: here.bus)
    tree = Supervision(name="airy", strategy="rest_for_one", children=(bus, heartbeat, *extra))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: run_tree(tree, clock=here.clock, seed=0, stop=here.stop, log=SILENT, on_start=here.trees.append)
        )
        yield here
        here.stop.set()


async def test_a_heartbeat_is_published_every_interval() -> None:
    async with stage() as here:
        await anyio.sleep(6 * BEAT_S - CHECK_S / 2)
        times = [at for at, _ in await here.said()]

    assert len(times) == 6
    assert all(BEAT_S <= later - at <= BEAT_S + CHECK_S for at, later in pairwise(times))


async def test_a_change_and_its_end_are_published_at_once() -> None:
    async with stage() as here:
        await anyio.sleep(BEAT_S + 2)
        for ready in (False, True):
            here.ready = ready
            await anyio.sleep(CHECK_S + 0.1)
            assert (await here.said())[-1][1] is ready
        assert len(await here.said()) == 4


async def test_an_orderly_stop_ends_with_a_tombstone() -> None:
    async with stage() as here:
        await anyio.sleep(BEAT_S)
        here.stop.set()
        await anyio.sleep(0.5)
        assert [ready for _, ready in await here.said()][-1] is None
        assert (await here.records())[-1].key == b"one:8080"


class Broken:
    async def run(self, _ctx: Context) -> None:
        raise ValueError("a bug")


async def test_a_process_whose_tree_fails_leaves_its_last_status() -> None:
    left: list[RunningTree] = []
    with pytest.RaisesGroup(TreeFailed):
        async with stage(Child(name="broken", start=Broken)) as here:
            left.append(here)
            await anyio.sleep(60)

    assert (await left[0].said())[-1][1] is True


async def test_a_killed_process_publishes_no_tombstone() -> None:
    bus = MemoryBus(topics.ALL, clock=LoopClock())
    context = Context("heartbeat", clock=LoopClock(), random=Random(0), log=SILENT)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(HeartbeatPublisher(bus, process).run, context)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    async with bus.tail(await bus.beginning_offsets([topics.COMPONENTS])) as tail:
        records = await tail.fetch(records_max=10, wait_s=0)

    assert [record.value is not None for record in records] == [True]


async def test_an_unavailable_log_delays_heartbeats_only() -> None:
    async with stage() as here:
        here.bus.away = True
        await anyio.sleep(600)
        (tree,) = here.trees
        assert tree.alive
        assert tree.ready, "readiness does not depend on the heartbeat"
        assert 100 < here.bus.asked < 1_000
        here.bus.away = False
        await anyio.sleep(2 * CHECK_S)
        assert len(await here.said()) == 1
        assert sum(child.restarts for child in tree.snapshot().children) == 0


async def test_a_log_that_never_responds_delays_the_stop_by_the_drain_time_only() -> None:
    async with stage(drain_s=2.0) as here:
        here.bus.mute = True
        await anyio.sleep(600)
        (tree,) = here.trees
        assert tree.ready and tree.alive
        began = anyio.current_time()
        here.stop.set()
    assert anyio.current_time() - began < 4


# --- the status of a process


async def test_a_full_process_reports_its_components_and_their_status() -> None:
    async with InProcessAiry().open() as here:
        await here.connect()
        await anyio.sleep(2 * BEAT_S)
        (said,) = [topics.COMPONENTS.decode(record) for record in (await here.records(topics.COMPONENTS))[-1:]]
        assert said is not None

        assert (said.instance, said.url, said.ready, said.waiting_for) == (
            "here:8080",
            "http://127.0.0.1:8080",
            True,
            {},
        )
        assert set(said.components) == here.running | {"airy"}
        assert all(component.ready for component in said.components.values())
        facebook, consumer = said.components["sources-facebook"], said.components["webhook-consumer"]
        assert facebook.lag is not None and facebook.rebalances
        assert (consumer.lag, consumer.rebalances) == (None, None)
        assert said.started_at_ms < said.at_ms
        assert said.caught_up


async def test_the_store_is_a_waiting_reason_while_it_folds() -> None:
    """A process that takes minutes to start is shown as starting."""
    here = InProcessAiry()
    status = TreeStatus(here.services, here.running, {})
    report = StatusReporter(here.services, status, host="h", url=lambda: None)
    whole = build_tree(here.services, here.running, read_status=report)
    names = [child.name for child in whole.children]

    assert names.index("process-status") < names.index("fold-barrier")
    assert "process-status" not in [child.name for child in build_tree(here.services, here.running).children]


class Wordy(TreeStatus):
    reason = ""

    def waiting_for(self) -> dict[str, str]:
        return {f"part {number:02}": self.reason for number in range(100)}


async def test_reasons_are_bounded_and_masked() -> None:
    here = InProcessAiry()
    status = Wordy(here.services, here.running, {})
    status.reason = f"denied to {TOKEN}: {'x' * 10_000}"
    said = StatusReporter(here.services, status, host="h", url=lambda: "http://127.0.0.1:1")()

    assert len(said.waiting_for) == REASONS_MAX
    assert all(len(why) == REASON_CHARS_MAX and f"denied to {MASK}" in why for why in said.waiting_for.values())
    assert TOKEN.encode() not in (topics.COMPONENTS.record("h", said).value or b"")


async def test_a_process_keeps_its_name_when_its_port_changes() -> None:
    here = InProcessAiry()
    where: list[str | None] = ["http://127.0.0.1:1", "http://127.0.0.1:2", None]
    report = StatusReporter(
        here.services, TreeStatus(here.services, here.running, {}), host="h", url=lambda: where.pop(0)
    )

    assert [(said.instance, said.url) for said in (report(), report(), report())] == [
        ("h:1", "http://127.0.0.1:1"),
        ("h:1", "http://127.0.0.1:2"),
        ("h:1", None),
    ]


async def test_a_process_without_an_address_gets_a_unique_name() -> None:
    here = InProcessAiry()
    reports = [
        StatusReporter(here.services, TreeStatus(here.services, here.running, {}), host="h", url=lambda: None)
        for _ in range(2)
    ]

    assert reports[0]().instance == reports[0]().instance != reports[1]().instance


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_heartbeats_break_no_guarantee_in_a_simulation_with_faults(seed: int) -> None:
    """Heartbeats do not affect the rest of a run with a failing log and a killed process."""

    async def run() -> tuple[list[str], str]:
        simulation = Simulation(seed, SimulationSize())
        simulation.publishes_heartbeats = True
        await simulation.run()
        assert (await simulation.bus.end_offsets([topics.COMPONENTS]))[topics.COMPONENTS.topic_partitions[0]] > 0
        return await problems(simulation), await trace(simulation)

    with silent_logs():
        wrong, story = run_seeded(seed, run)
        again = run_seeded(seed, run)

    assert wrong == []
    assert again == (wrong, story), "one seed is one story"

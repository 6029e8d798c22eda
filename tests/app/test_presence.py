"""What a process says of itself in the log: at every beat, at once when it changes, and goodbye."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random

import anyio
import pytest
import structlog
from msgspec.structs import replace

from airy import topics
from airy.actors.runtime import Child, Context, Supervision, Tree, run_tree
from airy.app.plan import plan
from airy.app.presence import LOOK_S, REASON_CHARS_MAX, REASONS_MAX, Announcer, Reporter, Said, due
from airy.app.status import TreeStatus
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position, Record
from airy.clock import LoopClock
from airy.errors import Unavailable
from airy.log import MASK
from airy.model.process import ComponentStatus, ProcessStatus
from tests.kit.composition import TOKEN, Composition
from tests.kit.world import run_seeded
from tests.sim.checkers import problems, trace
from tests.sim.world import DROP, SILENT, Shape, World

BEAT_S = 5.0


def process(instance: str = "one:8080", *, at_ms: int = 0, ready: bool = True, **more: object) -> ProcessStatus:
    given = {"version": "1", "started_at_ms": 0, "beat_ms": round(BEAT_S * 1000), **more}
    return ProcessStatus(instance=instance, at_ms=at_ms, ready=ready, **given)  # type: ignore[arg-type]


# --- what is said, decided


def test_the_first_word_is_due_and_the_next_after_a_beat() -> None:
    one = process()

    assert due(None, one, 7.0)
    assert not due(Said(one, 7.0), one, 7.0 + BEAT_S - 0.1)
    assert due(Said(one, 7.0), one, 7.0 + BEAT_S)


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
def test_what_somebody_would_decide_by_is_due_at_once(news: dict[str, object]) -> None:
    one = process(components={"http": ComponentStatus(ready=True)})

    assert due(Said(one, 7.0), replace(one, **news), 7.0)


def test_numbers_and_the_wording_of_a_reason_wait_for_the_beat() -> None:
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

    assert not due(Said(one, 7.0), two, 7.0)


# --- the actor, in virtual time


class Away(MemoryBus):
    """A log that takes nothing while it is `away`: it says so at once, or never answers."""

    away = False
    mute = False
    asked = 0

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        self.asked += 1
        if self.mute:
            await anyio.sleep_forever()
        if self.away:
            raise Unavailable("no broker answers")
        return await super().publish(emits)


class Stage:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.bus = Away(topics.ALL, clock=self.clock)
        self.ready = True
        self.stop = anyio.Event()
        self.trees: list[Tree] = []

    def report(self) -> ProcessStatus:
        waiting = {} if self.ready else {"airy/webhooks/publisher": "redis is away"}
        return process(at_ms=self.clock.now_ms(), ready=self.ready, waiting_for=waiting)

    async def records(self) -> list[Record]:
        async with self.bus.tail(await self.bus.starts([topics.COMPONENTS])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)

    async def said(self) -> list[tuple[float, bool | None]]:
        """When, and whether it was ready; None is a goodbye."""
        start_ms = LoopClock().now_ms() - round(anyio.current_time() * 1000)
        values = [(record.timestamp_ms, topics.COMPONENTS.decode(record)) for record in await self.records()]
        return [((at_ms - start_ms) / 1000, value.ready if value else None) for at_ms, value in values]


@asynccontextmanager
async def stage(*, drain_s: float = 2.0) -> AsyncIterator[Stage]:
    here = Stage()
    announcer = Child(name="announcer", start=lambda: Announcer(here.bus, here.report), drain_s=drain_s)
    bus = Child(name="bus", start=lambda: here.bus)
    tree = Supervision(name="airy", strategy="rest_for_one", children=(bus, announcer))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: run_tree(tree, clock=here.clock, seed=0, stop=here.stop, log=SILENT, on_start=here.trees.append)
        )
        yield here
        here.stop.set()


async def test_it_beats() -> None:
    async with stage() as here:
        await anyio.sleep(6 * BEAT_S - LOOK_S / 2)
        times = [at for at, _ in await here.said()]

    assert len(times) == 6
    assert all(BEAT_S <= later - at <= BEAT_S + LOOK_S for at, later in pairwise(times))


async def test_a_change_is_said_at_once_and_so_is_its_end() -> None:
    async with stage() as here:
        await anyio.sleep(BEAT_S + 2)
        for ready in (False, True):
            here.ready = ready
            await anyio.sleep(LOOK_S + 0.1)
            assert (await here.said())[-1][1] is ready
        assert len(await here.said()) == 4


async def test_who_stops_in_order_says_goodbye_last() -> None:
    async with stage() as here:
        await anyio.sleep(BEAT_S)
        here.stop.set()
        await anyio.sleep(0.5)
        assert [ready for _, ready in await here.said()][-1] is None
        assert (await here.records())[-1].key == b"one:8080"


async def test_who_is_killed_says_nothing() -> None:
    bus = MemoryBus(topics.ALL, clock=LoopClock())
    context = Context("announcer", clock=LoopClock(), random=Random(0), log=SILENT)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Announcer(bus, process).run, context)
        await anyio.sleep(1)
        tasks.cancel_scope.cancel()
    async with bus.tail(await bus.starts([topics.COMPONENTS])) as tail:
        records = await tail.fetch(records_max=10, wait_s=0)

    assert [record.value is not None for record in records] == [True]


async def test_a_log_that_is_away_is_waited_for_and_ends_nothing() -> None:
    async with stage() as here:
        here.bus.away = True
        await anyio.sleep(600)
        (tree,) = here.trees
        assert tree.alive
        assert tree.ready, "nobody's readiness hangs on it"
        assert 100 < here.bus.asked < 1_000
        here.bus.away = False
        await anyio.sleep(2 * LOOK_S)
        assert len(await here.said()) == 1
        assert sum(child.restarts for child in tree.snapshot().children) == 0


async def test_a_log_that_never_answers_is_no_stall_and_delays_the_end_for_its_drain_only() -> None:
    async with stage(drain_s=2.0) as here:
        here.bus.mute = True
        await anyio.sleep(600)
        (tree,) = here.trees
        assert tree.ready and tree.alive
        began = anyio.current_time()
        here.stop.set()
    assert anyio.current_time() - began < 4


# --- what a process says


async def test_a_whole_process_says_what_runs_in_it_and_how_it_is() -> None:
    async with Composition().open() as here:
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


async def test_the_store_is_missed_aloud_while_it_is_folded() -> None:
    """So that a process which takes minutes to start is seen to start."""
    here = Composition()
    status = TreeStatus(here.parts, here.running, {})
    report = Reporter(here.parts, status, host="h", where=lambda: None)
    whole = plan(here.parts, here.running, report=report)
    names = [child.name for child in whole.children]

    assert names.index("presence") < names.index("folded")
    assert "presence" not in [child.name for child in plan(here.parts, here.running).children]


class Wordy(TreeStatus):
    reason = ""

    def waiting_for(self) -> dict[str, str]:
        return {f"part {number:02}": self.reason for number in range(100)}


async def test_reasons_are_bounded_and_hold_no_secret_we_know() -> None:
    here = Composition()
    status = Wordy(here.parts, here.running, {})
    status.reason = f"denied to {TOKEN}: {'x' * 10_000}"
    said = Reporter(here.parts, status, host="h", where=lambda: "http://127.0.0.1:1")()

    assert len(said.waiting_for) == REASONS_MAX
    assert all(len(why) == REASON_CHARS_MAX and f"denied to {MASK}" in why for why in said.waiting_for.values())
    assert TOKEN.encode() not in (topics.COMPONENTS.emit("h", said).value or b"")


async def test_a_process_keeps_its_name_when_its_server_comes_back_elsewhere() -> None:
    here = Composition()
    where: list[str | None] = ["http://127.0.0.1:1", "http://127.0.0.1:2", None]
    report = Reporter(here.parts, TreeStatus(here.parts, here.running, {}), host="h", where=lambda: where.pop(0))

    assert [(said.instance, said.url) for said in (report(), report(), report())] == [
        ("h:1", "http://127.0.0.1:1"),
        ("h:1", "http://127.0.0.1:2"),
        ("h:1", None),
    ]


async def test_a_process_without_an_address_has_a_name_of_its_own() -> None:
    here = Composition()
    reports = [
        Reporter(here.parts, TreeStatus(here.parts, here.running, {}), host="h", where=lambda: None) for _ in range(2)
    ]

    assert reports[0]().instance == reports[0]().instance != reports[1]().instance


@pytest.mark.parametrize("seed", range(4))
def test_beats_break_no_promise_and_no_story_where_everything_goes_wrong(seed: int) -> None:
    """A log that fails, repeats and crashes, a process that is killed: what is said of it changes nothing else."""
    structlog.configure(processors=[DROP])

    async def live() -> tuple[list[str], str]:
        world = World(seed, Shape())
        world.announced = True
        await world.live()
        assert (await world.bus.ends([topics.COMPONENTS]))[topics.COMPONENTS.where[0]] > 0
        return await problems(world), await trace(world)

    wrong, story = run_seeded(seed, live)

    assert wrong == []
    assert run_seeded(seed, live) == (wrong, story), "one seed is one story"

"""Who is there, who is silent, who is struck off: decided by what was heard and when; and the actor that listens."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.runtime import Context
from airy.app.roll import FORGET_S, SHOWN_MAX, SWEEP_S, Heard, Roll, fleet, forgotten, heard, silent
from airy.app.status import TreeStatus
from airy.bus.api import Tail
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position, TopicPartition
from airy.clock import LoopClock
from airy.config import BusConfig
from airy.errors import Unavailable
from airy.http.ports import Share
from airy.model.process import SHARED, ComponentStatus, ProcessStatus
from tests.kit.composition import Composition
from tests.sim.world import SILENT

BEAT_S = 5.0
SILENT_S = 3 * BEAT_S


def process(instance: str = "one:1", *components: str, sick: tuple[str, ...] = (), at_ms: int = 0) -> ProcessStatus:
    return ProcessStatus(
        instance=instance,
        version="1",
        started_at_ms=0,
        at_ms=at_ms,
        beat_ms=round(BEAT_S * 1000),
        ready=not sick,
        components={name: ComponentStatus(ready=name not in sick) for name in (*components, SHARED)},
    )


# --- decided


def test_three_beats_of_its_own_are_silence() -> None:
    quick = replace(process(), beat_ms=200)

    assert not silent(Heard(process(), 100.0), 100.0 + SILENT_S - 0.1)
    assert silent(Heard(process(), 100.0), 100.0 + SILENT_S)
    assert silent(Heard(quick, 100.0), 100.7)
    assert not silent(Heard(quick, 100.0), 100.5)


def test_what_was_there_before_we_listened_is_as_old_as_it_says_and_never_from_the_future() -> None:
    said = process(at_ms=50_000)

    assert heard(said, now=100.0, now_ms=60_000, live=False).at == 90.0
    assert heard(said, now=100.0, now_ms=40_000, live=False).at == 100.0
    assert heard(said, now=100.0, now_ms=999_000, live=True).at == 100.0, "a clock elsewhere may be wrong"


def test_a_component_counts_where_it_is_ready_in_a_process_that_speaks() -> None:
    everybody = [
        Heard(process("a:1", "api-admin"), 100.0),
        Heard(process("b:1", "webhook-consumer"), 100.0 - SILENT_S),
        Heard(process("c:1", "webhook-consumer", "api-admin", sick=("webhook-consumer",)), 100.0),
        Heard(process("d:1", "api-admin", sick=(SHARED,)), 100.0),
    ]
    found = fleet(everybody, 100.0, ["sources-facebook"])

    assert found.components == {
        "api-admin": Share(3, 2),
        "sources-facebook": Share(0, 0),
        "webhook-consumer": Share(2, 0),
    }
    assert [(each.status.instance, each.age_s, each.silent) for each in found.processes] == [
        ("a:1", 0.0, False),
        ("b:1", SILENT_S, True),
        ("c:1", 0.0, False),
        ("d:1", 0.0, False),
    ]


def test_what_is_shown_is_bounded_and_everybody_counts() -> None:
    found = fleet([Heard(process(f"p:{n}", "http"), 0.0) for n in range(SHOWN_MAX + 5)], 0.0, [])

    assert (len(found.processes), found.components["http"]) == (SHOWN_MAX, Share(SHOWN_MAX + 5, SHOWN_MAX + 5))


def test_who_is_silent_for_long_is_struck_off_unless_it_is_us_who_hear_nobody() -> None:
    gone, quiet, well = (
        Heard(process(name), at) for name, at in (("gone:1", 0.0), ("quiet:1", 1.0), ("well:1", FORGET_S))
    )

    assert forgotten([gone, quiet, well], FORGET_S) == ["gone:1"]
    assert forgotten([gone, quiet], FORGET_S) == []
    assert forgotten([], FORGET_S) == []


# --- the actor, in virtual time


class Away(MemoryBus):
    """A log that answers nobody while it is `away`."""

    away = False

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        if self.away:
            raise Unavailable("no broker answers")
        return await super().publish(emits)

    def tail(self, start: Mapping[TopicPartition, int]) -> AbstractAsyncContextManager[Tail]:
        if self.away:
            raise Unavailable("no broker answers")
        return super().tail(start)


class Stage:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.bus = Away(topics.ALL, clock=self.clock)
        self.roll = Roll(self.bus, self.clock)
        self.ctx = Context("roll", clock=self.clock, random=Random(0), log=SILENT)

    async def says(self, instance: str, *components: str) -> None:
        await self.bus.publish(
            [topics.COMPONENTS.emit(instance, process(instance, *components, at_ms=self.clock.now_ms()))]
        )

    def there(self) -> dict[str, bool]:
        """By name, whether it is silent."""
        return {each.status.instance: each.silent for each in self.roll.fleet([]).processes}


@asynccontextmanager
async def listening(here: Stage | None = None) -> AsyncIterator[Stage]:
    here = here or Stage()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.roll.run, here.ctx)
        await anyio.sleep(0.1)
        yield here
        here.ctx.draining.set()


async def test_a_process_is_there_until_it_is_silent_and_again_when_it_speaks() -> None:
    async with listening() as here:
        await here.says("one:1", "http")
        await anyio.sleep(SILENT_S - 0.1)
        assert here.there() == {"one:1": False}
        await anyio.sleep(0.2)
        assert here.there() == {"one:1": True}
        await here.says("one:1", "http")
        await anyio.sleep(0.1)
        assert here.there() == {"one:1": False}


async def test_who_left_in_order_is_gone_at_once() -> None:
    async with listening() as here:
        await here.says("one:1", "http")
        await here.bus.publish([topics.COMPONENTS.emit("one:1", None)])
        await anyio.sleep(0.1)
        assert here.there() == {}


async def test_one_that_starts_to_listen_knows_who_was_silent_before() -> None:
    here = Stage()
    await here.says("dead:1", "http")
    await anyio.sleep(SILENT_S)
    await here.says("well:1", "http")
    async with listening(here):
        assert here.there() == {"dead:1": True, "well:1": False}


async def test_the_dead_are_struck_off_in_the_log_for_everybody() -> None:
    async with listening() as here:
        await here.says("dead:1", "http")
        for _ in range(round((FORGET_S + 2 * SWEEP_S) / BEAT_S)):
            await here.says("well:1", "http")
            await anyio.sleep(BEAT_S)
        assert here.there() == {"well:1": False}
        other = Roll(here.bus, here.clock)
        context = Context("roll", clock=here.clock, random=Random(0), log=SILENT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.run, context)
            await anyio.sleep(0.1)
            assert [each.status.instance for each in other.fleet([]).processes] == ["well:1"]
            context.draining.set()


async def test_a_log_that_is_away_ends_nothing_and_what_is_known_gets_old() -> None:
    here = Stage()
    here.bus.away = True
    async with listening(here):
        await anyio.sleep(10)
        here.bus.away = False
        await here.says("one:1", "http")
        await anyio.sleep(2)
        assert here.there() == {"one:1": False}
        here.bus.away = True
        await anyio.sleep(2 * FORGET_S)
        assert here.there() == {"one:1": True}, "nobody is struck off by who is deaf"


async def test_a_record_nobody_can_read_hides_no_other() -> None:
    async with listening() as here:
        await here.says("one:1", "http")
        await here.bus.publish([Emit(topics.COMPONENTS.name, 0, b"two:1", b"{")])
        await here.says("three:1", "http")
        await anyio.sleep(0.1)
        assert set(here.there()) == {"one:1", "three:1"}


# --- what is told about the installation


async def test_a_component_that_runs_elsewhere_is_healthy_while_a_process_there_says_so() -> None:
    api = frozenset({"http", "api-communication", "api-admin"})
    async with Composition(running=api).open() as here:
        here.parts.config = replace(here.parts.config, bus=BusConfig(kind="kafka"))  # the log is shared, then
        assert not here.status.services()["webhook-consumer"]["healthy"]
        assert here.status.services()["webhook-consumer"]["enabled"]
        assert here.status.services()["api-admin"]["healthy"]

        away = process("two:1", "webhook-consumer", at_ms=here.clock.now_ms())
        await here.bus.publish([topics.COMPONENTS.emit("two:1", away)])
        await here.until(lambda: here.status.services()["webhook-consumer"]["healthy"], within_s=1)
        shown = await here.asked("/processes.list")
        assert {each["instance"]: each["silent"] for each in shown["data"]} == {"here:8080": False, "two:1": False}

        await anyio.sleep(SILENT_S)
        assert not here.status.services()["webhook-consumer"]["healthy"]
        shown = await here.asked("/processes.list")
        assert {each["instance"]: each["silent"] for each in shown["data"]} == {"here:8080": False, "two:1": True}
        assert shown["components"]["webhook-consumer"] == {"processes": 1, "ready": 0}
        assert shown["components"]["api-admin"] == {"processes": 1, "ready": 1}
        counters = here.status.counters()
        assert (counters["processes"], counters["processes_silent"]) == (2, 1)


async def test_in_one_process_it_is_the_same_with_one_row() -> None:
    async with Composition().open() as here:
        await anyio.sleep(1)
        shown = await here.asked("/processes.list")
        services = (await here.asked("/client.config"))["services"]

    assert [each["ready"] for each in shown["data"]] == [True]
    assert all(share == {"processes": 1, "ready": 1} for share in shown["components"].values())
    assert set(shown["components"]) == here.running
    assert all(service["healthy"] for service in services.values())


async def test_a_process_without_the_api_counts_nobody() -> None:
    here = Composition(running=frozenset({"http", "webhook-consumer"}))
    status = TreeStatus(here.parts, here.running, {})

    assert "processes" not in status.counters()
    assert (await here.post("/processes.list", {})).status == 404


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_only_who_may_see_metrics_may_see_processes(token: str | None) -> None:
    async with Composition().open() as here:
        answer = await here.post("/processes.list", {}, authorization=f"Bearer {token}" if token else "")

    assert answer.status == 403

"""The process registry: staleness, expiry, counts; and the actor that reads the heartbeats."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.process_registry import (
    EXPIRE_S,
    SHOWN_MAX,
    SWEEP_S,
    LastSeen,
    ProcessRegistry,
    expired,
    fleet_status,
    is_stale,
    last_seen,
)
from airy.actors.runtime import Context
from airy.app.tree_status import TreeStatus
from airy.bus.api import Tail
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.clock import LoopClock
from airy.config import BusConfig
from airy.errors import Unavailable
from airy.model.fleet import ComponentCount
from airy.model.process_status import SHARED, ComponentStatus, ProcessStatus
from tests.kit.in_process import InProcessAiry
from tests.sim.simulation import SILENT

BEAT_S = 5.0
STALE_S = 3 * BEAT_S


def process(instance: str = "one:1", *components: str, sick: tuple[str, ...] = (), at_ms: int = 0) -> ProcessStatus:
    return ProcessStatus(
        instance=instance,
        version="1",
        started_at_ms=0,
        at_ms=at_ms,
        heartbeat_interval_ms=round(BEAT_S * 1000),
        ready=not sick,
        components={name: ComponentStatus(ready=name not in sick) for name in (*components, SHARED)},
    )


# --- decisions


def test_a_process_is_stale_after_three_of_its_intervals() -> None:
    quick = replace(process(), heartbeat_interval_ms=200)

    assert not is_stale(LastSeen(process(), 100.0), 100.0 + STALE_S - 0.1)
    assert is_stale(LastSeen(process(), 100.0), 100.0 + STALE_S)
    assert is_stale(LastSeen(quick, 100.0), 100.7)
    assert not is_stale(LastSeen(quick, 100.0), 100.5)


def test_an_earlier_heartbeat_is_aged_by_its_timestamp_and_never_negative() -> None:
    said = process(at_ms=50_000)

    assert last_seen(said, now=100.0, now_ms=60_000, live=False).at == 90.0
    assert last_seen(said, now=100.0, now_ms=40_000, live=False).at == 100.0
    assert last_seen(said, now=100.0, now_ms=999_000, live=True).at == 100.0, "a clock elsewhere may be wrong"


def test_a_component_counts_as_ready_only_in_live_processes() -> None:
    processes = [
        LastSeen(process("a:1", "api-admin"), 100.0),
        LastSeen(process("b:1", "webhook-consumer"), 100.0 - STALE_S),
        LastSeen(process("c:1", "webhook-consumer", "api-admin", sick=("webhook-consumer",)), 100.0),
        LastSeen(process("d:1", "api-admin", sick=(SHARED,)), 100.0),
    ]
    found = fleet_status(processes, 100.0, ["sources-facebook"])

    assert found.components == {
        "api-admin": ComponentCount(3, 2),
        "sources-facebook": ComponentCount(0, 0),
        "webhook-consumer": ComponentCount(2, 0),
    }
    assert [(each.status.instance, each.age_s, each.stale) for each in found.processes] == [
        ("a:1", 0.0, False),
        ("b:1", STALE_S, True),
        ("c:1", 0.0, False),
        ("d:1", 0.0, False),
    ]


def test_the_list_is_bounded_and_the_counts_are_complete() -> None:
    found = fleet_status([LastSeen(process(f"p:{n}", "http"), 0.0) for n in range(SHOWN_MAX + 5)], 0.0, [])

    assert (len(found.processes), found.components["http"]) == (SHOWN_MAX, ComponentCount(SHOWN_MAX + 5, SHOWN_MAX + 5))


def test_a_process_stale_for_long_expires_unless_all_are_stale() -> None:
    gone, quiet, well = (
        LastSeen(process(name), at) for name, at in (("gone:1", 0.0), ("quiet:1", 1.0), ("well:1", EXPIRE_S))
    )

    assert expired([gone, quiet, well], EXPIRE_S) == ["gone:1"]
    assert expired([gone, quiet], EXPIRE_S) == []
    assert expired([], EXPIRE_S) == []


# --- the actor, in virtual time


class Away(MemoryBus):
    """A log that fails all calls while `away`."""

    away = False

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        if self.away:
            raise Unavailable("no broker answers")
        return await super().publish(records)

    def tail(self, start: Mapping[TopicPartition, int]) -> AbstractAsyncContextManager[Tail]:
        if self.away:
            raise Unavailable("no broker answers")
        return super().tail(start)


class RunningTree:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.bus = Away(topics.ALL, clock=self.clock)
        self.registry = ProcessRegistry(self.bus, self.clock)
        self.ctx = Context("process-registry", clock=self.clock, random=Random(0), log=SILENT)

    async def says(self, instance: str, *components: str) -> None:
        await self.bus.publish(
            [topics.COMPONENTS.record(instance, process(instance, *components, at_ms=self.clock.now_ms()))]
        )

    def there(self) -> dict[str, bool]:
        """Staleness by name."""
        return {each.status.instance: each.stale for each in self.registry.fleet([]).processes}


@asynccontextmanager
async def listening(here: RunningTree | None = None) -> AsyncIterator[RunningTree]:
    here = here or RunningTree()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.registry.run, here.ctx)
        await anyio.sleep(0.1)
        yield here
        here.ctx.draining.set()


async def test_a_process_turns_stale_and_recovers_with_its_next_heartbeat() -> None:
    async with listening() as here:
        await here.says("one:1", "http")
        await anyio.sleep(STALE_S - 0.1)
        assert here.there() == {"one:1": False}
        await anyio.sleep(0.2)
        assert here.there() == {"one:1": True}
        await here.says("one:1", "http")
        await anyio.sleep(0.1)
        assert here.there() == {"one:1": False}


async def test_a_tombstone_removes_a_process_at_once() -> None:
    async with listening() as here:
        await here.says("one:1", "http")
        await here.bus.publish([topics.COMPONENTS.record("one:1", None)])
        await anyio.sleep(0.1)
        assert here.there() == {}


async def test_a_new_registry_knows_earlier_stale_processes() -> None:
    here = RunningTree()
    await here.says("dead:1", "http")
    await anyio.sleep(STALE_S)
    await here.says("well:1", "http")
    async with listening(here):
        assert here.there() == {"dead:1": True, "well:1": False}


async def test_expired_processes_are_removed_from_the_log() -> None:
    async with listening() as here:
        await here.says("dead:1", "http")
        for _ in range(round((EXPIRE_S + 2 * SWEEP_S) / BEAT_S)):
            await here.says("well:1", "http")
            await anyio.sleep(BEAT_S)
        assert here.there() == {"well:1": False}
        other = ProcessRegistry(here.bus, here.clock)
        context = Context("process-registry", clock=here.clock, random=Random(0), log=SILENT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.run, context)
            await anyio.sleep(0.1)
            assert [each.status.instance for each in other.fleet([]).processes] == ["well:1"]
            context.draining.set()


async def test_an_unavailable_log_lets_known_processes_age() -> None:
    here = RunningTree()
    here.bus.away = True
    async with listening(here):
        await anyio.sleep(10)
        here.bus.away = False
        await here.says("one:1", "http")
        await anyio.sleep(2)
        assert here.there() == {"one:1": False}
        here.bus.away = True
        await anyio.sleep(2 * EXPIRE_S)
        assert here.there() == {"one:1": True}, "a registry that receives nothing removes nothing"


async def test_an_undecodable_heartbeat_does_not_hide_others() -> None:
    async with listening() as here:
        await here.says("one:1", "http")
        await here.bus.publish([ProducerRecord(topics.COMPONENTS.name, 0, b"two:1", b"{")])
        await here.says("three:1", "http")
        await anyio.sleep(0.1)
        assert set(here.there()) == {"one:1", "three:1"}


# --- the status of the installation


async def test_a_component_of_another_process_is_healthy_by_its_heartbeat() -> None:
    api = frozenset({"http", "api-communication", "api-admin"})
    async with InProcessAiry(running=api).open() as here:
        here.services.config = replace(here.services.config, bus=BusConfig(kind="kafka"))  # a shared log
        assert not here.status.services()["webhook-consumer"]["healthy"]
        assert here.status.services()["webhook-consumer"]["enabled"]
        assert here.status.services()["api-admin"]["healthy"]

        away = process("two:1", "webhook-consumer", at_ms=here.clock.now_ms())
        await here.bus.publish([topics.COMPONENTS.record("two:1", away)])
        await here.until(lambda: here.status.services()["webhook-consumer"]["healthy"], within_s=1)
        shown = await here.asked("/processes.list")
        assert {each["instance"]: each["stale"] for each in shown["data"]} == {"here:8080": False, "two:1": False}

        await anyio.sleep(STALE_S)
        assert not here.status.services()["webhook-consumer"]["healthy"]
        shown = await here.asked("/processes.list")
        assert {each["instance"]: each["stale"] for each in shown["data"]} == {"here:8080": False, "two:1": True}
        assert shown["components"]["webhook-consumer"] == {"processes": 1, "ready": 0}
        assert shown["components"]["api-admin"] == {"processes": 1, "ready": 1}
        counters = here.status.counters()
        assert (counters["processes"], counters["processes_stale"]) == (2, 1)


async def test_a_single_process_lists_itself() -> None:
    async with InProcessAiry().open() as here:
        await anyio.sleep(1)
        shown = await here.asked("/processes.list")
        services = (await here.asked("/client.config"))["services"]

    assert [each["ready"] for each in shown["data"]] == [True]
    assert all(share == {"processes": 1, "ready": 1} for share in shown["components"].values())
    assert set(shown["components"]) == here.running
    assert all(service["healthy"] for service in services.values() if service["enabled"])


async def test_a_process_without_the_api_exports_no_process_counts() -> None:
    here = InProcessAiry(running=frozenset({"http", "webhook-consumer"}))
    status = TreeStatus(here.services, here.running, {})

    assert "processes" not in status.counters()
    assert (await here.post("/processes.list", {})).status == 404


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_listing_processes_needs_the_permission_of_metrics(token: str | None) -> None:
    async with InProcessAiry().open() as here:
        answer = await here.post("/processes.list", {}, authorization=f"Bearer {token}" if token else "")

    assert answer.status == 403

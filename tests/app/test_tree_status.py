"""Probes, `client.config` and metrics of a running tree."""

from contextlib import suppress
from random import Random

import anyio
import pytest
import structlog
from msgspec.structs import replace

from airy import topics
from airy.actors.lag_monitor import REFRESH_S
from airy.actors.runtime import Child, Context, Supervision, run_tree
from airy.app.metrics_source import OUTCOMES, QUEUE_S, MetricsSource
from airy.app.services import Ports, Services, build_services
from airy.app.tree import build_tree
from airy.app.tree_status import FOLD_AGE_MAX_S, TreeStatus
from airy.bus.append_health import FAILING_S_MIN
from airy.bus.memory import Faults, MemoryBus
from airy.clock import LoopClock, RandomIds
from airy.config import Config, enabled_components
from airy.errors import Unavailable
from airy.http.metrics import LabelledValues
from airy.queue.api import QueueStats
from airy.queue.sqlite import SqliteQueue
from airy.seal import Sealer
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage
from tests.sim.endpoint import SimulatedEndpoint

RUNNING = frozenset({"http", "api-communication", "api-admin", "sources-facebook", "webhook-publisher"})


async def services_over_fakes() -> Services:
    clock, store, queue = LoopClock(), SqliteStore(":memory:"), SqliteQueue(":memory:")
    await store.open()
    await queue.open()
    traffic = SimulatedEndpoint(Random(0))
    return build_services(
        Config(),
        Ports(
            clock=clock,
            ids=RandomIds(Random(0)),
            bus=MemoryBus(topics.ALL, clock=clock),
            store=store,
            queue=queue,
            sealer=Sealer({"k": bytes(32)}),
            media=MemoryStorage(),
            provider_http=traffic,
            provider_files=WholeBodies(traffic),
            attachment_files=WholeBodies(traffic),
            webhook_http=traffic,
        ),
    )


class Sick:
    async def run(self, _ctx: Context) -> None:
        raise Unavailable("the dependency is away")


class Idle:
    async def run(self, ctx: Context) -> None:
        ctx.ready()
        with ctx.waiting():
            await ctx.draining.wait()


async def run_for(tree: Supervision, status: TreeStatus, seconds: float) -> anyio.Event:
    stop = anyio.Event()
    log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_tree(tree, clock=LoopClock(), seed=0, stop=stop, log=log, on_start=status.started))
        await anyio.sleep(seconds)
        status.seen = (dict(status.waiting_for()), dict(status.services()), status.alive())  # type: ignore[attr-defined]
        stop.set()
    return stop


async def test_before_the_tree_runs_the_process_is_starting_and_alive() -> None:
    status = TreeStatus(await services_over_fakes(), RUNNING, {})

    assert status.alive()
    assert status.waiting_for() == {"airy": "it is starting"}


async def test_a_log_that_cannot_be_written_makes_the_process_not_ready_until_an_append_works() -> None:
    services = await services_over_fakes()
    faults = Faults()
    faults.script("publish", "unavailable", after=1)
    services.ports.bus = MemoryBus(topics.ALL, clock=LoopClock(), faults=faults)
    status = TreeStatus(services, RUNNING, {})
    seen: list[set[str]] = []
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tree = Supervision(name="airy", children=(Child(name="bus", start=Idle),))
        tasks.start_soon(lambda: run_tree(tree, clock=LoopClock(), seed=0, stop=stop, on_start=status.started))
        for _ in range(3):
            with suppress(Unavailable):
                await services.ports.bus.publish([topics.TAGS.record("t", None)])
            await anyio.sleep(FAILING_S_MIN)
            seen.append(set(status.waiting_for()) - {"store"})
        stop.set()

    assert seen == [set(), {"log"}, set()]


async def test_a_healthy_tree_waits_for_nothing_and_its_services_are_healthy() -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})
    await run_for(build_tree(services, RUNNING), status, 5.0)
    waiting, services, alive = status.seen  # type: ignore[attr-defined]

    assert waiting == {}
    assert alive
    assert services["webhook-publisher"] == {"enabled": True, "healthy": True, "component": "integration-webhook"}
    assert services["webhook-consumer"]["enabled"] is False


@pytest.mark.parametrize("name", ["sources-facebook", "connector"])
async def test_an_unavailable_dependency_makes_only_its_component_unhealthy(name: str) -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})
    whole = build_tree(services, RUNNING)
    sick = Supervision(name="sources", children=(Child(name=name, start=Sick),))
    children = tuple(sick if child.name == "sources" else child for child in whole.children)
    guarded = tuple(child for child in children if not child.name.startswith("webhook-"))
    await run_for(Supervision(name="airy", strategy="one_for_one", children=guarded), status, 5.0)
    waiting, services, _ = status.seen  # type: ignore[attr-defined]

    assert any("the dependency is away" in reason for reason in waiting.values())
    assert not services["sources-facebook-connector"]["healthy"]
    assert services["api-communication"]["healthy"]


class Held:
    """A projector that never folds."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def run(self, ctx: Context) -> None:
        self.services.projector._next = await self.services.ports.bus.beginning_offsets(topics.FOLDED)
        ctx.ready()
        with ctx.waiting():
            await ctx.draining.wait()


def replaced(whole: Supervision, name: str, child: Child) -> Supervision:
    children = tuple(child if each.name == name else each for each in whole.children)
    return Supervision(name=whole.name, strategy=whole.strategy, children=children)


async def test_a_store_that_lags_too_far_is_not_ready() -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})
    held = Child(name="store", start=lambda: Held(services), drain_s=0.0)
    tree = replaced(build_tree(services, RUNNING), "store", held)
    seen: dict[float, dict[str, str]] = {}

    async def look() -> None:
        await services.ports.bus.publish([topics.TAGS.record("a", None)])
        for at_s in (FOLD_AGE_MAX_S - 5, FOLD_AGE_MAX_S + REFRESH_S + 5):
            await anyio.sleep(at_s - anyio.current_time())
            seen[at_s] = dict(status.waiting_for())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await run_for(tree, status, FOLD_AGE_MAX_S + REFRESH_S + 10)

    before, after = seen.values()
    assert before == {}
    assert "behind the log" in after["store"]


async def test_a_stopping_process_is_alive_and_not_ready() -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})
    seen: list[object] = []

    class Slow:
        async def run(self, ctx: Context) -> None:
            ctx.ready()
            with ctx.waiting():
                await ctx.draining.wait()
                seen.append((dict(status.waiting_for()), status.alive()))

    await run_for(
        replaced(build_tree(services, RUNNING), "lag-monitor", Child(name="lag-monitor", start=Slow)), status, 5.0
    )

    assert seen == [({"airy": "it is stopping"}, True)]


async def test_an_unavailable_log_makes_a_process_unready_but_alive() -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})
    await run_for(replaced(build_tree(services, RUNNING), "bus", Child(name="bus", start=Sick)), status, 300.0)
    waiting, _, alive = status.seen  # type: ignore[attr-defined]

    assert "the dependency is away" in waiting["airy/bus"]
    assert alive
    assert not any(service["healthy"] for service in status.seen[1].values())  # type: ignore[attr-defined]


async def test_a_stalled_actor_is_restarted_without_a_new_process() -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})

    class Stuck:
        async def run(self, ctx: Context) -> None:
            ctx.ready()
            await anyio.sleep_forever()

    stuck = Child(name="lag-monitor", start=Stuck, stall_s=3.0)
    await run_for(replaced(build_tree(services, RUNNING), "lag-monitor", stuck), status, 10.0)
    restarts = status.counters()["restarts_total"]

    assert isinstance(restarts, LabelledValues)
    assert restarts.values["airy", "lag-monitor"] >= 1
    assert status.seen[2]  # type: ignore[attr-defined]


def test_a_process_is_named_after_its_components() -> None:
    names = {}
    for chosen in ({"http", "webhook-consumer"}, {"http"}, {"http", "api-admin", "api-communication"}):
        names[TreeStatus(_no_parts(), frozenset(chosen), {}).name] = chosen
    everything = enabled_components(Config())

    assert set(names) == {"webhook-consumer", "http", "api-admin+api-communication"}
    assert TreeStatus(_no_parts(), everything, {}).name == "all"


def _no_parts() -> Services:
    clock, fetch = LoopClock(), SimulatedEndpoint(Random(0))
    return build_services(
        Config(),
        Ports(
            clock=clock,
            ids=RandomIds(Random(0)),
            bus=MemoryBus(topics.ALL, clock=clock),
            store=SqliteStore(":memory:"),
            queue=SqliteQueue(":memory:"),
            sealer=Sealer({"k": bytes(32)}),
            media=MemoryStorage(),
            provider_http=fetch,
            provider_files=WholeBodies(fetch),
            attachment_files=WholeBodies(fetch),
            webhook_http=fetch,
        ),
    )


async def test_a_held_partition_makes_the_process_unready_and_is_counted() -> None:
    services = await services_over_fakes()
    status = TreeStatus(services, RUNNING, {})
    chat = Chat()
    record = topics.EVENTS.record(chat.conversation_id, chat.received("a"))
    await services.ports.bus.publish([replace(record, headers=(("kind", b"message.pinned"), ("v", b"2")))])
    await run_for(build_tree(services, RUNNING), status, 30.0)

    waiting, _, alive = status.seen  # type: ignore[attr-defined]
    assert alive
    assert waiting.keys() == {"store"}
    assert waiting["store"].endswith('record kind "message.pinned" version 2 is newer than this process; upgrade it')
    held = (await MetricsSource(services).read())["partitions_held"]
    assert isinstance(held, LabelledValues)
    assert {topic: count for (topic,), count in held.values.items() if count} == {topics.EVENTS.name: 1}


class Away(SqliteQueue):
    """A queue that responds once, and then never again."""

    asked = 0

    async def stats(self) -> QueueStats:
        self.asked += 1
        if self.asked == 1:
            return QueueStats(waiting=7, leased=1, oldest_at_ms=None)
        if self.asked == 2:
            raise Unavailable("redis is away")
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_scrape_without_the_queue_returns_the_last_known_numbers() -> None:
    services = await services_over_fakes()
    services.ports.queue = Away(":memory:")
    samples, shown = MetricsSource(services), []
    for _ in range(3):
        before = anyio.current_time()
        values = await samples.read()
        assert anyio.current_time() - before <= QUEUE_S
        shown.append((values["webhook_queue_up"], values["webhooks_waiting"], values["webhooks_leased"]))

    assert shown == [(1.0, 7.0, 1.0), (0.0, 7.0, 1.0), (0.0, 7.0, 1.0)]


async def test_metrics_have_the_counts_of_store_queue_and_actors() -> None:
    services = await services_over_fakes()
    services.counters.provider_webhooks["routed"] += 3
    values = await MetricsSource(services).read()

    assert values["conversations"] == 0.0
    assert values["webhooks_waiting"] == 0.0
    assert values["provider_webhooks_total"] == dict.fromkeys(OUTCOMES, 0.0) | {"routed": 3.0}


async def test_a_process_of_the_chat_plugin_alone_has_a_broadcaster_and_no_router() -> None:
    services = await services_over_fakes()

    def supervisors(*running: str) -> dict[str, list[str]]:
        children = build_tree(services, {"http", *running}).children
        return {
            each.name: [child.name for child in each.children] for each in children if isinstance(each, Supervision)
        }

    alone = supervisors("sources-chatplugin")
    assert alone["sources"] == ["connector"]
    assert alone["sources-chatplugin"] == ["broadcaster"]
    both = supervisors("api-websocket", "sources-chatplugin")
    assert [name for name, children in both.items() if "broadcaster" in children] == ["api-websocket"]

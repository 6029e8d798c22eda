"""What probes and `client.config` say, read off the running tree."""

from random import Random

import anyio
import structlog

from airy import components, topics
from airy.actors.runtime import Child, Context, Supervision, run_tree
from airy.actors.webhooks.queue import QueueStats
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.app.parts import Parts, assemble
from airy.app.plan import plan
from airy.app.samples import FATES, QUEUE_S, Samples
from airy.app.status import FOLD_AGE_MAX_S, TreeStatus
from airy.app.watch import REFRESH_S
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock, RandomIds
from airy.config import Config
from airy.errors import Unavailable
from airy.http.metrics import Labelled
from airy.seal import Sealer
from airy.store.sqlite import SqliteStore
from tests.sim.endpoint import Endpoint

RUNNING = frozenset({"http", "api-communication", "api-admin", "sources-facebook", "webhook-publisher"})


async def parts() -> Parts:
    clock, store, queue = LoopClock(), SqliteStore(":memory:"), SqliteQueue(":memory:")
    await store.open()
    await queue.open()
    outside = Endpoint(Random(0))
    return assemble(
        Config(),
        clock=clock,
        ids=RandomIds(Random(0)),
        bus=MemoryBus(topics.ALL, clock=clock),
        store=store,
        queue=queue,
        sealer=Sealer({"k": bytes(32)}),
        provider_fetch=outside,
        webhook_fetch=outside,
    )


class Sick:
    async def run(self, _ctx: Context) -> None:
        raise Unavailable("the dependency is away")


async def run_for(tree: Supervision, status: TreeStatus, seconds: float) -> anyio.Event:
    stop = anyio.Event()
    log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_tree(tree, clock=LoopClock(), seed=0, stop=stop, log=log, on_start=status.started))
        await anyio.sleep(seconds)
        status.seen = (dict(status.waiting_for()), dict(status.services()), status.alive())  # type: ignore[attr-defined]
        stop.set()
    return stop


async def test_before_the_tree_runs_it_is_starting_and_alive() -> None:
    status = TreeStatus(await parts(), RUNNING, {})

    assert status.alive()
    assert status.waiting_for() == {"airy": "it is starting"}


async def test_a_tree_that_is_well_waits_for_nothing_and_its_services_are_healthy() -> None:
    house = await parts()
    status = TreeStatus(house, RUNNING, {})
    await run_for(plan(house, RUNNING), status, 5.0)
    waiting, services, alive = status.seen  # type: ignore[attr-defined]

    assert waiting == {}
    assert alive
    assert services["webhook-publisher"] == {"enabled": True, "healthy": True, "component": "integration-webhook"}
    assert services["webhook-consumer"]["enabled"] is False


async def test_a_dependency_that_is_away_is_named_and_only_its_component_is_unhealthy() -> None:
    house = await parts()
    status = TreeStatus(house, RUNNING, {})
    whole = plan(house, RUNNING)
    sick = Supervision(name="sources-facebook", children=(Child(name="router", start=Sick),))
    children = tuple(sick if child.name == "sources-facebook" else child for child in whole.children)
    guarded = tuple(child for child in children if child.name != "webhooks")
    await run_for(Supervision(name="airy", strategy="one_for_one", children=guarded), status, 5.0)
    waiting, services, _ = status.seen  # type: ignore[attr-defined]

    assert any("the dependency is away" in reason for reason in waiting.values())
    assert not services["sources-facebook-connector"]["healthy"]
    assert services["api-communication"]["healthy"]


class Held:
    """A store that folds nothing, although it could."""

    def __init__(self, house: Parts) -> None:
        self.house = house

    async def run(self, ctx: Context) -> None:
        self.house.follower._next = await self.house.bus.starts(topics.FOLDED)
        ctx.ready()
        with ctx.waiting():
            await ctx.draining.wait()


def replaced(whole: Supervision, name: str, child: Child) -> Supervision:
    children = tuple(child if each.name == name else each for each in whole.children)
    return Supervision(name=whole.name, strategy=whole.strategy, children=children)


async def test_a_store_that_falls_behind_is_not_ready_once_it_is_too_old() -> None:
    house = await parts()
    status = TreeStatus(house, RUNNING, {})
    held = Child(name="store", start=lambda: Held(house), drain_s=0.0)
    tree = replaced(plan(house, RUNNING), "store", held)
    seen: dict[float, dict[str, str]] = {}

    async def look() -> None:
        await house.bus.publish([topics.TAGS.emit("a", None)])
        for at_s in (FOLD_AGE_MAX_S - 5, FOLD_AGE_MAX_S + REFRESH_S + 5):
            await anyio.sleep(at_s - anyio.current_time())
            seen[at_s] = dict(status.waiting_for())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await run_for(tree, status, FOLD_AGE_MAX_S + REFRESH_S + 10)

    before, after = seen.values()
    assert before == {}
    assert "behind the log" in after["store"]


async def test_who_is_stopping_is_not_ready_and_alive() -> None:
    house = await parts()
    status = TreeStatus(house, RUNNING, {})
    seen: list[object] = []

    class Slow:
        async def run(self, ctx: Context) -> None:
            ctx.ready()
            with ctx.waiting():
                await ctx.draining.wait()
                seen.append((dict(status.waiting_for()), status.alive()))

    await run_for(replaced(plan(house, RUNNING), "watch", Child(name="watch", start=Slow)), status, 5.0)

    assert seen == [({"airy": "it is stopping"}, True)]


async def test_a_log_that_is_away_makes_a_process_unready_and_never_dead() -> None:
    house = await parts()
    status = TreeStatus(house, RUNNING, {})
    await run_for(replaced(plan(house, RUNNING), "bus", Child(name="bus", start=Sick)), status, 300.0)
    waiting, _, alive = status.seen  # type: ignore[attr-defined]

    assert "the dependency is away" in waiting["airy/bus"]
    assert alive
    assert not any(service["healthy"] for service in status.seen[1].values())  # type: ignore[attr-defined]


async def test_an_actor_that_stalls_is_restarted_and_counted_which_needs_no_new_process() -> None:
    house = await parts()
    status = TreeStatus(house, RUNNING, {})

    class Stuck:
        async def run(self, ctx: Context) -> None:
            ctx.ready()
            await anyio.sleep_forever()

    stuck = Child(name="watch", start=Stuck, stall_s=3.0)
    await run_for(replaced(plan(house, RUNNING), "watch", stuck), status, 10.0)
    restarts = status.counters()["restarts_total"]

    assert isinstance(restarts, Labelled)
    assert restarts.values["airy", "watch"] >= 1
    assert status.seen[2]  # type: ignore[attr-defined]


def test_a_process_is_named_after_what_was_chosen_to_run_in_it() -> None:
    names = {}
    for chosen in ({"http", "webhook-consumer"}, {"http"}, {"http", "api-admin", "api-communication"}):
        names[TreeStatus(_no_parts(), frozenset(chosen), {}).name] = chosen
    everything = components.enabled(Config())

    assert set(names) == {"webhook-consumer", "http", "api-admin+api-communication"}
    assert TreeStatus(_no_parts(), everything, {}).name == "all"


def _no_parts() -> Parts:
    clock, fetch = LoopClock(), Endpoint(Random(0))
    return assemble(
        Config(),
        clock=clock,
        ids=RandomIds(Random(0)),
        bus=MemoryBus(topics.ALL, clock=clock),
        store=SqliteStore(":memory:"),
        queue=SqliteQueue(":memory:"),
        sealer=Sealer({"k": bytes(32)}),
        provider_fetch=fetch,
        webhook_fetch=fetch,
    )


class Away(SqliteQueue):
    """A queue that answers once, and then never again."""

    asked = 0

    async def stats(self) -> QueueStats:
        self.asked += 1
        if self.asked == 1:
            return QueueStats(waiting=7, leased=1, oldest_at_ms=None)
        if self.asked == 2:
            raise Unavailable("redis is away")
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_scrape_is_answered_in_time_with_what_is_known_when_the_queue_is_away() -> None:
    house = await parts()
    house.queue = Away(":memory:")
    samples, shown = Samples(house), []
    for _ in range(3):
        before = anyio.current_time()
        values = await samples.read()
        assert anyio.current_time() - before <= QUEUE_S
        shown.append((values["webhook_queue_up"], values["webhooks_waiting"], values["webhooks_leased"]))

    assert shown == [(1.0, 7.0, 1.0), (0.0, 7.0, 1.0), (0.0, 7.0, 1.0)]


async def test_metrics_have_the_counts_of_store_queue_and_actors() -> None:
    house = await parts()
    house.counts["routed"] += 3
    values = await Samples(house).read()

    assert values["conversations"] == 0.0
    assert values["webhooks_waiting"] == 0.0
    assert values["provider_webhooks_total"] == dict.fromkeys(FATES, 0.0) | {"routed": 3.0}

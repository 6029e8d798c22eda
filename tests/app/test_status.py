"""What probes and `client.config` say, read off the running tree."""

from random import Random

import anyio
import structlog

from airy import topics
from airy.actors.runtime import Child, Context, Supervision, run_tree
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.app.parts import Parts, assemble
from airy.app.plan import plan
from airy.app.samples import Samples
from airy.app.status import TreeStatus
from airy.bus.memory import MemoryBus
from airy.clock import LoopClock, RandomIds
from airy.config import Config
from airy.errors import Unavailable
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
        tasks.start_soon(
            lambda: run_tree(tree, clock=LoopClock(), seed=0, stop=stop, log=log, on_start=status.started)
        )
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


async def test_metrics_have_the_counts_of_store_queue_and_actors() -> None:
    house = await parts()
    house.counts["routed"] += 3
    values = await Samples(house).read()

    assert values["conversations"] == 0.0
    assert values["webhooks_waiting"] == 0.0
    assert values["provider_webhooks_total"] == {"routed": 3.0}

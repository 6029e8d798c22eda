"""A Redis that loses everything at any moment loses no dead delivery and no replay request."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import pytest

from airy import topics
from airy.actors import dead_deliveries
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.commands import Writer
from airy.commands.dead_deliveries import DeadDeliveryCommands
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import Webhook
from airy.queue.api import NO_ENTRY, QueueStats, Shard
from airy.queue.redis import RedisQueue
from airy.store.api import Store
from airy.webhooks.retry import ATTEMPTS_MAX
from tests.kit.contracts.queue import entry, put
from tests.kit.harness import Harness
from tests.kit.queue_redis import PATIENCE_S, flush, opened
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer
from tests.kit.webhooks import SEALER, Endpoints, Request, answers

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

HERE = Shard(topics.EVENTS.name, 3)
POISON = entry(5, "a", lane="one")


@pytest.fixture(scope="module", params=[0, 3], ids=["one server", "a cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(cluster_nodes=request.param))
        yield server


class Setup:
    def __init__(self, harness: Harness, queue: RedisQueue, endpoints: Endpoints) -> None:
        self.harness = harness
        self.queue = queue
        self.endpoints = endpoints
        writer = Writer(
            harness.bus, harness.projector.wait_for_position, harness.clock, harness.ids, within_s=PATIENCE_S
        )
        self.commands = DeadDeliveryCommands(writer, harness.store)

    async def dead(self) -> list[object]:
        return (await self.harness.store.dead_deliveries(cursor=None, page_size=9)).items


@asynccontextmanager
async def running(server: RedisServer) -> AsyncIterator[Setup]:
    """A delivery at its last attempt, to an endpoint that is down."""
    harness, endpoints = Harness(), Endpoints()
    endpoints.behave("a", answers(500))
    async with opened(server) as rig:
        queue = rig.queue

        def dispatcher() -> Dispatcher:
            return Dispatcher(
                harness.bus,
                harness.store,
                harness.projector,
                queue,
                endpoints,
                sealer=SEALER,
                disable_webhook=_never,
                wait_for_arrival=queue.wait_for_arrival,
                limits=DispatcherLimits(poll_s=0.05),
            )

        await put(queue, POISON, shard=HERE)
        for now_ms in range(1, ATTEMPTS_MAX):
            assert len(await queue.claim(now_ms=now_ms, lease_ms=1, jobs_max=1, per_webhook_max=1)) == 1
        webhook = Webhook(id="a", url="https://a.example.com/", status="Subscribed")
        await harness.bus.publish([topics.WEBHOOKS.record("a", webhook)])
        async with harness.open(dispatcher=dispatcher):
            yield Setup(harness, queue, endpoints)


async def _never(webhook_id: str, reason: str) -> None:
    raise AssertionError(f"{webhook_id}: {reason}")


async def _listed(here: Setup) -> DeadDelivery:
    """The one dead delivery, once it is listed."""
    with anyio.fail_after(PATIENCE_S):
        while not (found := await here.dead()):
            await here.harness.projector.wait_for_progress(here.harness.projector.version, 0.1)
    (one,) = found
    assert isinstance(one, DeadDelivery)
    return one


def same(requests: list[Request]) -> bool:
    return {(one.event_id, one.body) for one in requests} == {(POISON.event_id, POISON.body)}


async def _none_left(store: Store, delivery_id: str) -> None:
    with anyio.fail_after(PATIENCE_S):
        while await store.dead_deliveries_of(delivery_id):
            await anyio.sleep(0.01)


async def _removed(here: Setup) -> None:
    """Until the queue has removed it: a dispatcher stopped between log and queue deletes the record again."""
    with anyio.fail_after(PATIENCE_S):
        while await here.queue.stats() != QueueStats(0, 0, None):
            await anyio.sleep(0.01)


async def test_a_dead_delivery_survives_a_flush_and_is_replayed_with_its_id_and_bytes(server: RedisServer) -> None:
    async with running(server) as here:
        one = await _listed(here)
        assert (one.delivery_id, one.attempts) == (f"{POISON.event_id}:a", ATTEMPTS_MAX)
        await _removed(here)
        flush(server)
        assert await _listed(here) == one
        assert await here.queue.last(HERE) == NO_ENTRY
        here.endpoints.behave("a", answers(200))
        assert (await here.commands.replay(here.queue, one.delivery_id)).deliveries == 1
        assert await here.dead() == []
        await here.endpoints.reached("a", 2, PATIENCE_S)
        await _none_left(here.harness.store, one.delivery_id)
        assert same(here.endpoints.requests)
        await _removed(here)


async def test_a_replay_request_survives_a_flush(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_deliveries, "ROUND_S", 0.1)
    monkeypatch.setattr(dead_deliveries, "REPLAY_AGE_MS", 0)
    async with running(server) as here:
        one = await _listed(here)
        await here.commands.replay(here.queue, one.delivery_id)
        await here.endpoints.reached("a", 2, PATIENCE_S)  # it fails once more, and now waits for its second attempt
        flush(server)
        here.endpoints.behave("a", answers(200))
        await here.endpoints.reached("a", 3, PATIENCE_S)
        await _none_left(here.harness.store, one.delivery_id)
        await _removed(here)
        made = len(here.endpoints.requests)
        assert made in (3, 4), "once, or twice if a round had read the request just before"
        await anyio.sleep(0.3)
        assert len(here.endpoints.requests) == made, "the request is gone"
        assert same(here.endpoints.requests)

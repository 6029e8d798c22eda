"""A Redis that forgets everything at any moment loses no dead delivery, and no wish to make one again."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import anyio
import pytest

from airy import topics
from airy.actors.commands import Writer
from airy.actors.commands.dead import DeadCommands
from airy.actors.webhooks import dead_letters
from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.queue import NOTHING, QueueStats, Shard
from airy.actors.webhooks.queue_redis import RedisQueue
from airy.actors.webhooks.retry import ATTEMPTS_MAX
from airy.model.dead import DeadDelivery
from airy.model.entity import Webhook
from airy.store.api import Store
from tests.kit.contracts.queue import entry, put
from tests.kit.house import House
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


class Yard:
    def __init__(self, house: House, queue: RedisQueue, endpoints: Endpoints) -> None:
        self.house = house
        self.queue = queue
        self.endpoints = endpoints
        writer = Writer(house.bus, house.follower.reached, house.clock, house.ids, within_s=PATIENCE_S)
        self.commands = DeadCommands(writer, house.store)

    async def dead(self) -> list[object]:
        return (await self.house.store.dead_deliveries(cursor=None, page_size=9)).items


@asynccontextmanager
async def yard(server: RedisServer) -> AsyncIterator[Yard]:
    """A delivery that is at its last attempt, at an endpoint that is down."""
    house, endpoints = House(), Endpoints()
    endpoints.behave("a", answers(500))
    async with opened(server) as rig:
        queue = rig.queue

        def dispatcher() -> Dispatcher:
            return Dispatcher(
                house.bus,
                house.store,
                house.follower,
                queue,
                endpoints,
                sealer=SEALER,
                switch_off=_never,
                arrived=queue.arrived,
                poll_s=0.05,
            )

        await put(queue, POISON, shard=HERE)
        for now_ms in range(1, ATTEMPTS_MAX):
            assert len(await queue.claim(now_ms=now_ms, lease_ms=1, jobs_max=1, per_webhook_max=1)) == 1
        webhook = Webhook(id="a", url="https://a.example.com/", status="Subscribed")
        await house.bus.publish([topics.WEBHOOKS.emit("a", webhook)])
        async with house.open(dispatcher=dispatcher):
            yield Yard(house, queue, endpoints)


async def _never(webhook_id: str, reason: str) -> None:
    raise AssertionError(f"{webhook_id}: {reason}")


async def _told(here: Yard) -> DeadDelivery:
    """The one dead delivery, once it is listed."""
    with anyio.fail_after(PATIENCE_S):
        while not (found := await here.dead()):
            await here.house.follower.progressed(here.house.follower.version, 0.1)
    (one,) = found
    assert isinstance(one, DeadDelivery)
    return one


def same(requests: list[Request]) -> bool:
    return {(one.event_id, one.body) for one in requests} == {(POISON.event_id, POISON.body)}


async def _none_left(store: Store, delivery_id: str) -> None:
    with anyio.fail_after(PATIENCE_S):
        while await store.burials(delivery_id):
            await anyio.sleep(0.01)


async def _let_go(here: Yard) -> None:
    """Until the queue has nothing of it: who is interrupted between record and burial takes the record back."""
    with anyio.fail_after(PATIENCE_S):
        while await here.queue.stats() != QueueStats(0, 0, None):
            await anyio.sleep(0.01)


async def test_a_dead_delivery_survives_a_flush_and_is_made_again_with_its_id_and_bytes(server: RedisServer) -> None:
    async with yard(server) as here:
        one = await _told(here)
        assert (one.delivery_id, one.attempts) == (f"{POISON.event_id}:a", ATTEMPTS_MAX)
        await _let_go(here)
        flush(server)
        assert await _told(here) == one
        assert await here.queue.last(HERE) == NOTHING
        here.endpoints.behave("a", answers(200))
        assert (await here.commands.replay(here.queue, one.delivery_id)).deliveries == 1
        assert await here.dead() == []
        await here.endpoints.reached("a", 2, PATIENCE_S)
        await _none_left(here.house.store, one.delivery_id)
        assert same(here.endpoints.requests)
        await _let_go(here)


async def test_a_wish_survives_a_flush_before_it_was_carried_out(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "ROUND_S", 0.1)
    monkeypatch.setattr(dead_letters, "YOUNG_MS", 0)
    async with yard(server) as here:
        one = await _told(here)
        await here.commands.replay(here.queue, one.delivery_id)
        await here.endpoints.reached("a", 2, PATIENCE_S)  # it fails once more, and now waits for its second attempt
        flush(server)
        here.endpoints.behave("a", answers(200))
        await here.endpoints.reached("a", 3, PATIENCE_S)
        await _none_left(here.house.store, one.delivery_id)
        await _let_go(here)
        made = len(here.endpoints.requests)
        assert made in (3, 4), "once, or twice where a round had looked at the wish just before"
        await anyio.sleep(0.3)
        assert len(here.endpoints.requests) == made, "it is not wished for any more"
        assert same(here.endpoints.requests)

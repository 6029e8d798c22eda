"""Publisher and dispatcher under supervisors, over a real store and log: a fact is published, and a signed request is
sent.
"""

from random import Random

import anyio
import pytest
from msgspec import json

from airy import topics
from airy.actors.dispatcher import Dispatcher
from airy.actors.publisher import Publisher
from airy.actors.runtime import Actor
from airy.change_readers import WEBHOOK_PUBLISHER
from airy.http_client import Response, ResponseLost
from airy.model.entity import Webhook
from airy.queue.sqlite import SqliteQueue
from airy.store.sqlite import SqliteStore
from airy.webhooks.matching import subscription_start
from tests.kit.builders import Chat
from tests.kit.event_loops import run_seeded
from tests.kit.harness import Harness
from tests.kit.webhooks import SEALER, Behaviour, Endpoints, Request

GROUP = WEBHOOK_PUBLISHER.group
NAME = "a"


class Engine:
    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.queue = SqliteQueue()
        self.endpoints = Endpoints()
        self.lanes: dict[str, str] = {}  # of events

    def publisher(self) -> Actor:
        harness = self.harness
        return Publisher(harness.bus, harness.store, harness.projector, self.queue, rebuild=harness.projector.rebuild)

    def dispatcher(self) -> Actor:
        harness = self.harness
        return Dispatcher(
            harness.bus,
            harness.store,
            harness.projector,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            disable_webhook=self.disable_webhook,
            wait_for_arrival=self.queue.wait_for_arrival,
        )

    async def disable_webhook(self, webhook_id: str, reason: str) -> None:
        raise AssertionError(f"{webhook_id} must stay on: {reason}")

    async def subscribe(self) -> None:
        since = subscription_start(await self.harness.bus.end_offsets(topics.FOLDED))
        webhook = Webhook(id=NAME, url=f"https://{NAME}.example.com/", status="Subscribed", since=since)
        (position,) = await self.harness.bus.publish([topics.WEBHOOKS.record(NAME, webhook)])
        assert await self.harness.projector.wait_for_position(position, 60)

    async def expected(self) -> dict[str, list[str]]:
        """Every change of every conversation there is, in order."""
        found: dict[str, list[str]] = {}
        for tp in topics.EVENTS.topic_partitions:
            for one in await self.harness.store.changes(tp, after=(-1, -1), changes_max=10_000):
                found.setdefault(one.change.lane, []).append(one.change.id)
        return found

    def delivered(self) -> dict[str, list[str]]:
        """Per conversation, in the order of the first successful response."""
        found: dict[str, list[str]] = {}
        for request in self.endpoints.requests:
            body = json.decode(request.body)
            lane = found.setdefault(self.lanes[request.event_id], [])
            assert body["id"] == request.event_id
            if request.event_id not in lane:
                lane.append(request.event_id)
        return found


def moody(random: Random) -> Behaviour:
    """Fails at random, but no delivery twice."""
    failed: set[str] = set()

    async def behave(request: Request) -> Response:
        if request.event_id in failed or random.random() < 0.6:
            return Response(200, {}, b"")
        failed.add(request.event_id)
        if random.random() < 0.5:
            raise ResponseLost("time-out")
        return Response(500, {}, b"")

    return behave


async def _history(seed: int, crashes: float) -> int:
    random = Random(seed)
    harness = Harness(seed)
    engine = Engine(harness)
    await engine.queue.open()
    async with harness.open(publisher=engine.publisher, dispatcher=engine.dispatcher):
        await engine.subscribe()
        engine.endpoints.behave(NAME, moody(random))
        harness.faults._source = random
        harness.faults._rates = {("commit", "crash"): crashes, ("committed", "crash"): crashes}
        chats = [Chat(number) for number in range(3)]
        for number in range(30):
            await harness.append(random.choice(chats).received(number))
            await anyio.sleep(random.random() * 3)
        harness.faults.clear()
        await anyio.sleep(600)
        expected = await engine.expected()
        engine.lanes = {event_id: lane for lane, events in expected.items() for event_id in events}
        assert engine.delivered() == expected
        assert len(engine.lanes) >= 30
        stats = await engine.queue.stats()
        assert (stats.waiting, stats.leased) == (0, 0)
        committed = await harness.bus.committed(GROUP, topics.FOLDED)
        assert committed == {
            tp: end for tp, end in (await harness.bus.end_offsets(topics.FOLDED)).items() if tp in committed
        }
    await engine.queue.close()
    return len(harness.faults.injected)


@pytest.mark.parametrize("seed", range(4))
def test_every_change_reaches_the_endpoint_in_order_through_failures_and_crashes(seed: int) -> None:
    assert run_seeded(seed, _history, seed, 0.0) == 0


@pytest.mark.slow
def test_every_change_is_delivered_despite_crashes() -> None:
    assert sum(run_seeded(seed, _history, seed, 0.1) for seed in range(4)) > 0


async def test_a_rebuilt_store_delivers_nothing_again() -> None:
    harness = Harness()
    engine = Engine(harness)
    await engine.queue.open()
    async with harness.open(publisher=engine.publisher, dispatcher=engine.dispatcher):
        await engine.subscribe()
        chat = Chat()
        for number in range(5):
            await harness.append(chat.received(number))
        await anyio.sleep(30)
        count = len(engine.endpoints.requests)
        assert count >= 5
    harness.store = SqliteStore(":memory:")
    again = Harness()
    again.bus, again.projector = harness.bus, type(harness.projector)(harness.bus, again.store)
    engine.harness = again
    async with again.open(publisher=engine.publisher, dispatcher=engine.dispatcher):
        await anyio.sleep(30)
        assert len(engine.endpoints.requests) == count
        await again.append(chat.received("new"))
        await anyio.sleep(30)
        assert len(engine.endpoints.requests) > count
    await engine.queue.close()

"""The whole engine under its supervisors, over a real store and log: a fact comes in, a signed request goes out."""

from random import Random

import anyio
import pytest
from msgspec import json

from airy import topics
from airy.actors.runtime import Actor
from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.matching import subscribed_from
from airy.actors.webhooks.publisher import GROUP, Publisher
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.fetch import Answer, Unanswered
from airy.model.entity import Webhook
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.kit.house import House
from tests.kit.webhooks import SEALER, Behaviour, Endpoints, Request
from tests.kit.world import run_seeded

NAME = "a"


class Engine:
    def __init__(self, house: House) -> None:
        self.house = house
        self.queue = SqliteQueue()
        self.endpoints = Endpoints()
        self.lanes: dict[str, str] = {}  # of events

    def publisher(self) -> Actor:
        house = self.house
        return Publisher(house.bus, house.store, house.follower, self.queue)

    def dispatcher(self) -> Actor:
        house = self.house
        return Dispatcher(
            house.bus,
            house.store,
            house.follower,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            switch_off=self.switch_off,
            arrived=self.queue.arrived,
        )

    async def switch_off(self, webhook_id: str, reason: str) -> None:
        raise AssertionError(f"{webhook_id} must stay on: {reason}")

    async def subscribe(self) -> None:
        since = subscribed_from(await self.house.bus.ends(topics.FOLDED))
        webhook = Webhook(id=NAME, url=f"https://{NAME}.example.com/", status="Subscribed", since=since)
        (position,) = await self.house.bus.publish([topics.WEBHOOKS.emit(NAME, webhook)])
        assert await self.house.follower.reached(position, 60)

    async def expected(self) -> dict[str, list[str]]:
        """Every change of every conversation there is, in order."""
        found: dict[str, list[str]] = {}
        for where in topics.EVENTS.where:
            for one in await self.house.store.changes(where, after=(-1, -1), changes_max=10_000):
                found.setdefault(one.change.lane, []).append(one.change.id)
        return found

    def delivered(self) -> dict[str, list[str]]:
        """Per conversation, in the order of the first answer that was a success."""
        found: dict[str, list[str]] = {}
        for request in self.endpoints.requests:
            body = json.decode(request.body)
            lane = found.setdefault(self.lanes[request.event_id], [])
            assert body["id"] == request.event_id
            if request.event_id not in lane:
                lane.append(request.event_id)
        return found


def moody(random: Random) -> Behaviour:
    """Fails now and then, but no delivery twice."""
    failed: set[str] = set()

    async def behave(request: Request) -> Answer:
        if request.event_id in failed or random.random() < 0.6:
            return Answer(200, {}, b"")
        failed.add(request.event_id)
        if random.random() < 0.5:
            raise Unanswered("time-out")
        return Answer(500, {}, b"")

    return behave


async def _history(seed: int, crashes: float) -> int:
    random = Random(seed)
    house = House(seed)
    engine = Engine(house)
    await engine.queue.open()
    async with house.open(publisher=engine.publisher, dispatcher=engine.dispatcher):
        await engine.subscribe()
        engine.endpoints.behave(NAME, moody(random))
        house.faults._source = random
        house.faults._rates = {("commit", "crash"): crashes, ("committed", "crash"): crashes}
        chats = [Chat(number) for number in range(3)]
        for number in range(30):
            await house.tell(random.choice(chats).received(number))
            await anyio.sleep(random.random() * 3)
        house.faults.calm()
        await anyio.sleep(600)
        expected = await engine.expected()
        engine.lanes = {event_id: lane for lane, events in expected.items() for event_id in events}
        assert engine.delivered() == expected
        assert len(engine.lanes) >= 30
        stats = await engine.queue.stats()
        assert (stats.waiting, stats.leased) == (0, 0)
        committed = await house.bus.committed(GROUP, topics.FOLDED)
        assert committed == {
            where: end for where, end in (await house.bus.ends(topics.FOLDED)).items() if where in committed
        }
    await engine.queue.close()
    return len(house.faults.struck)


@pytest.mark.parametrize("seed", range(4))
def test_every_change_reaches_the_endpoint_in_order_through_failures_and_crashes(seed: int) -> None:
    assert run_seeded(seed, _history, seed, 0.0) == 0


def test_crashes_are_survived() -> None:
    assert sum(run_seeded(seed, _history, seed, 0.1) for seed in range(4)) > 0


async def test_a_store_that_is_folded_anew_delivers_nothing_again() -> None:
    house = House()
    engine = Engine(house)
    await engine.queue.open()
    async with house.open(publisher=engine.publisher, dispatcher=engine.dispatcher):
        await engine.subscribe()
        chat = Chat()
        for number in range(5):
            await house.tell(chat.received(number))
        await anyio.sleep(30)
        count = len(engine.endpoints.requests)
        assert count >= 5
    house.store = SqliteStore(":memory:")
    again = House()
    again.bus, again.follower = house.bus, type(house.follower)(house.bus, again.store)
    engine.house = again
    async with again.open(publisher=engine.publisher, dispatcher=engine.dispatcher):
        await anyio.sleep(30)
        assert len(engine.endpoints.requests) == count
        await again.tell(chat.received("new"))
        await anyio.sleep(30)
        assert len(engine.endpoints.requests) > count
    await engine.queue.close()

"""What was delivered before a move is not delivered again after it, what was not is, and under the same ids."""

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.follower import Follower
from airy.actors.runtime import Actor
from airy.actors.webhooks.dead_letters import record
from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.matching import subscribed_from
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.bus.memory import MemoryBus
from airy.fetch import Answer, NotSent
from airy.model.change import ChangeKind
from airy.model.entity import Webhook
from tests.kit.builders import Chat, dead, tag
from tests.kit.house import House
from tests.kit.moving import exported, imported
from tests.kit.webhooks import SEALER, Endpoints, Request

NAMES = ("early", "late")
CHATS = 5


class Installation:
    """Log, store, queue and everything that delivers; its endpoints outlive it."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.house = House()
        self.house.bus = MemoryBus(topics.ALL, clock=self.house.clock)
        self.house.follower = Follower(self.house.bus, self.house.store)
        self.queue = SqliteQueue()
        self.endpoints = endpoints

    @property
    def bus(self) -> MemoryBus:
        return self.house.bus

    def publisher(self) -> Actor:
        return Publisher(self.bus, self.house.store, self.house.follower, self.queue)

    def dispatcher(self) -> Actor:
        return Dispatcher(
            self.bus,
            self.house.store,
            self.house.follower,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            switch_off=_switched_off,
            arrived=self.queue.arrived,
        )

    async def subscribe(self, name: str) -> None:
        since = subscribed_from(await self.bus.ends(topics.TOLD))
        made = Webhook(id=name, url=f"https://{name}.example.com/", status="Subscribed", since=since)
        (position,) = await self.bus.publish([topics.WEBHOOKS.emit(name, made)])
        assert await self.house.follower.reached(position, 60)

    async def chat(self, number: int) -> None:
        for chat in range(CHATS):
            await self.house.tell(Chat(chat).received(number))


async def _switched_off(webhook_id: str, reason: str) -> None:
    raise AssertionError(f"{webhook_id} must stay on: {reason}")


def told(endpoints: Endpoints) -> list[tuple[str, str]]:
    return [(request.url, request.event_id) for request in endpoints.requests]


async def _down(_: Request) -> Answer:
    raise NotSent("nobody listens")


async def _up(_: Request) -> Answer:
    return Answer(200, {}, b"")


async def before(one: Installation) -> None:
    """A history with two subscriptions that began at different places, all of it delivered."""
    await one.house.connect()
    await one.chat(0)
    await one.subscribe("early")
    await one.chat(1)
    await one.bus.publish([topics.TAGS.emit(tag().id, tag())])
    await one.subscribe("late")
    await one.chat(2)
    await anyio.sleep(120)


async def test_nothing_is_delivered_again_and_nothing_is_lost() -> None:
    endpoints = Endpoints()
    one, other = Installation(endpoints), Installation(endpoints)
    await one.queue.open()
    async with one.house.open(publisher=one.publisher, dispatcher=one.dispatcher):
        await before(one)
    first = told(endpoints)
    assert len(first) == len(set(first)) > 20
    await imported(other.bus, (await exported(one.bus))[0])
    assert await one.bus.ends(topics.TOLD) != await other.bus.ends(topics.TOLD)
    await other.queue.open()
    async with other.house.open(publisher=other.publisher, dispatcher=other.dispatcher):
        await anyio.sleep(120)
        assert told(endpoints) == first
        await other.chat(3)
        await other.bus.publish([topics.TAGS.emit(tag("Later").id, tag("Later"))])
        await anyio.sleep(120)
    later = told(endpoints)[len(first) :]
    assert len(later) == len(set(later)) > 10
    assert not set(later) & set(first)
    assert {url for url, _ in later} == {url for url, _ in first}


@pytest.mark.parametrize("name", NAMES)
async def test_what_an_endpoint_missed_reaches_it_after_the_move_under_the_same_ids(name: str) -> None:
    endpoints = Endpoints()
    one, other = Installation(endpoints), Installation(endpoints)
    await one.queue.open()
    async with one.house.open(publisher=one.publisher, dispatcher=one.dispatcher):
        await before(one)
        endpoints.behave(name, _down)
        done = len(endpoints.requests)
        await one.chat(3)
        await one.house.connect(connected=False)
        await anyio.sleep(30)
        missed = {(one.url, one.event_id) for one in endpoints.requests[done:] if name in one.url}
        expected = await _changes(one)
    assert missed
    delivered = [(request.url, request.event_id) for request in endpoints.requests[:done]]
    await imported(other.bus, (await exported(one.bus))[0])
    endpoints.behave(name, _up)
    done = len(endpoints.requests)
    await other.queue.open()
    async with other.house.open(publisher=other.publisher, dispatcher=other.dispatcher):
        await anyio.sleep(120)
        assert await _changes(other) == expected
    after = told(endpoints)[done:]
    assert missed <= set(after)
    assert not set(after) & set(delivered)


async def test_what_was_given_up_and_what_is_to_be_made_again_move_along() -> None:
    endpoints = Endpoints()
    one, other = Installation(endpoints), Installation(endpoints)
    await one.queue.open()
    async with one.house.open():
        await one.subscribe("early")
        now_ms = one.house.clock.now_ms()
        given_up = dead(1, "early", died_at_ms=now_ms)
        wished = replace(dead(2, "early", died_at_ms=now_ms), replayed_at_ms=now_ms)
        await one.bus.publish([record(given_up), record(wished)])
    await imported(other.bus, (await exported(one.bus))[0])
    await other.queue.open()
    async with other.house.open(publisher=other.publisher, dispatcher=other.dispatcher):
        await anyio.sleep(120)
        assert [(request.event_id, request.body) for request in endpoints.requests] == [("event 2", bytes(wished.body))]
        page = await other.house.store.dead_deliveries(cursor=None, page_size=9)
        assert page.items == [given_up]


async def _changes(installation: Installation) -> set[tuple[str, ChangeKind]]:
    found = set()
    for where in (where for topic in topics.TOLD for where in topic.where):
        for published in await installation.house.store.changes(where, after=(-1, -1), changes_max=10_000):
            found.add((published.change.id, published.change.kind))
    return found

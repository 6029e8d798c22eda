"""A transfer repeats no delivery, loses none, and keeps their ids."""

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.dispatcher import Dispatcher
from airy.actors.projector import Projector
from airy.actors.publisher import Publisher
from airy.actors.runtime import Actor
from airy.bus.memory import MemoryBus
from airy.http_client import ConnectFailed, Response
from airy.model.change import ChangeKind
from airy.model.entity import Webhook
from airy.queue.sqlite import SqliteQueue
from airy.webhooks.dead_letter import dead_letter_record
from airy.webhooks.matching import subscription_start
from tests.kit.builders import Chat, dead, tag
from tests.kit.harness import Harness
from tests.kit.log_transfer import exported, imported
from tests.kit.webhooks import SEALER, Endpoints, Request

NAMES = ("early", "late")
CHATS = 5


class Installation:
    """Log, store, queue and the actors that deliver; the endpoints are passed in."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.harness = Harness()
        self.harness.bus = MemoryBus(topics.ALL, clock=self.harness.clock)
        self.harness.projector = Projector(self.harness.bus, self.harness.store)
        self.queue = SqliteQueue()
        self.endpoints = endpoints

    @property
    def bus(self) -> MemoryBus:
        return self.harness.bus

    def publisher(self) -> Actor:
        return Publisher(
            self.bus, self.harness.store, self.harness.projector, self.queue, rebuild=self.harness.projector.rebuild
        )

    def dispatcher(self) -> Actor:
        return Dispatcher(
            self.bus,
            self.harness.store,
            self.harness.projector,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            disable_webhook=_switched_off,
            wait_for_arrival=self.queue.wait_for_arrival,
        )

    async def subscribe(self, name: str) -> None:
        since = subscription_start(await self.bus.end_offsets(topics.CHANGE_TOPICS))
        made = Webhook(id=name, url=f"https://{name}.example.com/", status="Subscribed", since=since)
        (position,) = await self.bus.publish([topics.WEBHOOKS.record(name, made)])
        assert await self.harness.projector.wait_for_position(position, 60)

    async def chat(self, number: int) -> None:
        for chat in range(CHATS):
            await self.harness.append(Chat(chat).received(number))


async def _switched_off(webhook_id: str, reason: str) -> None:
    raise AssertionError(f"{webhook_id} must stay on: {reason}")


def told(endpoints: Endpoints) -> list[tuple[str, str]]:
    return [(request.url, request.event_id) for request in endpoints.requests]


async def _down(_: Request) -> Response:
    raise ConnectFailed("connection refused")


async def _up(_: Request) -> Response:
    return Response(200, {}, b"")


async def before(one: Installation) -> None:
    """A fully delivered history with two subscriptions that start at different positions."""
    await one.harness.connect()
    await one.chat(0)
    await one.subscribe("early")
    await one.chat(1)
    await one.bus.publish([topics.TAGS.record(tag().id, tag())])
    await one.subscribe("late")
    await one.chat(2)
    await anyio.sleep(120)


async def test_after_a_transfer_no_delivery_is_repeated_or_lost() -> None:
    endpoints = Endpoints()
    one, other = Installation(endpoints), Installation(endpoints)
    await one.queue.open()
    async with one.harness.open(publisher=one.publisher, dispatcher=one.dispatcher):
        await before(one)
    first = told(endpoints)
    assert len(first) == len(set(first)) > 20
    await imported(other.bus, (await exported(one.bus))[0])
    assert await one.bus.end_offsets(topics.CHANGE_TOPICS) != await other.bus.end_offsets(topics.CHANGE_TOPICS)
    await other.queue.open()
    async with other.harness.open(publisher=other.publisher, dispatcher=other.dispatcher):
        await anyio.sleep(120)
        assert told(endpoints) == first
        await other.chat(3)
        await other.bus.publish([topics.TAGS.record(tag("Later").id, tag("Later"))])
        await anyio.sleep(120)
    later = told(endpoints)[len(first) :]
    assert len(later) == len(set(later)) > 10
    assert not set(later) & set(first)
    assert {url for url, _ in later} == {url for url, _ in first}


@pytest.mark.parametrize("name", NAMES)
async def test_undelivered_changes_are_delivered_after_a_transfer_with_the_same_ids(name: str) -> None:
    endpoints = Endpoints()
    one, other = Installation(endpoints), Installation(endpoints)
    await one.queue.open()
    async with one.harness.open(publisher=one.publisher, dispatcher=one.dispatcher):
        await before(one)
        endpoints.behave(name, _down)
        done = len(endpoints.requests)
        await one.chat(3)
        await one.harness.connect(connected=False)
        await anyio.sleep(30)
        missed = {(one.url, one.event_id) for one in endpoints.requests[done:] if name in one.url}
        expected = await _changes(one)
    assert missed
    delivered = [(request.url, request.event_id) for request in endpoints.requests[:done]]
    await imported(other.bus, (await exported(one.bus))[0])
    endpoints.behave(name, _up)
    done = len(endpoints.requests)
    await other.queue.open()
    async with other.harness.open(publisher=other.publisher, dispatcher=other.dispatcher):
        await anyio.sleep(120)
        assert await _changes(other) == expected
    after = told(endpoints)[done:]
    assert missed <= set(after)
    assert not set(after) & set(delivered)


async def test_dead_deliveries_and_replay_requests_are_transferred() -> None:
    endpoints = Endpoints()
    one, other = Installation(endpoints), Installation(endpoints)
    await one.queue.open()
    async with one.harness.open():
        await one.subscribe("early")
        now_ms = one.harness.clock.now_ms()
        disable_if_failing = dead(1, "early", died_at_ms=now_ms)
        wished = replace(dead(2, "early", died_at_ms=now_ms), replay_requested_at_ms=now_ms)
        await one.bus.publish([dead_letter_record(disable_if_failing), dead_letter_record(wished)])
    await imported(other.bus, (await exported(one.bus))[0])
    await other.queue.open()
    async with other.harness.open(publisher=other.publisher, dispatcher=other.dispatcher):
        await anyio.sleep(120)
        assert [(request.event_id, request.body) for request in endpoints.requests] == [("event 2", bytes(wished.body))]
        page = await other.harness.store.dead_deliveries(cursor=None, page_size=9)
        assert page.items == [disable_if_failing]


async def _changes(installation: Installation) -> set[tuple[str, ChangeKind]]:
    found = set()
    for tp in (tp for topic in topics.CHANGE_TOPICS for tp in topic.topic_partitions):
        for published in await installation.harness.store.changes(tp, after=(-1, -1), changes_max=10_000):
            found.add((published.change.id, published.change.kind))
    return found

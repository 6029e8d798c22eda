"""Routing, parking and replaying webhooks, in virtual time over the real log and store."""

import anyio
import msgspec
from msgspec.structs import replace

from airy import topics
from airy.actors.router import Router
from airy.actors.unpark import Unpark
from airy.bus.memory import MemoryBus
from airy.bus.record import Record
from airy.clock import SystemClock
from airy.model import ids
from airy.model.entity import Channel
from airy.sim.messenger.options import DEMO_PAGE
from airy.sources.facebook import Facebook, FacebookConfig
from tests.kit.house import House

RAW = topics.source_events("facebook")
PARKED = topics.parked_events("facebook")
DEAD = topics.dead_letters(RAW.name)


def webhook(mid: str, text: str, page: str = DEMO_PAGE.id) -> bytes:
    element = {
        "sender": {"id": "612"},
        "recipient": {"id": page},
        "timestamp": 1767225600000,
        "message": {"mid": mid, "text": text},
    }
    return msgspec.json.encode(
        {"object": "page", "entry": [{"id": page, "time": 1767225600001, "messaging": [element]}]}
    )


async def come(house: House, *bodies: bytes, account: str = DEMO_PAGE.id) -> None:
    await house.bus.publish([RAW.emit(account, body) for body in bodies])


async def held(house: House, topic: topics.Topic[bytes]) -> list[Record]:
    starts, ends = await house.bus.starts([topic]), await house.bus.ends([topic])
    found: list[Record] = []
    async with house.bus.tail(starts) as tail:
        while any(tail.position(where) < end for where, end in ends.items()):
            found += await tail.fetch(records_max=1000, wait_s=0.0)
    return found


async def message_of(house: House, mid: str, within_s: float = 60.0) -> str | None:
    """The text of a message, once it is there; None if it does not come."""
    with anyio.move_on_after(within_s):
        while (message := await house.store.message(ids.message_id(house.channel.id, mid))) is None:
            await house.follower.progressed(house.follower.version, 1.0)
        return str(msgspec.json.decode(message.content)["message"]["text"])
    return None


async def test_a_webhook_becomes_one_message_however_often_it_comes() -> None:
    house = House()
    async with house.open(router=lambda: Router(house.bus, house.source)):
        await house.connect()
        await come(house, *[webhook("m1", "hello")] * 5)

        assert await message_of(house, "m1") == "hello"
        await anyio.sleep(5)
        assert (await house.store.counts())["messages"] == 1


async def test_webhooks_of_an_unknown_page_are_parked_and_replayed_when_it_is_connected() -> None:
    house = House()
    async with house.open(
        router=lambda: Router(house.bus, house.source), unpark=lambda: Unpark(house.bus, house.source)
    ):
        await come(house, webhook("m1", "anybody there?"), webhook("m2", "hello?"))
        await anyio.sleep(5)
        assert len(await held(house, PARKED)) == 2
        assert (await house.store.counts())["messages"] == 0
        await house.connect()

        assert await message_of(house, "m1") == "anybody there?"
        assert await message_of(house, "m2") == "hello?"


async def test_no_webhook_slips_between_parking_and_connecting() -> None:
    """Whatever the moment of the connect, relative to the webhook."""
    for delay_s in (0.0, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0):
        house = House()
        house.faults.script("publish", "delay", delay_s=0.01, times=20)
        async with house.open(
            router=lambda h=house: Router(h.bus, h.source), unpark=lambda h=house: Unpark(h.bus, h.source)
        ):  # type: ignore[misc]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(come, house, webhook("m1", "early bird"))
                await anyio.sleep(delay_s)
                tasks.start_soon(house.connect)

            assert await message_of(house, "m1") == "early bird", delay_s


async def test_other_pages_parked_webhooks_stay_parked() -> None:
    house = House()
    async with house.open(
        router=lambda: Router(house.bus, house.source), unpark=lambda: Unpark(house.bus, house.source)
    ):
        await come(house, webhook("m9", "not for you", page="999"), account="999")
        await house.connect()
        await come(house, webhook("m1", "for you"))

        assert await message_of(house, "m1") == "for you"
        await anyio.sleep(10)
        assert (await house.store.counts())["messages"] == 1


async def test_bytes_nobody_can_read_are_dead_letters_and_the_rest_flows() -> None:
    house = House()
    async with house.open(router=lambda: Router(house.bus, house.source)):
        await house.connect()
        await come(house, b"\x00 not json", b"[" * 5000, webhook("m1", "still here"))

        assert await message_of(house, "m1") == "still here"
        dead = await held(house, DEAD)
        assert sorted(record.value or b"" for record in dead) == sorted([b"\x00 not json", b"[" * 5000])
        assert all(record.header("reason") and record.header("offset") for record in dead)


async def test_a_crash_between_publishing_and_committing_changes_nothing() -> None:
    house = House()
    async with house.open(router=lambda: Router(house.bus, house.source)):
        await house.connect()
        house.faults.script("commit", "crash", times=2)
        await come(house, webhook("m1", "once"))

        assert await message_of(house, "m1") == "once"
        await anyio.sleep(60)
        assert (await house.store.counts())["messages"] == 1
        assert ("commit", "crash") in house.faults.struck


def test_a_channel_is_heard_of_one_at_a_time_and_forgotten_when_it_goes() -> None:
    router = Router(MemoryBus([], clock=SystemClock()), Facebook(FacebookConfig("1", ("secret",), "word")))
    one, two = (
        Channel(id=ids.channel_id("facebook", name), source="facebook", source_channel_id=name, connected=True)
        for name in ("100", "200")
    )
    for each in (one, two):
        router._heard(each.id, each)
    assert router._accounts == {"100": one, "200": two}
    router._heard(one.id, replace(one, connected=False))
    assert router._accounts == {"200": two}
    router._heard(one.id, one)
    router._heard(two.id, None)
    assert router._accounts == {"100": one}

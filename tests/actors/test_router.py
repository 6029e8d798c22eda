"""Routing, parking and replaying webhooks, in virtual time over the real log and store."""

import anyio
import msgspec

from airy import topics
from airy.bus.dead_letter import StoredDeadLetter, decode
from airy.bus.record import Record
from airy.model import ids
from airy.sim.graph import DEMO_PAGE
from tests.kit.harness import Harness

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


async def come(harness: Harness, *bodies: bytes, account: str = DEMO_PAGE.id) -> None:
    await harness.bus.publish([RAW.record(account, body) for body in bodies])


async def held(harness: Harness, topic: topics.Topic[bytes]) -> list[Record]:
    starts, ends = await harness.bus.beginning_offsets([topic]), await harness.bus.end_offsets([topic])
    found: list[Record] = []
    async with harness.bus.tail(starts) as tail:
        while any(tail.position(tp) < end for tp, end in ends.items()):
            found += await tail.fetch(records_max=1000, wait_s=0.0)
    return found


async def message_of(harness: Harness, mid: str, within_s: float = 60.0) -> str | None:
    """The text of a message once it is stored; None if it is not stored in time."""
    with anyio.move_on_after(within_s):
        while (message := await harness.store.message(ids.message_id(harness.channel.id, mid))) is None:
            await harness.projector.wait_for_progress(harness.projector.version, 1.0)
        return str(msgspec.json.decode(message.content)["message"]["text"])
    return None


async def test_a_repeated_webhook_becomes_one_message() -> None:
    harness = Harness()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, *[webhook("m1", "hello")] * 5)

        assert await message_of(harness, "m1") == "hello"
        await anyio.sleep(5)
        assert (await harness.store.counts())["messages"] == 1


async def test_webhooks_of_an_unknown_page_are_parked_and_replayed_when_it_is_connected() -> None:
    harness = Harness()
    async with harness.open(router=harness.router, replayer=harness.replayer):
        await come(harness, webhook("m1", "are you open?"), webhook("m2", "hello?"))
        await anyio.sleep(5)
        assert len(await held(harness, PARKED)) == 2
        assert (await harness.store.counts())["messages"] == 0
        await harness.connect()

        assert await message_of(harness, "m1") == "are you open?"
        assert await message_of(harness, "m2") == "hello?"


async def test_no_webhook_is_lost_between_parking_and_connecting() -> None:
    """For any time of the connect relative to the webhook."""
    for delay_s in (0.0, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0):
        harness = Harness()
        harness.faults.script("publish", "delay", delay_s=0.01, times=20)
        async with harness.open(router=harness.router, replayer=harness.replayer):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(come, harness, webhook("m1", "early bird"))
                await anyio.sleep(delay_s)
                tasks.start_soon(harness.connect)

            assert await message_of(harness, "m1") == "early bird", delay_s


async def test_parked_webhooks_of_other_pages_stay_parked() -> None:
    harness = Harness()
    async with harness.open(router=harness.router, replayer=harness.replayer):
        await come(harness, webhook("m9", "not for you", page="999"), account="999")
        await harness.connect()
        await come(harness, webhook("m1", "for you"))

        assert await message_of(harness, "m1") == "for you"
        await anyio.sleep(10)
        assert (await harness.store.counts())["messages"] == 1


async def test_undecodable_webhooks_are_dead_lettered_and_the_rest_is_routed() -> None:
    """X-4."""
    harness = Harness()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, b"\x00 not json", b"[" * 5000, webhook("m1", "still here"))

        assert await message_of(harness, "m1") == "still here"
        dead = await held(harness, DEAD)
        assert sorted(record.value or b"" for record in dead) == sorted([b"\x00 not json", b"[" * 5000])
        assert all(record.header("dlq-reason") and record.header("dlq-offset") for record in dead)


async def test_what_says_nothing_is_counted_and_rings_no_alarm() -> None:
    """A receipt for nothing, and the sample of the provider's Test button."""
    ends = {"sender": {"id": "612"}, "recipient": {"id": DEMO_PAGE.id}, "timestamp": 1767225600000}
    nothing = {"id": DEMO_PAGE.id, "messaging": [{**ends, "delivery": {"watermark": 0}}, {**ends, "read": {}}]}
    sample = {"id": "0", "changes": [{"field": "messages", "value": {"sender": {"id": "12334"}}}]}
    bodies = [msgspec.json.encode({"object": "page", "entry": [entry]}) for entry in (nothing, sample)]
    harness = Harness()
    async with harness.open(router=harness.router):
        await harness.connect()
        await come(harness, *bodies, webhook("m1", "after it"))

        assert await message_of(harness, "m1") == "after it"
        assert harness.provider_webhooks == {"routed": 3, "noted": 2}
        assert await held(harness, DEAD) == await held(harness, PARKED) == []


async def test_a_crash_between_publishing_and_committing_changes_nothing() -> None:
    harness = Harness()
    async with harness.open(router=harness.router):
        await harness.connect()
        harness.faults.script("commit", "crash", times=2)
        await come(harness, webhook("m1", "once"))

        assert await message_of(harness, "m1") == "once"
        await anyio.sleep(60)
        assert (await harness.store.counts())["messages"] == 1
        assert ("commit", "crash") in harness.faults.injected


HALF_READABLE = msgspec.json.encode(
    {"object": "page", "entry": [{"id": DEMO_PAGE.id, "time": 1767225600001, "messaging": ["not an element"]}]}
)


async def test_a_parked_webhook_that_cannot_be_read_when_its_page_is_connected_is_dead_lettered() -> None:
    harness = Harness()
    async with harness.open(router=harness.router, replayer=harness.replayer):
        await come(harness, HALF_READABLE)
        await anyio.sleep(5)
        assert await held(harness, DEAD) == []
        (raw,), (parked,) = await held(harness, RAW), await held(harness, PARKED)
        assert parked.value == raw.value
        await harness.connect()
        await anyio.sleep(5)

        (dead,) = await held(harness, DEAD)
        letter = decode(dead)
        assert isinstance(letter, StoredDeadLetter)
        assert (letter.position, letter.value, letter.headers) == (raw.position, HALF_READABLE, raw.headers)
        assert "is not an object but text" in letter.reason


async def test_a_webhook_of_a_page_that_is_connected_while_it_is_parked_is_dead_lettered_if_it_cannot_be_read() -> None:
    harness = Harness()
    harness.faults.script("publish", "delay", after=1, delay_s=1.0)
    async with harness.open(router=harness.router), anyio.create_task_group() as tasks:
        await come(harness, HALF_READABLE)
        await anyio.sleep(0.5)
        tasks.start_soon(harness.connect)
        await anyio.sleep(10)

        assert len(await held(harness, PARKED)) == 1
        assert [record.value for record in await held(harness, DEAD)] == [HALF_READABLE]

"""Logs to move: every topic has records, some of each kind that is awkward, and groups have dealt with a part of it."""

from collections.abc import Sequence
from contextlib import aclosing
from io import BytesIO
from random import Random
from typing import Any

from msgspec.structs import replace

from airy import topics
from airy.actors.webhooks.matching import subscribed_from
from airy.app.moving.exporting import ORDER, Moved, export_log
from airy.app.moving.folding import Fold, fold_log
from airy.app.moving.groups import GROUPS, commit
from airy.app.moving.importing import import_log, look_through
from airy.app.moving.reading import read
from airy.bus.api import Bus
from airy.bus.record import Emit, Record
from airy.bus.topic import Topic
from airy.model.dead import DeadDelivery
from airy.model.entity import Contact, User, Webhook
from tests.kit.builders import START_MS, channel, dead, seeded_log, tag, template, webhook

AWKWARD = (b"", b"{}", b"\xff\xfe not text", b'quote " \\ \n \r\n \x00', "ü 🍞".encode())


async def fill(bus: Bus, *, seed: int = 0, facts: int = 300, at_ms: int = START_MS) -> None:
    """A plausible log; `at_ms` is when it begins."""
    random = Random(seed)
    story = seeded_log(seed, facts=facts, conversations=12)
    half = len(story) // 2
    await _entities(bus, at_ms)
    await _tell(bus, story[:half], at_ms)
    await _webhook(bus, "early", at_ms)
    await _raw(bus, random, at_ms)
    await _tell(bus, story[half:], at_ms + 60_000)
    await _webhook(bus, "late", at_ms)
    await bus.publish([topics.WEBHOOKS.emit("garbage", None), Emit(topics.WEBHOOKS.name, 0, b"bad", b"not json")])
    for number, group in enumerate(GROUPS):
        await _commit_some(bus, group, share=(number + 1) / len(GROUPS))


async def _tell(bus: Bus, story: Sequence[Any], at_ms: int) -> None:
    for number, fact in enumerate(story):
        headers = (("id", fact.id.encode()), ("request-id", b"r"))
        await bus.publish(
            [topics.EVENTS.emit(fact.conversation_id, fact, headers=headers, timestamp_ms=at_ms + number * 100)]
        )


async def _entities(bus: Bus, at_ms: int) -> None:
    """Several writes of each, so that compaction has something to do; with and without the id of the write."""
    pages = (
        channel(),
        channel("facebook", "another-page"),
        replace(channel(connected=False), updated_at_ms=START_MS + 1),
        replace(channel(), updated_at_ms=START_MS + 2),
    )
    for number, page in enumerate(pages):
        headers = (("id", b"write-%d" % number),) if number % 2 else ()
        await bus.publish([topics.CHANNELS.emit(page.id, page, headers=headers, timestamp_ms=at_ms)])
    for name in ("Urgent", "Later", "Never"):
        await bus.publish([topics.TAGS.emit(tag(name).id, tag(name), timestamp_ms=at_ms)])
        blue = replace(tag(name, "tag-blue"), updated_at_ms=START_MS + 5)
        await bus.publish([topics.TAGS.emit(blue.id, blue, timestamp_ms=at_ms)])
    await bus.publish(
        [
            topics.TAGS.emit(tag("Never").id, None, timestamp_ms=at_ms),
            topics.TEMPLATES.emit(template().id, template(), timestamp_ms=at_ms),
            topics.CONTACTS.emit("contact", Contact(id="contact", display_name="Ines"), timestamp_ms=at_ms),
            topics.USERS.emit("user", User(id="user", name="Jo"), timestamp_ms=at_ms),
            *(topics.DEAD_DELIVERIES.emit(one.id, one, timestamp_ms=at_ms) for one in _dead(at_ms)),
            topics.DEAD_DELIVERIES.emit(dead(2).id, None, timestamp_ms=at_ms),
        ]
    )


def _dead(at_ms: int) -> list[DeadDelivery]:
    """Two burials of one, one that is to be made again, and one that was made after all."""
    return [dead(0), dead(0, died_at_ms=START_MS + 1), replace(dead(1), replayed_at_ms=at_ms), dead(2)]


async def _webhook(bus: Bus, name: str, at_ms: int) -> None:
    since = subscribed_from(await bus.ends(topics.TOLD))
    made: Webhook = replace(webhook(f"http://127.0.0.1:1/{name}"), since=since)
    await bus.publish([topics.WEBHOOKS.emit(made.id, made, timestamp_ms=at_ms)])


async def _raw(bus: Bus, random: Random, at_ms: int) -> None:
    others: list[Topic[Any]] = [topic for topic in topics.ALL if topic.retention == "time"]
    for topic in others:
        for number in range(20):
            headers = (("name", random.choice(AWKWARD)), ("name", b"again"), ("", b""))
            key = f"key-{random.randrange(8)}"
            body = AWKWARD[number % len(AWKWARD)]
            await bus.publish([topic.emit(key, body, headers=headers[: number % 4], timestamp_ms=at_ms + number)])
    await bus.publish([Emit(topics.ATTEMPTS.name, 3, b"\xff\x00", b"\x00", (), at_ms)])  # a key that is no text


async def _commit_some(bus: Bus, group: str, *, share: float) -> None:
    """Up to a record in the middle of each partition, as one that reads them would."""
    offsets = {}
    starts, ends = await bus.starts(topics.TOLD), await bus.ends(topics.TOLD)
    for where in starts:
        records = await records_of(bus, where.topic, where.partition)
        done = records[: round(len(records) * share)]
        if done:
            offsets[where] = ends[where] if len(done) == len(records) else done[-1].offset + 1
    if offsets:
        await commit(bus, group, offsets)


async def records_of(bus: Bus, topic: str, partition: int) -> list[Record]:
    starts, ends = await bus.starts(topics.ALL), await bus.ends(topics.ALL)
    found: list[Record] = []
    wanted = {where: end for where, end in ends.items() if where == (topic, partition)}
    async with aclosing(read(bus, starts, wanted)) as batches:
        async for records in batches:
            found += records
    return found


async def everything(bus: Bus) -> list[list[tuple[object, ...]]]:
    """All records without their places, partition by partition; where subscriptions begin is left to others."""
    return [
        [
            (record.key, None if topic is topics.WEBHOOKS else record.value, record.headers, record.timestamp_ms)
            for record in await records_of(bus, *where)
        ]
        for topic in ORDER
        for where in topic.where
    ]


async def exported(bus: Bus) -> tuple[bytes, Moved]:
    file = BytesIO()

    async def write(data: bytes) -> None:
        file.write(data)

    moved = await export_log(bus, write)
    return file.getvalue(), moved


async def imported(bus: Bus, archive: bytes, *, resume: bool = False) -> None:
    contents = await look_through(BytesIO(archive))
    await import_log(bus, BytesIO(archive), contents, resume=resume)


async def folded(bus: Bus) -> Fold:
    return await fold_log(bus)

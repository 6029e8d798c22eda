"""Logs for transfers: records in every topic, some of them awkward, and partly committed groups."""

from collections.abc import Sequence
from contextlib import aclosing
from io import BytesIO
from random import Random
from typing import Any

from msgspec.structs import replace

from airy import topics
from airy.app.log_transfer.exporter import ORDER, ArchiveSummary, export_log
from airy.app.log_transfer.fold_digest import FoldDigest, fold_log
from airy.app.log_transfer.group_offsets import GROUPS, commit
from airy.app.log_transfer.importer import import_log, inspect_archive
from airy.app.log_transfer.read_partitions import read_partitions
from airy.bus.api import Bus
from airy.bus.record import ProducerRecord, Record
from airy.bus.topic import Topic
from airy.model.contact import KEY, Contact, ContactsWritten, ContactWrite
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import User, Webhook
from airy.webhooks.matching import subscription_start
from tests.kit.builders import START_MS, channel, dead, seeded_log, tag, template, webhook

AWKWARD = (b"", b"{}", b"\xff\xfe not text", b'quote " \\ \n \r\n \x00', "ü 🍞".encode())


async def fill(bus: Bus, *, seed: int = 0, facts: int = 300, at_ms: int = START_MS) -> None:
    """A plausible log that starts at `at_ms`."""
    random = Random(seed)
    story = seeded_log(seed, facts=facts, conversations=12)
    half = len(story) // 2
    await _entities(bus, at_ms)
    await _tell(bus, story[:half], at_ms)
    await _webhook(bus, "early", at_ms)
    await _raw(bus, random, at_ms)
    await _tell(bus, story[half:], at_ms + 60_000)
    await _webhook(bus, "late", at_ms)
    await bus.publish(
        [topics.WEBHOOKS.record("garbage", None), ProducerRecord(topics.WEBHOOKS.name, 0, b"bad", b"not json")]
    )
    for number, group in enumerate(GROUPS):
        await _commit_some(bus, group, share=(number + 1) / len(GROUPS))


async def _tell(bus: Bus, story: Sequence[Any], at_ms: int) -> None:
    for number, fact in enumerate(story):
        headers = (("id", fact.id.encode()), ("request-id", b"r"))
        await bus.publish(
            [topics.EVENTS.record(fact.conversation_id, fact, headers=headers, timestamp_ms=at_ms + number * 100)]
        )


async def _entities(bus: Bus, at_ms: int) -> None:
    """Several writes per entity, so that compaction applies; with and without a write id."""
    pages = (
        channel(),
        channel("facebook", "another-page"),
        replace(channel(connected=False), updated_at_ms=START_MS + 1),
        replace(channel(), updated_at_ms=START_MS + 2),
    )
    for number, page in enumerate(pages):
        headers = (("id", b"write-%d" % number),) if number % 2 else ()
        await bus.publish([topics.CHANNELS.record(page.id, page, headers=headers, timestamp_ms=at_ms)])
    for name in ("Urgent", "Later", "Never"):
        await bus.publish([topics.TAGS.record(tag(name).id, tag(name), timestamp_ms=at_ms)])
        blue = replace(tag(name, "tag-blue"), updated_at_ms=START_MS + 5)
        await bus.publish([topics.TAGS.record(blue.id, blue, timestamp_ms=at_ms)])
    await bus.publish(
        [
            topics.TAGS.record(tag("Never").id, None, timestamp_ms=at_ms),
            topics.TEMPLATES.record(template().id, template(), timestamp_ms=at_ms),
            topics.CONTACTS.record(KEY, _contact(at_ms), timestamp_ms=at_ms),
            topics.USERS.record("user", User(id="user", name="Jo"), timestamp_ms=at_ms),
            *(topics.DEAD_DELIVERIES.record(one.id, one, timestamp_ms=at_ms) for one in _dead(at_ms)),
            topics.DEAD_DELIVERIES.record(dead(2).id, None, timestamp_ms=at_ms),
        ]
    )


def _contact(at_ms: int) -> ContactsWritten:
    ines = ContactWrite(id="contact", base=0, contact=Contact(id="contact", display_name="Ines"))
    return ContactsWritten(id="contact-write", at_ms=at_ms, writes=(ines,))


def _dead(at_ms: int) -> list[DeadDelivery]:
    """Two dead letters of one delivery, one with a replay request, and one delivered after all."""
    return [dead(0), dead(0, died_at_ms=START_MS + 1), replace(dead(1), replay_requested_at_ms=at_ms), dead(2)]


async def _webhook(bus: Bus, name: str, at_ms: int) -> None:
    since = subscription_start(await bus.end_offsets(topics.CHANGE_TOPICS))
    made: Webhook = replace(webhook(f"http://127.0.0.1:1/{name}"), since=since)
    await bus.publish([topics.WEBHOOKS.record(made.id, made, timestamp_ms=at_ms)])


async def _raw(bus: Bus, random: Random, at_ms: int) -> None:
    others: list[Topic[Any]] = [topic for topic in topics.ALL if topic.retention == "time"]
    for topic in others:
        for number in range(20):
            headers = (("name", random.choice(AWKWARD)), ("name", b"again"), ("", b""))
            key = f"key-{random.randrange(8)}"
            body = AWKWARD[number % len(AWKWARD)]
            await bus.publish([topic.record(key, body, headers=headers[: number % 4], timestamp_ms=at_ms + number)])
    await bus.publish(
        [ProducerRecord(topics.ATTEMPTS.name, 3, b"\xff\x00", b"\x00", (), at_ms)]
    )  # a key that is not UTF-8


async def _commit_some(bus: Bus, group: str, *, share: float) -> None:
    """Commits up to a record in the middle of each partition."""
    offsets = {}
    starts, ends = await bus.beginning_offsets(topics.CHANGE_TOPICS), await bus.end_offsets(topics.CHANGE_TOPICS)
    for tp in starts:
        records = await records_of(bus, tp.topic, tp.partition)
        done = records[: round(len(records) * share)]
        if done:
            offsets[tp] = ends[tp] if len(done) == len(records) else done[-1].offset + 1
    if offsets:
        await commit(bus, group, offsets)


async def records_of(bus: Bus, topic: str, partition: int) -> list[Record]:
    starts, ends = await bus.beginning_offsets(topics.ALL), await bus.end_offsets(topics.ALL)
    found: list[Record] = []
    wanted = {tp: end for tp, end in ends.items() if tp == (topic, partition)}
    async with aclosing(read_partitions(bus, starts, wanted)) as batches:
        async for records in batches:
            found += records
    return found


async def everything(bus: Bus) -> list[list[tuple[object, ...]]]:
    """All records by partition, without offsets and subscription starts."""
    return [
        [
            (record.key, None if topic is topics.WEBHOOKS else record.value, record.headers, record.timestamp_ms)
            for record in await records_of(bus, *tp)
        ]
        for topic in ORDER
        for tp in topic.topic_partitions
    ]


async def exported(bus: Bus) -> tuple[bytes, ArchiveSummary]:
    file = BytesIO()

    async def write(data: bytes) -> None:
        file.write(data)

    summary = await export_log(bus, write)
    return file.getvalue(), summary


async def imported(bus: Bus, archive: bytes, *, resume: bool = False) -> None:
    contents = await inspect_archive(BytesIO(archive))
    await import_log(bus, BytesIO(archive), contents, resume=resume)


async def folded(bus: Bus) -> FoldDigest:
    return await fold_log(bus)

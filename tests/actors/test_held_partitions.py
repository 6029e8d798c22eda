"""A partition with a record that is newer than the process: nothing is folded past it, and nothing acts on it."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.partition_readiness import PartitionReadiness
from airy.actors.projector import Projector
from airy.actors.router import Router
from airy.actors.runtime import Context
from airy.actors.subscribers import Subscribers
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.bus.record_schema import PartitionHeld
from airy.model.fact import Fact
from airy.store.api import Applied
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat, webhook
from tests.kit.harness import Harness

FUTURE = 1_000  # a version no process knows


def newer(record: ProducerRecord, kind: str = "message.pinned", version: int = 1) -> ProducerRecord:
    return replace(record, headers=(("kind", kind.encode()), ("v", b"%d" % version)), value=b"{}")


def written(fact: Fact) -> ProducerRecord:
    return topics.EVENTS.record(fact.conversation_id, fact)


def partition_of(chat: Chat) -> TopicPartition:
    return TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))


def two_chats() -> tuple[Chat, Chat]:
    """In different partitions."""
    one = Chat(0)
    return one, next(chat for chat in map(Chat, range(1, 99)) if partition_of(chat) != partition_of(one))


async def published(harness: Harness, *records: ProducerRecord) -> Sequence[Position]:
    return await harness.bus.publish(records)


async def until_held(harness: Harness, tp: TopicPartition) -> None:
    with anyio.fail_after(60):
        while tp not in harness.projector.held:
            await anyio.sleep(0.1)


async def test_a_newer_record_holds_its_partition_and_the_others_go_on() -> None:
    harness, (one, two) = Harness(), two_chats()
    async with harness.open():
        below, held, above = await published(
            harness, written(one.received("a")), newer(written(one.received("b"))), written(one.received("c"))
        )
        await until_held(harness, held.topic_partition)
        await harness.append(two.received("other"))

        assert await harness.projector.wait_for_position(below, 5.0)
        assert await harness.store.message(two.inbound_id("other")) is not None
        assert await harness.store.message(one.inbound_id("c")) is None
        assert harness.projector.positions()[held.topic_partition] == held.offset
        began = anyio.current_time()
        for position in (held, above):
            with pytest.raises(PartitionHeld, match=r'record kind "message\.pinned" version 1 is newer'):
                await harness.projector.wait_for_position(position, 60.0)
        assert anyio.current_time() == began
        assert harness.projector.unprocessable == 0


async def test_a_held_partition_is_not_read_any_further() -> None:
    harness, chat = Harness(), Chat()
    applied: list[Position] = []
    async with harness.open():
        (held,) = await published(harness, newer(written(chat.received("a"))))
        await until_held(harness, held.topic_partition)
        apply = harness.store.apply

        async def recorded(records: Sequence[Record]) -> Applied:
            applied.extend(record.position for record in records)
            return await apply(records)

        harness.store.apply = recorded  # type: ignore[method-assign]
        await published(harness, *(written(chat.received(name)) for name in range(50)))
        await anyio.sleep(60)
    assert applied == []


async def test_a_wait_that_is_under_way_fails_when_the_partition_is_held() -> None:
    harness, chat = Harness(), Chat()
    async with harness.open():
        (first,) = await published(harness, written(chat.received("a")))
        assert await harness.projector.wait_for_position(first, 60.0)
        failed = anyio.Event()

        async def wait() -> None:
            with pytest.raises(PartitionHeld):
                await harness.projector.wait_for_position(replace_offset(first, 1_000), 600.0)
            failed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(1)
            await published(harness, newer(written(chat.received("b"))))
            with anyio.fail_after(60):
                await failed.wait()


def replace_offset(position: Position, offset: int) -> Position:
    return Position(position.topic, position.partition, offset)


async def test_a_process_that_starts_with_a_held_partition_becomes_current_in_the_others() -> None:
    harness, (one, two) = Harness(), two_chats()
    async with harness.open():
        await published(harness, newer(written(one.received("a"))), written(two.received("b")))
        await until_held(harness, partition_of(one))
        second = Projector(harness.bus, harness.store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.run, Context("store", clock=harness.clock, random=Random(0)))
            with anyio.fail_after(60):
                while not second.caught_up:
                    await anyio.sleep(0.1)
            assert second.held.keys() == {partition_of(one)}
            tasks.cancel_scope.cancel()


async def test_an_upgraded_process_continues_at_the_held_record_with_the_same_numbers(tmp_path: Path) -> None:
    """The older process does not know `state.changed`; then its store is opened by one that does."""
    known = topics.SCHEMAS[topics.EVENTS.name]
    older = {**topics.SCHEMAS, topics.EVENTS.name: known.without("state.changed")}
    harness, chat = Harness(), Chat()
    harness.store = SqliteStore(tmp_path / "store.db", schemas=older)
    harness.projector = Projector(harness.bus, harness.store)
    async with harness.open():
        facts = [chat.received("a"), chat.state_changed("OPEN"), chat.received("b"), chat.read()]
        positions = await published(harness, *map(written, facts))
        await until_held(harness, partition_of(chat))
        assert harness.projector.held[partition_of(chat)].position == positions[1]

    digests = []
    for store in (SqliteStore(tmp_path / "store.db"), SqliteStore(":memory:")):
        harness.store, harness.projector = store, Projector(harness.bus, store)
        async with harness.open():
            assert await harness.projector.wait_for_position(positions[-1], 60.0)
            assert harness.projector.facts == (3 if not digests else 4), "it starts at the held record"
            digests.append(await store.digest(changes=True))
    assert digests[0] == digests[1]


async def test_group_members_do_not_act_on_a_held_partition() -> None:
    harness, (one, two) = Harness(), two_chats()
    async with harness.open():
        readiness = PartitionReadiness(harness.bus, harness.projector, [topics.EVENTS])
        readiness.assigned([partition_of(one), partition_of(two)])
        await harness.append(one.received("a"), two.received("a"))
        both = sorted([partition_of(one), partition_of(two)])
        await anyio.sleep(6)
        assert await readiness.ready() == both

        await published(harness, newer(written(one.received("b"))))
        await until_held(harness, partition_of(one))

        assert await readiness.ready() == [partition_of(two)]


async def test_waiting_for_the_end_of_a_held_topic_ends_at_once() -> None:
    harness, (one, two) = Harness(), two_chats()
    async with harness.open():
        await published(harness, newer(written(one.received("a"))), written(two.received("a")))
        await until_held(harness, partition_of(one))
        began = anyio.current_time()

        wait = harness.projector.wait_until_current
        assert not await wait([topics.EVENTS], 60.0)
        assert not await wait([topics.EVENTS], 60.0, partition=partition_of(one).partition)
        assert anyio.current_time() == began
        assert await wait([topics.EVENTS], 60.0, partition=partition_of(two).partition)


async def test_webhooks_of_a_held_partition_are_not_read() -> None:
    harness, known = Harness(), webhook()
    async with harness.open():
        record = topics.WEBHOOKS.record(known.id, known)
        (position,) = await published(harness, newer(record, "webhook", FUTURE))
        await until_held(harness, position.topic_partition)
        subscribers = Subscribers(harness.bus, harness.store, harness.projector)

        for read in (subscribers.current, lambda: subscribers.webhook(known.id)):
            with pytest.raises(PartitionHeld):
                await read()
        other = next(name for name in map(str, range(99)) if topics.WEBHOOKS.partition(name) != position.partition)
        assert await subscribers.webhook(other) is None


async def test_the_router_stops_while_a_channel_is_not_readable() -> None:
    """With an old table it would park the events of a channel that exists, or route those of one that does not."""
    harness = Harness()
    raw = topics.source_events("facebook")
    async with harness.open(router=lambda: Router(harness.bus, harness.source, harness.directory)):
        await published(harness, newer(topics.CHANNELS.record(harness.channel.id, harness.channel), "channel", FUTURE))
        await anyio.sleep(5)
        await published(harness, raw.record("account", b'{"object":"page","entry":[]}'))
        await anyio.sleep(60)

        written_to = [topics.EVENTS, topics.parked_events("facebook"), topics.dead_letters(raw.name)]
        assert await harness.bus.end_offsets(written_to) == await harness.bus.beginning_offsets(written_to)
        assert not any((await harness.bus.committed("sources.facebook.router", [raw])).values())

"""A store that has forgotten changes nobody has published is built again, and nothing is skipped."""

from collections.abc import Callable

import anyio

from airy import topics
from airy.actors.runtime import Actor, Context
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue import NOTHING, Shard
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.bus.record import TopicPartition
from tests.kit.builders import Chat, webhook
from tests.kit.house import House


class Late:
    """An actor that begins when it is told to: a component that is switched on one day."""

    def __init__(self, begin: anyio.Event, start: Callable[[], Actor]) -> None:
        self._begin = begin
        self._start = start

    async def run(self, ctx: Context) -> None:
        if not self._begin.is_set():
            ctx.ready()
            with ctx.waiting():
                await self._begin.wait()
        await self._start().run(ctx)


async def queued_after(forgotten_below: int) -> tuple[list[str], House]:
    """Three messages are folded, changes below are forgotten, then a publisher comes: what it queues."""
    house, queue, begin, chat = House(), SqliteQueue(":memory:"), anyio.Event(), Chat()
    await queue.open()

    def publisher() -> Publisher:
        return Publisher(
            house.bus,
            house.store,
            house.follower,
            queue,
            forget=house.store.forget_changes,
            forgotten=house.store.forgotten,
            rebuild=house.follower.rebuild,
        )

    where = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))
    async with house.open(publisher=lambda: Late(begin, publisher)):
        one = webhook(events=("message.created",))
        await house._settled(await house.bus.publish([topics.WEBHOOKS.emit(one.id, one)]))
        await house.connect()
        await house.tell(chat.received("a"), chat.received("b"), chat.received("c"))
        await house.store.forget_changes({where: forgotten_below})
        begin.set()
        await anyio.sleep(60)
        assert await queue.last(Shard(*where)) != NOTHING
        found = []
        while jobs := await queue.claim(now_ms=house.clock.now_ms(), lease_ms=60_000, jobs_max=9, per_webhook_max=9):
            for job in jobs:
                found.append(job.entry.event_id)
                await queue.done(job)
    await queue.close()
    return found, house


async def test_nothing_is_skipped_that_the_store_has_forgotten_and_nobody_has_published() -> None:
    complete, _ = await queued_after(0)
    again, _ = await queued_after(2)

    assert len(complete) == 3
    assert again == complete


async def test_what_was_published_is_not_asked_for_again() -> None:
    """A queue that lost its tail names a place the store has forgotten: what is gone there was delivered."""
    house, queue, chat = House(), SqliteQueue(":memory:"), Chat()
    await queue.open()
    asked: list[str] = []

    def publisher() -> Publisher:
        return Publisher(
            house.bus,
            house.store,
            house.follower,
            queue,
            forget=house.store.forget_changes,
            forgotten=house.store.forgotten,
            rebuild=asked.append,
        )

    where = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))
    async with house.open(publisher=publisher):
        await house.connect()
        await house.tell(chat.received("a"), chat.received("b"))
        await anyio.sleep(30)
        assert (await house.store.forgotten())[where] == 2
        await queue.wipe()
        await house.tell(chat.received("c"))
        await anyio.sleep(30)

        assert (await queue.last(Shard(*where)))[0] == 2
        assert asked == []
    await queue.close()

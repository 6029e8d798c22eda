"""A store that has pruned unpublished changes is rebuilt, and no change is skipped."""

from collections.abc import Callable

import anyio

from airy import topics
from airy.actors.change_pruner import ChangePruner
from airy.actors.publisher import Publisher
from airy.actors.runtime import Actor, Context
from airy.bus.record import TopicPartition
from airy.change_readers import WEBHOOK_PUBLISHER
from airy.queue.api import NO_ENTRY, Shard
from airy.queue.sqlite import SqliteQueue
from tests.kit.builders import Chat, webhook
from tests.kit.harness import Harness


class Late:
    """An actor that starts later, like a component that is enabled after others."""

    def __init__(self, begin: anyio.Event, start: Callable[[], Actor]) -> None:
        self._begin = begin
        self._start = start

    async def run(self, ctx: Context) -> None:
        if not self._begin.is_set():
            ctx.ready()
            with ctx.waiting():
                await self._begin.wait()
        await self._start().run(ctx)


async def queued_after(forgotten_below: int) -> tuple[list[str], Harness]:
    """Folds three messages, prunes changes below the offset, then starts a publisher; returns what it queues."""
    harness, queue, begin, chat = Harness(), SqliteQueue(":memory:"), anyio.Event(), Chat()
    await queue.open()

    def publisher() -> Publisher:
        return Publisher(
            harness.bus,
            harness.store,
            harness.projector,
            queue,
            rebuild=harness.projector.rebuild,
        )

    tp = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))
    async with harness.open(publisher=lambda: Late(begin, publisher)):
        one = webhook(events=("message.created",))
        await harness._settled(await harness.bus.publish([topics.WEBHOOKS.record(one.id, one)]))
        await harness.connect()
        await harness.append(chat.received("a"), chat.received("b"), chat.received("c"))
        await harness.store.prune_changes({tp: forgotten_below})
        begin.set()
        await anyio.sleep(60)
        assert await queue.last(Shard(*tp)) != NO_ENTRY
        found = []
        while jobs := await queue.claim(now_ms=harness.clock.now_ms(), lease_ms=60_000, jobs_max=9, per_webhook_max=9):
            for job in jobs:
                found.append(job.entry.event_id)
                await queue.complete(job)
    await queue.close()
    return found, harness


async def test_changes_pruned_before_they_were_published_are_not_skipped() -> None:
    complete, _ = await queued_after(0)
    again, _ = await queued_after(2)

    assert len(complete) == 3
    assert again == complete


async def test_changes_pruned_after_they_were_published_need_no_rebuild() -> None:
    """A queue that lost its last entries names a position the store has pruned: those changes were delivered."""
    harness, queue, chat = Harness(), SqliteQueue(":memory:"), Chat()
    await queue.open()
    asked: list[str] = []

    def publisher() -> Publisher:
        return Publisher(
            harness.bus,
            harness.store,
            harness.projector,
            queue,
            rebuild=asked.append,
        )

    def pruner() -> ChangePruner:
        return ChangePruner(harness.bus, harness.store, [WEBHOOK_PUBLISHER])

    tp = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))
    async with harness.open(publisher=publisher, pruner=pruner):
        await harness.connect()
        await harness.append(chat.received("a"), chat.received("b"))
        await anyio.sleep(30)
        assert (await harness.store.pruned_below())[tp] == 2
        await queue.wipe()
        await harness.append(chat.received("c"))
        await anyio.sleep(30)

        assert (await queue.last(Shard(*tp)))[0] == 2
        assert asked == []
    await queue.close()

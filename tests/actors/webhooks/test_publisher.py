"""The publisher: everything that matches is queued once, whatever happens to it, to its rivals and to the queue."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
import structlog

from airy import topics
from airy.actors.runtime import Context
from airy.actors.webhooks.publisher import GROUP, Owned, Publisher
from airy.actors.webhooks.queue import NOTHING, Job, Mark, Shard, WebhookQueue
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.bus.faults import Faults
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.model.change import ChangeKind
from airy.store.api import Published
from tests.kit.contracts.queue import entry
from tests.kit.webhooks import Lossy, Outbox, acting, context, deliver_all, fact, logged, until, where
from tests.kit.world import run_seeded

LANE = "conversation"
HERE = where(LANE)
SHARD = Shard(*HERE)


class Sink:
    """Takes everything out of the queue and remembers it."""

    def __init__(self, queue: WebhookQueue, outbox: Outbox) -> None:
        self._queue = queue
        self._outbox = outbox
        self.jobs: list[Job] = []

    async def drain(self) -> None:
        while await deliver_all(self._queue, self._outbox.clock.now_ms(), self.jobs.append):
            pass

    def events(self, webhook_id: str = "a") -> list[str]:
        return [job.entry.event_id for job in self.jobs if job.webhook_id == webhook_id]


@asynccontextmanager
async def queueing(outbox: Outbox, **limits: int) -> AsyncIterator[tuple[SqliteQueue, Sink]]:
    queue = SqliteQueue(**limits)
    await queue.open()
    try:
        yield queue, Sink(queue, outbox)
    finally:
        await queue.close()


def publisher(outbox: Outbox, queue: WebhookQueue, **limits: float) -> Publisher:
    return Publisher(outbox.bus, outbox, outbox, queue, forget=outbox.forget_changes, **limits)


@asynccontextmanager
async def heard(actor: Publisher, outbox: Outbox) -> AsyncIterator[list[Any]]:
    """It runs inside; what it logs."""
    ctx, said = context("publisher", clock=outbox.clock), structlog.testing.LogCapture()
    ctx.log = structlog.wrap_logger(None, processors=[said])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(actor.run, ctx)
        yield said.entries
        ctx.draining.set()


async def settle(seconds: float = 10.0) -> None:
    await anyio.sleep(seconds)


# --- what is queued


async def test_changes_reach_the_queue_at_once_in_order_with_their_ids_and_bytes() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock),
    ):
        await outbox.subscribes("a")
        await settle()
        happened = [*await outbox.happens(), *await outbox.happens(changes=3), *await outbox.happens()]
        started = anyio.current_time()
        await until(lambda: outbox.version == outbox.version)
        await anyio.sleep(0.01)
        await sink.drain()
        assert sink.events() == happened
        assert anyio.current_time() - started < 0.1
        published = outbox.changed[HERE]
        assert [job.entry.body for job in sink.jobs] == [one.change.body for one in published]
        assert [job.entry.id for job in sink.jobs] == [(one.position.offset, one.nth) for one in published]
        assert topics.parse_position_token(sink.jobs[0].entry.position) == published[0].position


async def test_each_webhook_gets_its_kinds() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock),
    ):
        await outbox.subscribes("all")
        await outbox.subscribes("some", events=("MESSAGE_CREATED", "channel.updated"))
        await outbox.subscribes("off", status="Unsubscribed")
        created = await outbox.happens()
        updated = await outbox.happens(kind=ChangeKind.CONVERSATION_UPDATED)
        await settle()
        await sink.drain()
        assert sink.events("all") == [*created, *updated]
        assert sink.events("some") == created
        assert sink.events("off") == []


async def test_a_change_nobody_wants_only_moves_the_position() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, _), acting(publisher(outbox, queue), clock=outbox.clock):
        await outbox.happens(changes=2)
        await settle()
        assert (await queue.last(SHARD), await queue.low_water(SHARD)) == ((0, 1), (0, 2))
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 1


# --- from when on


async def test_a_subscription_gets_what_is_folded_from_then_on_however_old_the_message() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.happens()
        await outbox.subscribes("a")
        late = await outbox.happens(at_ms=1)
        async with acting(publisher(outbox, queue), clock=outbox.clock):
            await settle()
        await sink.drain()
        assert sink.events() == late


async def test_folding_history_again_delivers_nothing_from_before_the_subscription() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        for _ in range(5):
            await outbox.happens()
        await outbox.subscribes("a")
        for _ in range(2):
            await queue.wipe()
            async with acting(publisher(outbox, queue), clock=outbox.clock):
                await settle()
        await sink.drain()
        assert sink.events() == []


async def test_a_subscription_the_store_has_not_folded_yet_misses_nothing() -> None:
    """The event's partition is folded first; the subscription, written earlier, is folded a second later."""
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock),
    ):
        await settle()
        webhook = await outbox.subscribes("a", folded=False)
        happened = await outbox.happens()
        await settle(1)
        assert await queue.last(SHARD) == NOTHING
        (end,) = [at for at, end in (await outbox.bus.ends([topics.WEBHOOKS])).items() if end]
        outbox.fold_webhook(topics.Position(*end, 0), webhook)
        await settle(1)
        await sink.drain()
        assert sink.events() == happened


async def test_while_the_webhooks_cannot_be_known_the_publisher_waits_and_then_goes_on() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock) as (ctx,),
    ):
        webhook = await outbox.subscribes("a", folded=False)
        happened = await outbox.happens()
        await settle(60)
        assert await queue.last(SHARD) == NOTHING
        assert not ctx.draining.is_set()
        await outbox.writes(webhook)
        await settle(60)
        await sink.drain()
        assert sink.events() == happened


class Asked(SqliteQueue):
    """Remembers what was asked where shards are, and does not say it of some."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []  # of how many shards at once
        self.silent: set[Shard] = set()

    async def marks(self, shards: Sequence[Shard]) -> list[Mark | Unavailable]:
        self.asked.append(len(shards))
        found = await super().marks(shards)
        return [
            Unavailable("its node is away") if shard in self.silent else mark
            for shard, mark in zip(shards, found, strict=True)
        ]


async def test_where_the_queue_is_is_one_question_for_all_partitions_and_so_is_what_is_finished() -> None:
    partitions = sum(topic.partitions for topic in topics.TOLD)
    queue = Asked()
    await queue.open()
    async with logged() as outbox, acting(publisher(outbox, queue, audit_s=50, commit_s=50), clock=outbox.clock):
        await outbox.subscribes("a")
        await settle(30)
        assert queue.asked == [partitions]
        await settle(30)
        assert queue.asked == [partitions] * 3  # once more where it is, and what is finished
    await queue.close()


async def test_a_batch_that_was_all_there_is_makes_no_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    changes = Outbox.changes

    async def counted(self: Outbox, at: TopicPartition, **how: Any) -> list[Published]:
        nonlocal asked
        asked += at == HERE
        return await changes(self, at, **how)

    monkeypatch.setattr(Outbox, "changes", counted)
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue, changes_max=5), clock=outbox.clock),
    ):
        await outbox.subscribes("a")
        await settle()
        asked = 0
        happened = await outbox.happens(changes=3)
        await settle()
        assert asked == 1
        happened += await outbox.happens(changes=12)
        await settle()
        assert asked == 1 + 3
        await sink.drain()
        assert sink.events() == happened


async def test_what_was_too_much_for_one_round_comes_in_the_next_and_not_when_something_happens() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        lanes = list({where(name): name for name in map(str, range(99))}.values())[:10]
        happened = {one for name in lanes for one in await outbox.happens(name, changes=4)}
        async with acting(publisher(outbox, queue, changes_max=5, idle_s=1e6, audit_s=1e6), clock=outbox.clock):
            await settle()
        await sink.drain()
        assert set(sink.events()) == happened


async def test_a_partition_whose_place_in_the_queue_is_not_known_waits_alone() -> None:
    queue = Asked()
    await queue.open()
    async with logged() as outbox, acting(publisher(outbox, queue), clock=outbox.clock):
        await outbox.subscribes("a")
        other = next(name for name in map(str, range(99)) if where(name) != HERE)
        queue.silent = {SHARD}
        await outbox.happens()
        await outbox.happens(other)
        await settle()
        assert await queue.last(Shard(*where(other))) != NOTHING
        assert await queue.last(SHARD) == NOTHING
        queue.silent = set()
        await settle()
        assert await queue.last(SHARD) != NOTHING
    await queue.close()


# --- what is committed


async def test_only_what_is_delivered_is_committed_and_forgotten() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock),
    ):
        await outbox.subscribes("a")
        for _ in range(3):
            await outbox.happens()
        await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 0
        await deliver_all(queue, outbox.clock.now_ms(), sink.jobs.append, jobs_max=1)
        await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 1
        assert outbox.forgotten == {HERE: 1}
        await sink.drain()
        await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 3
        assert outbox.changed[HERE] == []


async def test_stopping_commits_what_is_finished() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        async with acting(publisher(outbox, queue, commit_s=1e9), clock=outbox.clock):
            await outbox.happens()
            await settle()
            await sink.drain()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 1


async def test_a_handed_over_partition_is_committed_first_and_goes_on_elsewhere() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        one, other = (publisher(outbox, queue, commit_s=1e9) for _ in range(2))
        async with acting(one, clock=outbox.clock):
            first = await outbox.happens()
            await settle()
            await sink.drain()
            async with acting(other, clock=outbox.clock):
                await settle()
                assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 1
                assert not one._owned.keys() & other._owned.keys()
                assert one._owned.keys() | other._owned.keys() == {
                    at for topic in (topics.EVENTS, topics.CHANNELS, topics.TAGS) for at in topic.where
                }
                second = await outbox.happens()
                await settle()
        await sink.drain()
        assert sink.events() == [*first, *second]


# --- what happens to the queue


async def test_after_losing_everything_only_the_undelivered_is_queued_again() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(Publisher(outbox.bus, outbox, outbox, queue), clock=outbox.clock),  # nothing is forgotten
    ):
        await outbox.subscribes("a")
        await outbox.happens()
        await settle()
        await sink.drain()
        undelivered = [*await outbox.happens(), *await outbox.happens()]
        await settle()
        await queue.wipe()
        sink.jobs.clear()
        await settle(3)  # nothing new comes: the idle audit has to notice
        await sink.drain()
        assert sink.events() == undelivered


@pytest.mark.parametrize("offset", [0, 50], ids=["within the log", "beyond the log"])
async def test_the_queue_of_another_log_is_not_taken_for_ours(offset: int) -> None:
    """All of our log would pass for queued long ago, and then be committed as delivered."""
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        await queue.put(SHARD, [entry(offset, "a")], after=NOTHING)
        await sink.drain()
        happened = [*await outbox.happens(), *await outbox.happens()]
        for _ in range(2):  # a restart changes nothing
            async with heard(publisher(outbox, queue), outbox) as said:
                elsewhere = await outbox.happens("another lane")
                await settle()
            await sink.drain()
            assert sink.events()[-1:] == elsewhere, "other partitions do not wait"
            assert HERE not in await outbox.bus.committed(GROUP, topics.FOLDED)
            warning = next(line["error"] for line in said if line["event"] == "publisher.waits")
            assert f"{HERE.topic}[{HERE.partition}] up to offset {offset}, and" in warning
        await queue.wipe()
        async with heard(publisher(outbox, queue), outbox) as said:
            await settle()
        await sink.drain()
        assert [one for one in sink.events() if one in happened] == happened
        assert not [line for line in said if line["event"] == "publisher.waits"]


async def test_a_log_that_was_made_anew_under_the_old_commits_is_noticed() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, _):
        await outbox.subscribes("a")
        async with acting(publisher(outbox, queue), clock=outbox.clock):
            await settle()
        await queue.put(SHARD, [entry(50)], after=NOTHING)  # nobody wants it: delivered
        await outbox.happens()
        async with heard(publisher(outbox, queue), outbox) as said:
            await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 0
        warning = next(line["error"] for line in said if line["event"] == "publisher.waits")
        assert "up to offset 50, and the log ends at 1" in warning


async def test_the_queue_may_be_further_than_a_store_that_lags() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        async with heard(publisher(outbox, queue), outbox) as said:
            await settle()
            positions = await outbox.bus.publish([fact(LANE)] * 3)
            await queue.put(SHARD, [entry(2, "a")], after=NOTHING)  # by somebody who had folded it
            await settle()
            for position in positions:
                outbox.fold(position, LANE)
            after = await outbox.happens()
            await settle()
            await sink.drain()
        assert sink.events() == ["event 2-0", *after]
        assert [line for line in said if line["event"] == "publisher.waits"] == []


async def test_a_queue_that_is_put_in_the_place_of_ours_has_nothing_committed() -> None:
    """Between two looks at where it is."""
    async with logged() as outbox, queueing(outbox) as (queue, _):
        await outbox.subscribes("a")
        one = publisher(outbox, queue, audit_s=1e9)
        async with acting(one, clock=outbox.clock):
            await outbox.happens()
            await settle()
            await queue.wipe()
            await queue.put(SHARD, [entry(50)], after=NOTHING)  # and nobody wants it: delivered
            await settle()
            assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 0


async def test_a_tail_that_was_lost_while_idle_is_queued_again() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock),
    ):
        await outbox.subscribes("a")
        first = await outbox.happens()
        await settle()
        image = snapshot(queue)
        second = await outbox.happens()
        await settle()
        roll_back(queue, image)
        await settle(3)
        await sink.drain()
        assert sink.events() == [*first, *second]


async def test_a_full_queue_makes_the_publisher_wait_and_nothing_is_lost() -> None:
    async with (
        logged() as outbox,
        queueing(outbox, jobs_max=3) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock) as (ctx,),
    ):
        await outbox.subscribes("a")
        happened = [event for _ in range(10) for event in await outbox.happens()]
        await settle()
        assert (await queue.stats()).waiting == 3
        for _ in range(10):
            await sink.drain()
            await settle()
        assert sink.events() == happened
        assert not ctx.draining.is_set()


@pytest.mark.parametrize("loss", [0.0, 0.3])
async def test_answers_that_get_lost_neither_double_nor_skip(loss: float) -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        lossy = Lossy(queue, Random(7), loss=loss, pause_s=0.2)
        async with acting(publisher(outbox, lossy), clock=outbox.clock):
            await outbox.subscribes("a")
            happened = []
            for _ in range(30):
                happened += await outbox.happens()
                await anyio.sleep(0.3)
            await settle(60)
        await sink.drain()
        assert sink.events() == happened


async def test_a_membership_that_failed_is_not_kept() -> None:
    """Only a new one helps: a publisher that waited inside the old one would own nothing for ever."""
    async with logged() as outbox, queueing(outbox) as (queue, _):
        outbox.bus._faults = Faults(Random(3), rates={("fetch", "unavailable"): 1.0})
        with anyio.fail_after(60), pytest.raises(Unavailable):
            await publisher(outbox, queue).run(context("publisher", clock=outbox.clock))


class Restarted:
    """As the supervisor does it: what ended because something was unavailable is made anew."""

    def __init__(self, make: Callable[[], Publisher]) -> None:
        self._make = make

    async def run(self, ctx: Context) -> None:
        while not ctx.draining.is_set():
            try:
                await self._make().run(ctx)
            except Unavailable:
                await anyio.sleep(0.2)


async def test_a_log_that_is_unavailable_now_and_then_delays_but_loses_nothing() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        faults = outbox.bus._faults = Faults(
            Random(3), rates={("commit", "unavailable"): 0.5, ("fetch", "unavailable"): 0.1}
        )
        async with acting(Restarted(lambda: publisher(outbox, queue)), clock=outbox.clock):
            await outbox.subscribes("a")
            happened = []
            for _ in range(20):
                happened += await outbox.happens()
                await anyio.sleep(1)
                await sink.drain()
            faults.calm()
            await settle(30)
        await sink.drain()
        assert sink.events() == happened
        assert faults.struck


# --- everything at once


def snapshot(queue: SqliteQueue) -> bytes:
    with queue._file.reading() as connection:
        return connection.serialize("main")


def roll_back(queue: SqliteQueue, image: bytes) -> None:
    with queue._file.reading() as connection:
        connection.deserialize("main", image)
    queue._forget_names()


async def _history(seed: int, publisher_type: type[Publisher]) -> tuple[set[str], list[Job]]:
    """Three publishers that come, freeze and go, lost answers, a queue that loses its tail or everything."""
    random = Random(seed)
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        happened: list[str] = []
        await outbox.subscribes("a")

        def make() -> Publisher:
            lossy = Lossy(queue, random, loss=0.05, pause_s=random.choice([0.01, 0.5]))
            return publisher_type(outbox.bus, outbox, outbox, lossy, forget=outbox.forget_changes, commit_s=1.0)

        async def write() -> None:
            for _ in range(40):
                happened.extend(await outbox.happens(random.choice("xyz"), changes=random.randint(1, 2)))
                await anyio.sleep(random.random() * 2)

        async def come_and_go() -> None:
            for _ in range(4):
                async with acting(make(), clock=outbox.clock, seed=seed):
                    await anyio.sleep(random.random() * 15)

        async def consume() -> None:
            while True:
                await anyio.sleep(random.random() * 3)
                await deliver_all(queue, outbox.clock.now_ms(), sink.jobs.append, jobs_max=random.randint(1, 8))

        async def fail() -> None:
            images = [snapshot(queue)]
            for _ in range(6):
                await anyio.sleep(random.random() * 15)
                images.append(snapshot(queue))
                await anyio.sleep(random.random() * 5)
                if random.random() < 0.2:
                    await queue.wipe()
                else:
                    roll_back(queue, images[-1])

        async with anyio.create_task_group() as everything:
            everything.start_soon(consume)
            async with anyio.create_task_group() as tasks:
                for task in (write, come_and_go, come_and_go, come_and_go, fail):
                    tasks.start_soon(task)
            async with acting(make(), clock=outbox.clock, seed=seed):
                await anyio.sleep(5)
                image = snapshot(queue)
                happened.extend(await outbox.happens("x"))
                await anyio.sleep(random.random())
                roll_back(queue, image)  # the last word is with a publisher that is idle by now
                await anyio.sleep(60)
                await sink.drain()
            everything.cancel_scope.cancel()
        return set(happened), sink.jobs


@pytest.mark.parametrize("seed", range(12))
def test_zombies_lost_answers_and_rollbacks_lose_nothing(seed: int) -> None:
    happened, jobs = run_seeded(seed, _history, seed, Publisher)
    assert happened == {job.entry.event_id for job in jobs}


class Trusting(Publisher):
    """Planted bug: it goes on at its own position and never asks an idle queue."""

    def _doubted(self, owned: Owned, now: float) -> bool:
        return owned.after is None


class Hasty(Publisher):
    """Planted bug: what is queued counts as finished."""

    def _finished(self, owned: Owned, mark: Mark) -> int:
        return mark.last[0]


@pytest.mark.parametrize("bug", [Trusting, Hasty])
def test_the_history_finds_planted_bugs(bug: type[Publisher]) -> None:
    def loses(seed: int) -> bool:
        happened, jobs = run_seeded(seed, _history, seed, bug)
        return happened != {job.entry.event_id for job in jobs}

    assert any(loses(seed) for seed in range(40))

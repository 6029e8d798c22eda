"""The publisher: every matching change is queued once, despite failures of publishers, log and queue."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import pytest
import structlog

from airy import topics
from airy.actors.change_pruner import ChangePruner
from airy.actors.change_sink import AssignedPartition, ReaderLimits
from airy.actors.publisher import POSITION_CHECK_S, Publisher
from airy.actors.runtime import Context
from airy.bus.memory import Faults
from airy.bus.record import TopicPartition
from airy.change_readers import WEBHOOK_PUBLISHER
from airy.errors import Unavailable
from airy.model.change import ChangeKind
from airy.queue.api import NO_ENTRY, Job, QueuePosition, Shard, WebhookQueue
from airy.queue.sqlite import SqliteQueue
from airy.store.api import StoredChange
from tests.kit.contracts.queue import entry
from tests.kit.event_loops import run_seeded
from tests.kit.webhooks import Lossy, Outbox, acting, context, deliver_all, fact, logged, no_rebuild, tp_of, until

GROUP = WEBHOOK_PUBLISHER.group
LANE = "conversation"
HERE = tp_of(LANE)
SHARD = Shard(*HERE)


class Sink:
    """Completes every job of the queue and keeps it."""

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


def publisher(
    outbox: Outbox, queue: WebhookQueue, *, position_check_s: float = POSITION_CHECK_S, **limits: float
) -> Publisher:
    return Publisher(
        outbox.bus,
        outbox,
        outbox,
        queue,
        rebuild=no_rebuild,
        limits=ReaderLimits(**limits),
        position_check_s=position_check_s,
    )


class PrunableOutbox:
    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.prune_changes = outbox.prune_changes

    async def positions(self) -> dict[TopicPartition, int]:
        return dict(self._outbox.positions())


def pruner(outbox: Outbox) -> ChangePruner:
    return ChangePruner(outbox.bus, PrunableOutbox(outbox), [WEBHOOK_PUBLISHER], period_s=1.0)


@asynccontextmanager
async def logged_events(actor: Publisher, outbox: Outbox) -> AsyncIterator[list[Any]]:
    """Runs the publisher; yields its log events."""
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
    """WHK-1, N7."""
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


async def test_a_change_without_subscribers_only_moves_the_position() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, _), acting(publisher(outbox, queue), clock=outbox.clock):
        await outbox.happens(changes=2)
        await settle()
        assert (await queue.last(SHARD), await queue.low_water(SHARD)) == ((0, 1), (0, 2))
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 1


# --- the start of a subscription


async def test_a_subscription_receives_what_is_folded_after_it_however_old_the_message() -> None:
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


async def test_a_subscription_that_is_not_folded_yet_misses_no_change() -> None:
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
        assert await queue.last(SHARD) == NO_ENTRY
        (end,) = [at for at, end in (await outbox.bus.end_offsets([topics.WEBHOOKS])).items() if end]
        outbox.fold_webhook(topics.Position(*end, 0), webhook)
        await settle(1)
        await sink.drain()
        assert sink.events() == happened


async def test_the_publisher_waits_while_the_list_of_webhooks_is_unavailable() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock) as (ctx,),
    ):
        webhook = await outbox.subscribes("a", folded=False)
        happened = await outbox.happens()
        await settle(60)
        assert await queue.last(SHARD) == NO_ENTRY
        assert not ctx.draining.is_set()
        await outbox.writes(webhook)
        await settle(60)
        await sink.drain()
        assert sink.events() == happened


class Asked(SqliteQueue):
    """Records which positions were read, and fails for some shards."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []  # shards per request
        self.silent: set[Shard] = set()

    async def positions(self, shards: Sequence[Shard]) -> list[QueuePosition | Unavailable]:
        self.asked.append(len(shards))
        found = await super().positions(shards)
        return [
            Unavailable("its node is away") if shard in self.silent else mark
            for shard, mark in zip(shards, found, strict=True)
        ]


async def test_positions_and_low_water_marks_of_all_partitions_are_one_request() -> None:
    partitions = sum(topic.partitions for topic in topics.CHANGE_TOPICS)
    queue = Asked()
    await queue.open()
    async with (
        logged() as outbox,
        acting(publisher(outbox, queue, position_check_s=50, commit_s=50), clock=outbox.clock),
    ):
        await outbox.subscribes("a")
        await settle(30)
        assert queue.asked == [partitions]
        await settle(30)
        assert queue.asked == [partitions] * 3  # one more check, and one commit
    await queue.close()


async def test_a_batch_that_drains_a_partition_causes_no_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    changes = Outbox.changes

    async def counted(self: Outbox, at: TopicPartition, **how: Any) -> list[StoredChange]:
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


async def test_changes_beyond_one_round_are_queued_in_the_next_without_a_new_change() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        lanes = list({tp_of(name): name for name in map(str, range(99))}.values())[:10]
        happened = {one for name in lanes for one in await outbox.happens(name, changes=4)}
        async with acting(
            publisher(outbox, queue, changes_max=5, idle_s=1e6, position_check_s=1e6), clock=outbox.clock
        ):
            await settle()
        await sink.drain()
        assert set(sink.events()) == happened


async def test_a_partition_with_an_unknown_position_does_not_delay_the_others() -> None:
    queue = Asked()
    await queue.open()
    async with logged() as outbox, acting(publisher(outbox, queue), clock=outbox.clock):
        await outbox.subscribes("a")
        other = next(name for name in map(str, range(99)) if tp_of(name) != HERE)
        queue.silent = {SHARD}
        await outbox.happens()
        await outbox.happens(other)
        await settle()
        assert await queue.last(Shard(*tp_of(other))) != NO_ENTRY
        assert await queue.last(SHARD) == NO_ENTRY
        queue.silent = set()
        await settle()
        assert await queue.last(SHARD) != NO_ENTRY
    await queue.close()


# --- commits


async def test_only_delivered_changes_are_committed_and_pruned() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), pruner(outbox), clock=outbox.clock),
    ):
        await outbox.subscribes("a")
        for _ in range(3):
            await outbox.happens()
        await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 0
        await deliver_all(queue, outbox.clock.now_ms(), sink.jobs.append, jobs_max=1)
        await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 1
        assert outbox.pruned[HERE] == 1
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


async def test_a_revoked_partition_is_committed_and_continued_by_its_next_owner() -> None:
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
                assert not one._delivery.assigned.keys() & other._delivery.assigned.keys()
                assert one._delivery.assigned.keys() | other._delivery.assigned.keys() == {
                    at for topic in (topics.EVENTS, topics.CHANNELS, topics.TAGS) for at in topic.topic_partitions
                }
                second = await outbox.happens()
                await settle()
        await sink.drain()
        assert sink.events() == [*first, *second]


# --- failures of the queue


async def test_after_a_wipe_only_undelivered_changes_are_queued_again() -> None:
    async with (
        logged() as outbox,
        queueing(outbox) as (queue, sink),
        acting(publisher(outbox, queue), clock=outbox.clock),  # nothing is pruned
    ):
        await outbox.subscribes("a")
        await outbox.happens()
        await settle()
        await sink.drain()
        undelivered = [*await outbox.happens(), *await outbox.happens()]
        await settle()
        await queue.wipe()
        sink.jobs.clear()
        await settle(3)  # without a new change, the check of the position has to detect it
        await sink.drain()
        assert sink.events() == undelivered


@pytest.mark.parametrize("offset", [0, 50], ids=["within the log", "beyond the log"])
async def test_a_queue_filled_from_another_log_is_detected(offset: int) -> None:
    """Otherwise every change of this log would look queued already, and would then be committed as delivered."""
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        await queue.put(SHARD, [entry(offset, "a")], after=NO_ENTRY)
        await sink.drain()
        happened = [*await outbox.happens(), *await outbox.happens()]
        for _ in range(2):  # also after a restart
            async with logged_events(publisher(outbox, queue), outbox) as said:
                elsewhere = await outbox.happens("another lane")
                await settle()
            await sink.drain()
            assert sink.events()[-1:] == elsewhere, "other partitions do not wait"
            assert HERE not in await outbox.bus.committed(GROUP, topics.FOLDED)
            warning = next(line["error"] for line in said if line["event"] == "publisher.backpressure")
            assert f"{HERE.topic}[{HERE.partition}] up to offset {offset}, and" in warning
        await queue.wipe()
        async with logged_events(publisher(outbox, queue), outbox) as said:
            await settle()
        await sink.drain()
        assert [one for one in sink.events() if one in happened] == happened
        assert not [line for line in said if line["event"] == "publisher.backpressure"]


async def test_a_new_log_under_the_old_commits_is_detected() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, _):
        await outbox.subscribes("a")
        async with acting(publisher(outbox, queue), clock=outbox.clock):
            await settle()
        await queue.put(SHARD, [entry(50)], after=NO_ENTRY)  # without subscribers: counts as delivered
        await outbox.happens()
        async with logged_events(publisher(outbox, queue), outbox) as said:
            await settle()
        assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 0
        warning = next(line["error"] for line in said if line["event"] == "publisher.backpressure")
        assert "up to offset 50, and the log ends at 1" in warning


async def test_the_queue_may_be_ahead_of_a_lagging_store() -> None:
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        await outbox.subscribes("a")
        async with logged_events(publisher(outbox, queue), outbox) as said:
            await settle()
            positions = await outbox.bus.publish([fact(LANE)] * 3)
            await queue.put(SHARD, [entry(2, "a")], after=NO_ENTRY)  # by a process that had folded it
            await settle()
            for position in positions:
                outbox.fold(position, LANE)
            after = await outbox.happens()
            await settle()
            await sink.drain()
        assert sink.events() == ["event 2-0", *after]
        assert [line for line in said if line["event"] == "publisher.backpressure"] == []


async def test_nothing_is_committed_from_a_queue_that_was_replaced() -> None:
    """Between two checks of the position."""
    async with logged() as outbox, queueing(outbox) as (queue, _):
        await outbox.subscribes("a")
        one = publisher(outbox, queue, position_check_s=1e9)
        async with acting(one, clock=outbox.clock):
            await outbox.happens()
            await settle()
            await queue.wipe()
            await queue.put(SHARD, [entry(50)], after=NO_ENTRY)  # without subscribers: counts as delivered
            await settle()
            assert (await outbox.bus.committed(GROUP, topics.FOLDED))[HERE] == 0


async def test_entries_lost_while_idle_are_queued_again() -> None:
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
async def test_lost_answers_neither_duplicate_nor_skip(loss: float) -> None:
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


async def test_a_failed_membership_crashes_the_publisher() -> None:
    """Only a new membership helps: a publisher that stayed in the old one would own no partition for ever."""
    async with logged() as outbox, queueing(outbox) as (queue, _):
        outbox.bus._faults = Faults(Random(3), rates={("fetch", "unavailable"): 1.0})
        with anyio.fail_after(60), pytest.raises(Unavailable):
            await publisher(outbox, queue).run(context("publisher", clock=outbox.clock))


class Restarted:
    """Restarts the actor after `Unavailable`, as its supervisor does."""

    def __init__(self, make: Callable[[], Publisher]) -> None:
        self._make = make

    async def run(self, ctx: Context) -> None:
        while not ctx.draining.is_set():
            try:
                await self._make().run(ctx)
            except Unavailable:
                await anyio.sleep(0.2)


async def test_an_intermittently_unavailable_log_delays_and_loses_nothing() -> None:
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
            faults.clear()
            await settle(30)
        await sink.drain()
        assert sink.events() == happened
        assert faults.injected


# --- random histories


def snapshot(queue: SqliteQueue) -> bytes:
    with queue._file.reading() as connection:
        return connection.serialize("main")


def roll_back(queue: SqliteQueue, image: bytes) -> None:
    with queue._file.reading() as connection:
        connection.deserialize("main", image)
    queue._webhooks.clear()


async def _history(seed: int, publisher_type: type[Publisher]) -> tuple[set[str], list[Job]]:
    """Three publishers that start, freeze and stop, lost answers, a queue that loses its last entries or everything."""
    random = Random(seed)
    async with logged() as outbox, queueing(outbox) as (queue, sink):
        happened: list[str] = []
        await outbox.subscribes("a")

        def make() -> Publisher:
            lossy = Lossy(queue, random, loss=0.05, pause_s=random.choice([0.01, 0.5]))
            limits = ReaderLimits(commit_s=1.0)
            return publisher_type(outbox.bus, outbox, outbox, lossy, rebuild=no_rebuild, limits=limits)

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
            everything.start_soon(pruner(outbox).run, context("pruner", clock=outbox.clock))
            async with anyio.create_task_group() as tasks:
                for task in (write, come_and_go, come_and_go, come_and_go, fail):
                    tasks.start_soon(task)
            async with acting(make(), clock=outbox.clock, seed=seed):
                await anyio.sleep(5)
                image = snapshot(queue)
                happened.extend(await outbox.happens("x"))
                await anyio.sleep(random.random())
                roll_back(queue, image)  # the publisher is idle by now
                await anyio.sleep(60)
                await sink.drain()
            everything.cancel_scope.cancel()
        return set(happened), sink.jobs


@pytest.mark.parametrize("seed", range(12))
def test_fenced_publishers_lost_answers_and_rollbacks_lose_nothing(seed: int) -> None:
    happened, jobs = run_seeded(seed, _history, seed, Publisher)
    assert happened == {job.entry.event_id for job in jobs}


class Trusting(Publisher):
    """Planted bug: never checks the position of an idle queue."""

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options, position_check_s=float("inf"))


class Hasty(Publisher):
    """Planted bug: treats queued changes as finished."""

    def _finished(self, assigned: AssignedPartition, position: QueuePosition) -> int:
        return position.last[0]


@pytest.mark.parametrize("bug", [Trusting, Hasty])
def test_the_history_finds_planted_bugs(bug: type[Publisher]) -> None:
    def loses(seed: int) -> bool:
        happened, jobs = run_seeded(seed, _history, seed, bug)
        return happened != {job.entry.event_id for job in jobs}

    assert any(loses(seed) for seed in range(40))

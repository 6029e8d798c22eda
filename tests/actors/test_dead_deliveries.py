"""A dead delivery is in the log before the queue removes it, so no failure of the queue loses it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors import dead_deliveries
from airy.actors.change_sink import ReaderLimits
from airy.actors.dead_deliveries import ROUND_S, DeadDeliveries
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.publisher import Publisher
from airy.bus.record import Position, ProducerRecord
from airy.errors import Unavailable
from airy.http_client import Response
from airy.model.dead_delivery import DeadDelivery
from airy.queue.api import NO_ENTRY, EntryId, Job, Shard
from airy.queue.sqlite import SqliteQueue
from airy.webhooks.dead_letter import KEEP_MS, dead_letter_record, replay_entry
from airy.webhooks.retry import ATTEMPTS_MAX
from tests.kit.builders import dead
from tests.kit.contracts.queue import entry
from tests.kit.event_loops import asyncio_backend
from tests.kit.webhooks import (
    SEALER,
    Endpoints,
    Outbox,
    Request,
    acting,
    answers,
    context,
    logged,
    no_rebuild,
    until,
)

DAY_S = 86_400
HERE = Shard(topics.EVENTS.name, 0)


class Watched(SqliteQueue):
    """Calls a hook before and after each dead letter."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[Job], Awaitable[None]] | None = None
        self.after: Callable[[Job], Awaitable[None]] | None = None

    async def dead_letter(self, job: Job, *, now_ms: int) -> bool:
        if self.before is not None:
            await self.before(job)
        answer = await super().dead_letter(job, now_ms=now_ms)
        if self.after is not None:
            await self.after(job)
        return answer


class Setup:
    """A queue, endpoints, a log and its fold."""

    def __init__(self, outbox: Outbox, queue: Watched) -> None:
        self.outbox = outbox
        self.queue = queue
        self.endpoints = Endpoints()
        self.last: EntryId = NO_ENTRY

    @property
    def now_ms(self) -> int:
        return self.outbox.clock.now_ms()

    def dispatcher(self, **limits: float) -> Dispatcher:
        return Dispatcher(
            self.outbox.bus,
            self.outbox,
            self.outbox,
            self.queue,
            self.endpoints,
            sealer=SEALER,
            disable_webhook=self.outbox.disable_webhook,
            wait_for_arrival=self.queue.wait_for_arrival,
            limits=DispatcherLimits(**{"poll_s": DAY_S, **limits}),
        )

    async def put_worn(self, *, count: int = 1, lane: str = "", attempts: int = ATTEMPTS_MAX - 1) -> list[str]:
        """Puts deliveries to `a` whose next failure is the last."""
        first = self.last[0] + 1
        entries = [entry(number, "a", lane=lane) for number in range(first, first + count)]
        await self.queue.put(HERE, entries, after=self.last)
        self.last = entries[-1].id
        for _ in range(attempts):
            jobs = await self.queue.claim(now_ms=self.now_ms, lease_ms=1, jobs_max=count, per_webhook_max=count)
            assert len(jobs) == (1 if lane else count)
            await anyio.sleep(0.01)
        return [f"{one.event_id}:a" for one in entries]

    async def request_replay(self, delivery_id: str, *, at_ms: int | None = None, put: bool = True) -> None:
        """Requests a replay as the API does."""
        records = await self.outbox.dead_deliveries_of(delivery_id)
        if not records:  # delivered meanwhile
            return
        one = records[0]
        requested = replace(one, replay_requested_at_ms=self.now_ms if at_ms is None else at_ms)
        (position,) = await self.outbox.bus.publish([dead_letter_record(requested)])
        if put:
            shard, its_entry = replay_entry(requested, position)
            await self.queue.replay(shard, its_entry, now_ms=self.now_ms)

    async def dead(self) -> list[DeadDelivery]:
        """Every dead delivery in the log, oldest first."""
        await self.outbox.dead_deliveries_of("")
        return sorted(self.outbox.dead.values(), key=lambda one: (one.died_at_ms, one.id))

    async def empty(self) -> bool:
        stats = await self.queue.stats()
        return (stats.waiting, stats.leased) == (0, 0)


@asynccontextmanager
async def running(behaviour: int = 500) -> AsyncIterator[Setup]:
    async with logged() as outbox:
        queue = Watched()
        await queue.open()
        made = Setup(outbox, queue)
        await outbox.subscribes("a")
        made.endpoints.behave("a", answers(behaviour))
        yield made
        await queue.close()


# --- dead letters


async def test_a_dead_delivery_is_in_the_log_before_the_queue_removes_it() -> None:
    async with running() as here:
        seen: list[tuple[list[str], EntryId]] = []

        async def look(_: Job) -> None:
            seen.append(([one.delivery_id for one in await here.dead()], await here.queue.low_water(HERE)))

        here.queue.before = look
        (name,) = await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        assert seen == [([name], (0, 0))]
        assert await here.empty()
        (one,) = await here.dead()
        whole = entry(0, "a")
        assert (one.event_id, one.webhook_id, one.kind, one.lane) == (whole.event_id, "a", whole.kind, whole.lane)
        assert (one.topic, one.partition, one.at_ms, bytes(one.body)) == (
            *_topic_partition(HERE),
            whole.at_ms,
            whole.body,
        )
        assert (one.attempts, one.reason) == (10, "10 attempts failed; the last: answered 500")


def _topic_partition(shard: Shard) -> tuple[str, int]:
    return shard.topic, shard.partition


async def test_a_dead_letter_is_retried_while_the_log_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as here:
        publish = here.outbox.bus.publish

        async def away(records: Sequence[ProducerRecord]) -> Sequence[Position]:
            if any(record.topic == topics.DEAD_DELIVERIES.name for record in records):
                raise Unavailable("the log is away")
            return await publish(records)

        monkeypatch.setattr(here.outbox.bus, "publish", away)
        await here.put_worn(count=3)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(150)
            assert (await here.queue.stats()).waiting == 3
            assert await here.queue.low_water(HERE) == (0, 0)
            assert len(here.endpoints.requests) == 3 * 3, "once a minute, no more"
            monkeypatch.setattr(here.outbox.bus, "publish", publish)
            await anyio.sleep(120)
        assert await here.empty()
        assert len(await here.dead()) == 3


async def test_a_crash_between_log_and_queue_writes_a_second_record_of_the_same_delivery() -> None:
    async with running() as here:

        async def crash(_: Job) -> None:
            raise RuntimeError("killed")

        here.queue.before = crash
        (name,) = await here.put_worn()
        with pytest.raises(ExceptionGroup):
            async with acting(here.dispatcher(), clock=here.outbox.clock):
                await anyio.sleep(5)
        here.queue.before = None
        assert not await here.empty()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(120)
        assert await here.empty()
        first, second = await here.dead()
        assert first.delivery_id == second.delivery_id == name
        assert first.died_at_ms < second.died_at_ms
        assert await here.outbox.dead_deliveries_of(name) == [second, first]


async def test_a_dead_delivery_that_succeeds_after_all_is_deleted() -> None:
    async with running() as here:

        async def crash(_: Job) -> None:
            raise RuntimeError("killed")

        here.queue.before = crash
        await here.put_worn()
        with pytest.raises(ExceptionGroup):
            async with acting(here.dispatcher(), clock=here.outbox.clock):
                await anyio.sleep(5)
        assert len(await here.dead()) == 1
        here.endpoints.behave("a", answers(200))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(120)
        assert (await here.empty(), await here.dead()) == (True, [])


async def test_a_dispatcher_without_the_lease_deletes_its_dead_letter_again() -> None:
    async with running() as here:

        async def overtaken(_: Job) -> None:
            """Its lease has expired, and another dispatcher has the job."""
            here.queue.before = None
            jobs = await here.queue.claim(
                now_ms=here.now_ms + 10_000_000, lease_ms=1_000, jobs_max=1, per_webhook_max=9
            )
            assert len(jobs) == 1

        here.queue.before = overtaken
        await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        assert not await here.empty()
        assert await here.dead() == []


async def test_a_dead_letter_whose_answer_was_lost_is_kept() -> None:
    async with running() as here:

        async def lost(_: Job) -> None:
            here.queue.after = None
            raise Unavailable("the answer was lost")

        here.queue.after = lost
        await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        assert await here.empty()
        assert len(await here.dead()) == 1


async def test_dead_letters_of_one_moment_are_published_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(behaviour=400) as here:
        sizes: list[int] = []
        publish = here.outbox.bus.publish

        async def counted(records: Sequence[ProducerRecord]) -> Sequence[Position]:
            if records[0].topic == topics.DEAD_DELIVERIES.name:
                sizes.append(len(records))
            return await publish(records)

        monkeypatch.setattr(here.outbox.bus, "publish", counted)
        await here.put_worn(count=150)
        async with acting(here.dispatcher(in_flight_max=200, per_webhook_max=200), clock=here.outbox.clock):
            await anyio.sleep(60)
        assert await here.empty()
        assert sum(sizes) == len(await here.dead()) == 150
        assert len(sizes) <= 15
        assert max(sizes) <= dead_deliveries.BATCH_MAX


@pytest.mark.slow
async def test_a_dead_letter_too_large_for_the_log_is_logged_and_its_lane_continues(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as here:
        storage = here.outbox.bus._storage
        monkeypatch.setattr(storage, "_limits", replace(storage._limits, record_bytes_max=700))
        await here.put_worn(lane="one", attempts=ATTEMPTS_MAX - 1)
        big = replace(entry(1, "a", lane="one"), body=b'{"text":"%b"}' % (b"x" * 600))
        await here.queue.put(HERE, [big, entry(2, "a", lane="one")], after=(0, 0))
        async with acting(here.dispatcher(), clock=here.outbox.clock) as (ctx,):
            await until(lambda: {"event 2-0"} <= {one.event_id for one in here.endpoints.requests}, step_s=60)
            events = [line["event"] for line in ctx.log._processors[0].entries]
        assert [one.event_id for one in await here.dead()] == ["event 0-0"]
        assert events.count("delivery.dead_letter_refused") == 1


# --- replays


async def test_a_dead_delivery_survives_a_wiped_queue_and_is_replayed_with_its_id_and_bytes() -> None:
    async with running() as here:
        (name,) = await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.queue.wipe()
            failed = here.endpoints.requests[-1]
            here.endpoints.behave("a", answers(200))
            await here.request_replay(name)
            await anyio.sleep(1)
        made = here.endpoints.requests[-1]
        assert made.at_s > failed.at_s
        assert (made.event_id, made.body) == (failed.event_id, failed.body) == ("event 0-0", entry(0, "a").body)
        origin = topics.parse_position_token(made.headers["X-Airy-Position"])
        assert origin.topic == topics.DEAD_DELIVERIES.name
        assert await here.dead() == []


@pytest.mark.parametrize("put", [True, False])
async def test_a_replay_request_survives_a_queue_that_lost_or_never_had_it(put: bool) -> None:
    """`put` False: the process that wrote the request crashed before it put the job."""
    async with running() as here:
        (name,) = await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        await here.request_replay(name, put=put)
        await here.queue.wipe()
        here.endpoints.behave("a", answers(200))
        sent = len(here.endpoints.requests)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(ROUND_S * 2)
            assert [one.event_id for one in here.endpoints.requests[sent:]] == ["event 0-0"]
            assert await here.dead() == []
            await anyio.sleep(ROUND_S * 5)
        assert len(here.endpoints.requests) == sent + 1


async def test_a_replay_that_waits_in_the_queue_is_not_queued_again() -> None:
    async with running() as here:
        (name,) = await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.request_replay(name)
            await anyio.sleep(200)
            assert (await here.queue.stats()).waiting == 1, "its second attempt has failed, its third is later"
            waits = [one for one in here.endpoints.requests if one.at_s > 5]
            assert len(waits) == 2


@pytest.mark.slow
async def test_a_replay_that_fails_is_a_dead_delivery_again() -> None:
    async with running() as here:
        (name,) = await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.request_replay(name)
            await anyio.sleep(6 * DAY_S)
        newest, first = await here.outbox.dead_deliveries_of(name)
        assert (newest.replay_requested_at_ms, newest.attempts) == (None, 10)
        assert first.replay_requested_at_ms is not None
        assert (await here.empty(), await here.outbox.pending_replays(after=dead_deliveries.START, replays_max=9)) == (
            True,
            [],
        )


async def test_a_replay_request_of_an_unsubscribed_webhook_is_withdrawn() -> None:
    async with running() as here:
        (name,) = await here.put_worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.outbox.writes(replace(here.outbox.known["a"], status="Unsubscribed"))
            await here.request_replay(name)
            sent = len(here.endpoints.requests)
            await anyio.sleep(ROUND_S * 3)
        assert len(here.endpoints.requests) == sent
        (one,) = await here.dead()
        assert one.replay_requested_at_ms is None
        assert await here.empty()


async def test_a_replay_is_not_repeated_although_the_log_was_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as here:
        (name,) = await here.put_worn()
        publish = here.outbox.bus.publish

        async def away(_: Sequence[ProducerRecord]) -> Sequence[Position]:
            raise Unavailable("the log is away")

        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            here.endpoints.behave("a", answers(200))
            await here.request_replay(name)
            monkeypatch.setattr(here.outbox.bus, "publish", away)
            await anyio.sleep(ROUND_S * 10)
            monkeypatch.setattr(here.outbox.bus, "publish", publish)
            await anyio.sleep(ROUND_S * 3)
        assert len([one for one in here.endpoints.requests if one.at_s > 5]) == 1
        assert (await here.empty(), await here.dead()) == (True, [])


# --- retention


@pytest.mark.parametrize("dispatchers", [1, 2])
async def test_dead_deliveries_are_pruned_by_age_and_number(monkeypatch: pytest.MonkeyPatch, dispatchers: int) -> None:
    monkeypatch.setattr(dead_deliveries, "KEEP_MAX", 4)
    monkeypatch.setattr(dead_deliveries, "ROUND_S", 36_000.0)
    async with running() as here:
        now_ms = here.now_ms
        ages = [KEEP_MS + 1, KEEP_MS + 2, KEEP_MS - 10_000_000, 5, 4, 3, 2]
        records = [dead_letter_record(dead(number, died_at_ms=now_ms - age)) for number, age in enumerate(ages)]
        await here.outbox.bus.publish(records)
        async with acting(*(here.dispatcher() for _ in range(dispatchers)), clock=here.outbox.clock):
            await anyio.sleep(1)
            assert [one.event_id for one in await here.dead()] == [f"event {number}" for number in (3, 4, 5, 6)]
            await anyio.sleep(KEEP_MS / 1000 + 40_000)
        assert await here.dead() == []


async def test_rounds_without_work_write_nothing() -> None:
    async with running() as here:
        await here.outbox.bus.publish([dead_letter_record(dead(1, died_at_ms=here.now_ms))])
        before = await here.outbox.bus.end_offsets(topics.ALL)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(ROUND_S * 10)
        assert await here.outbox.bus.end_offsets(topics.ALL) == before


class LegacyQueue:
    """A queue with legacy dead letters."""

    def __init__(self, count: int) -> None:
        self.dead = [(number, dead(number)) for number in range(count)]

    async def read_oldest(self, dead_max: int) -> list[tuple[int, DeadDelivery]]:
        return self.dead[:dead_max]

    async def delete_through(self, number: int) -> None:
        self.dead = [one for one in self.dead if one[0] > number]


async def test_legacy_dead_letters_are_moved_to_the_log() -> None:
    async with running() as here:
        legacy_queue = LegacyQueue(250)
        here.queue.legacy_dead_letters = legacy_queue  # type: ignore[assignment]
        moving = DeadDeliveries(here.outbox.bus, here.outbox, here.outbox, here.queue)
        await moving.round(context("dispatcher", clock=here.outbox.clock), 0)
        assert legacy_queue.dead == []
        assert {one.event_id for one in await here.dead()} == {f"event {number}" for number in range(250)}


# --- random histories


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", [asyncio_backend()])
@pytest.mark.parametrize("number", range(6))
async def test_every_event_is_delivered_or_dead_whatever_the_queue_loses(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two dispatchers, crashed and restarted; a queue that loses everything or its last hours; an endpoint that is down
    for days. Then every dead delivery is replayed, with more losses, and in the end every event is delivered.
    """
    monkeypatch.setattr(dead_deliveries, "ROUND_S", 1_800.0)
    monkeypatch.setattr("airy.webhooks.retry.FAILING_ATTEMPTS_MIN", 1_000_000)
    random, arrived, expected = Random(number), set[str](), set[str]()
    well = 0.02

    async def moody(request: Request) -> Response:
        if random.random() >= well:
            return Response(500, {}, b"")
        arrived.add(request.event_id)
        return Response(200, {}, b"")

    async with running() as here:
        here.endpoints.behave("a", moody)
        publisher = Publisher(
            here.outbox.bus,
            here.outbox,
            here.outbox,
            here.queue,
            rebuild=no_rebuild,
            limits=ReaderLimits(idle_s=3_600.0, commit_s=5.0),
            position_check_s=5.0,
        )
        copies: list[bytes] = []

        async def trouble(rounds: int, pause_s: float) -> None:
            for _ in range(rounds):
                await anyio.sleep(random.uniform(0, pause_s))
                what = random.randrange(5)
                if what == 0:
                    await here.queue.wipe()
                elif what == 1:
                    copies.append(_copied(here.queue))
                elif what == 2 and copies:
                    _restored(here.queue, random.choice(copies[-3:]))
                else:
                    expected.update(await here.outbox.happens(f"lane {random.randrange(4)}"))

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(_mortal, here, random)
            tasks.start_soon(publisher.run, context("publisher", clock=here.outbox.clock))
            await trouble(20, DAY_S / 2)
            await anyio.sleep(16 * DAY_S)
            dead_now = {one.event_id: one.delivery_id for one in await here.dead()}
            assert expected == arrived | set(dead_now), "a failed delivery is dead, not lost"
            well = 0.3
            for delivery_id in dead_now.values():
                await here.request_replay(delivery_id, put=random.random() < 0.5)
                await trouble(1, 3_600.0)
            well = 1.0
            await anyio.sleep(2 * DAY_S)
            for one in await here.dead():  # jobs of a restored queue that failed at their last attempt
                await here.request_replay(one.delivery_id, put=False)
            await anyio.sleep(2 * DAY_S)
            tasks.cancel_scope.cancel()
        assert expected == arrived
        assert await here.empty()
        assert await here.dead() == [], "no delivered event is dead"


async def _mortal(here: Setup, random: Random) -> None:
    while True:
        with anyio.move_on_after(random.uniform(0, 3 * DAY_S)):
            await here.dispatcher(poll_s=3_600.0).run(context("dispatcher", clock=here.outbox.clock))


def _copied(queue: SqliteQueue) -> bytes:
    with queue._file.reading() as connection:
        return connection.serialize("main")


def _restored(queue: SqliteQueue, copy: bytes) -> None:
    """As after a power cut that lost the last writes."""
    with queue._file.reading() as connection:
        connection.deserialize("main", copy)
    queue._webhooks.clear()

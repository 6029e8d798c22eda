"""What is given up is in the log before the queue lets go of it: nothing that happens to the queue can lose it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.webhooks import dead_letters
from airy.actors.webhooks.dead_letters import KEEP_MS, ROUND_S, DeadLetters, again, record
from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue import NOTHING, EntryId, Job, Shard
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.actors.webhooks.retry import ATTEMPTS_MAX
from airy.bus.record import Emit, Position
from airy.errors import Unavailable
from airy.fetch import Answer
from airy.model.dead import DeadDelivery
from tests.kit.builders import dead
from tests.kit.contracts.queue import entry
from tests.kit.webhooks import (
    SEALER,
    Endpoints,
    Outbox,
    Request,
    acting,
    answers,
    context,
    logged,
    until,
)
from tests.kit.world import asyncio_world

DAY_S = 86_400
HERE = Shard(topics.EVENTS.name, 0)


class Watched(SqliteQueue):
    """Calls whoever wants to know, before and after a burial."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[Job], Awaitable[None]] | None = None
        self.after: Callable[[Job], Awaitable[None]] | None = None

    async def bury(self, job: Job, *, now_ms: int) -> bool:
        if self.before is not None:
            await self.before(job)
        answer = await super().bury(job, now_ms=now_ms)
        if self.after is not None:
            await self.after(job)
        return answer


class Yard:
    """A queue, endpoints, and what the log and its fold know."""

    def __init__(self, outbox: Outbox, queue: Watched) -> None:
        self.outbox = outbox
        self.queue = queue
        self.endpoints = Endpoints()
        self.last: EntryId = NOTHING

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
            switch_off=self.outbox.switch_off,
            arrived=self.queue.arrived,
            **{"poll_s": DAY_S, **limits},
        )

    async def worn(self, *, count: int = 1, lane: str = "", attempts: int = ATTEMPTS_MAX - 1) -> list[str]:
        """Deliveries to `a` that have failed so often that the next failure is the last."""
        first = self.last[0] + 1
        entries = [entry(number, "a", lane=lane) for number in range(first, first + count)]
        await self.queue.put(HERE, entries, after=self.last)
        self.last = entries[-1].id
        for _ in range(attempts):
            jobs = await self.queue.claim(now_ms=self.now_ms, lease_ms=1, jobs_max=count, per_webhook_max=count)
            assert len(jobs) == (1 if lane else count)
            await anyio.sleep(0.01)
        return [f"{one.event_id}:a" for one in entries]

    async def wish(self, delivery_id: str, *, at_ms: int | None = None, put: bool = True) -> None:
        """As the API does it."""
        burials = await self.outbox.burials(delivery_id)
        if not burials:  # it was made meanwhile
            return
        one = burials[0]
        wished = replace(one, replayed_at_ms=self.now_ms if at_ms is None else at_ms)
        (position,) = await self.outbox.bus.publish([record(wished)])
        if put:
            shard, its_entry = again(wished, position)
            await self.queue.replay(shard, its_entry, now_ms=self.now_ms)

    async def buried(self) -> list[DeadDelivery]:
        """Every burial the log has, oldest first."""
        await self.outbox.burials("")
        return sorted(self.outbox.buried.values(), key=lambda one: (one.died_at_ms, one.id))

    async def empty(self) -> bool:
        stats = await self.queue.stats()
        return (stats.waiting, stats.leased) == (0, 0)


@asynccontextmanager
async def yard(behaviour: int = 500) -> AsyncIterator[Yard]:
    async with logged() as outbox:
        queue = Watched()
        await queue.open()
        made = Yard(outbox, queue)
        await outbox.subscribes("a")
        made.endpoints.behave("a", answers(behaviour))
        yield made
        await queue.close()


# --- burying


async def test_a_delivery_is_in_the_log_before_the_queue_lets_go_of_it() -> None:
    async with yard() as here:
        seen: list[tuple[list[str], EntryId]] = []

        async def look(_: Job) -> None:
            seen.append(([one.delivery_id for one in await here.buried()], await here.queue.low_water(HERE)))

        here.queue.before = look
        (name,) = await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        assert seen == [([name], (0, 0))]
        assert await here.empty()
        (one,) = await here.buried()
        whole = entry(0, "a")
        assert (one.event_id, one.webhook_id, one.kind, one.lane) == (whole.event_id, "a", whole.kind, whole.lane)
        assert (one.topic, one.partition, one.at_ms, bytes(one.body)) == (*_where(HERE), whole.at_ms, whole.body)
        assert (one.attempts, one.reason) == (10, "10 attempts failed; the last: answered 500")


def _where(shard: Shard) -> tuple[str, int]:
    return shard.topic, shard.partition


async def test_what_the_log_cannot_take_is_not_buried_and_is_once_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    async with yard() as here:
        publish = here.outbox.bus.publish

        async def away(emits: Sequence[Emit]) -> Sequence[Position]:
            if any(emit.topic == topics.DEAD_DELIVERIES.name for emit in emits):
                raise Unavailable("the log is away")
            return await publish(emits)

        monkeypatch.setattr(here.outbox.bus, "publish", away)
        await here.worn(count=3)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(150)
            assert (await here.queue.stats()).waiting == 3
            assert await here.queue.low_water(HERE) == (0, 0)
            assert len(here.endpoints.requests) == 3 * 3, "once a minute, no more"
            monkeypatch.setattr(here.outbox.bus, "publish", publish)
            await anyio.sleep(120)
        assert await here.empty()
        assert len(await here.buried()) == 3


async def test_a_crash_between_the_log_and_the_queue_buries_once_more_and_that_is_one_delivery() -> None:
    async with yard() as here:

        async def crash(_: Job) -> None:
            raise RuntimeError("killed")

        here.queue.before = crash
        (name,) = await here.worn()
        with pytest.raises(ExceptionGroup):
            async with acting(here.dispatcher(), clock=here.outbox.clock):
                await anyio.sleep(5)
        here.queue.before = None
        assert not await here.empty()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(120)
        assert await here.empty()
        first, second = await here.buried()
        assert first.delivery_id == second.delivery_id == name
        assert first.died_at_ms < second.died_at_ms
        assert await here.outbox.burials(name) == [second, first]


async def test_what_was_buried_and_is_made_after_all_is_dead_no_more() -> None:
    async with yard() as here:

        async def crash(_: Job) -> None:
            raise RuntimeError("killed")

        here.queue.before = crash
        await here.worn()
        with pytest.raises(ExceptionGroup):
            async with acting(here.dispatcher(), clock=here.outbox.clock):
                await anyio.sleep(5)
        assert len(await here.buried()) == 1
        here.endpoints.behave("a", answers(200))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(120)
        assert (await here.empty(), await here.buried()) == (True, [])


async def test_a_zombie_takes_its_burial_back_when_somebody_else_has_the_delivery() -> None:
    async with yard() as here:

        async def overtaken(_: Job) -> None:
            """Its lease has run out, and another dispatcher has the job."""
            here.queue.before = None
            jobs = await here.queue.claim(
                now_ms=here.now_ms + 10_000_000, lease_ms=1_000, jobs_max=1, per_webhook_max=9
            )
            assert len(jobs) == 1

        here.queue.before = overtaken
        await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        assert not await here.empty()
        assert await here.buried() == []


async def test_a_burial_whose_answer_was_lost_stays_a_burial() -> None:
    async with yard() as here:

        async def lost(_: Job) -> None:
            here.queue.after = None
            raise Unavailable("the answer was lost")

        here.queue.after = lost
        await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        assert await here.empty()
        assert len(await here.buried()) == 1


async def test_many_that_die_together_are_few_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with yard() as here:
        sizes: list[int] = []
        publish = here.outbox.bus.publish

        async def counted(emits: Sequence[Emit]) -> Sequence[Position]:
            if emits[0].topic == topics.DEAD_DELIVERIES.name:
                sizes.append(len(emits))
            return await publish(emits)

        monkeypatch.setattr(here.outbox.bus, "publish", counted)
        await here.worn(count=150)
        async with acting(here.dispatcher(in_flight_max=200, per_webhook_max=200), clock=here.outbox.clock):
            await anyio.sleep(60)
        assert await here.empty()
        assert sum(sizes) == len(await here.buried()) == 150
        assert len(sizes) <= 15
        assert max(sizes) <= dead_letters.AT_ONCE_MAX


async def test_what_no_log_takes_is_said_and_its_lane_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with yard() as here:
        monkeypatch.setattr(here.outbox.bus._storage, "_record_bytes_max", 700)
        await here.worn(lane="one", attempts=ATTEMPTS_MAX - 1)
        big = replace(entry(1, "a", lane="one"), body=b'{"text":"%b"}' % (b"x" * 600))
        await here.queue.put(HERE, [big, entry(2, "a", lane="one")], after=(0, 0))
        async with acting(here.dispatcher(), clock=here.outbox.clock) as (ctx,):
            await until(lambda: {"event 2-0"} <= {one.event_id for one in here.endpoints.requests}, step_s=60)
            events = [line["event"] for line in ctx.log._processors[0].entries]
        assert [one.event_id for one in await here.buried()] == ["event 0-0"]
        assert events.count("delivery.burial_refused") == 1


# --- making again


async def test_what_was_buried_survives_a_queue_that_lost_everything_and_is_made_with_its_id_and_bytes() -> None:
    async with yard() as here:
        (name,) = await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.queue.wipe()
            failed = here.endpoints.requests[-1]
            here.endpoints.behave("a", answers(200))
            await here.wish(name)
            await anyio.sleep(1)
        made = here.endpoints.requests[-1]
        assert made.at_s > failed.at_s
        assert (made.event_id, made.body) == (failed.event_id, failed.body) == ("event 0-0", entry(0, "a").body)
        where = topics.parse_position_token(made.headers["X-Airy-Position"])
        assert where.topic == topics.DEAD_DELIVERIES.name
        assert await here.buried() == []


@pytest.mark.parametrize("put", [True, False])
async def test_a_wish_survives_a_queue_that_loses_it_or_never_got_it(put: bool) -> None:
    """`put` False: whoever wrote it died before he could put it."""
    async with yard() as here:
        (name,) = await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
        await here.wish(name, put=put)
        await here.queue.wipe()
        here.endpoints.behave("a", answers(200))
        sent = len(here.endpoints.requests)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(ROUND_S * 2)
            assert [one.event_id for one in here.endpoints.requests[sent:]] == ["event 0-0"]
            assert await here.buried() == []
            await anyio.sleep(ROUND_S * 5)
        assert len(here.endpoints.requests) == sent + 1


async def test_a_wish_that_waits_in_the_queue_is_not_put_there_again() -> None:
    async with yard() as here:
        (name,) = await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.wish(name)
            await anyio.sleep(200)
            assert (await here.queue.stats()).waiting == 1, "its second attempt has failed, its third is later"
            waits = [one for one in here.endpoints.requests if one.at_s > 5]
            assert len(waits) == 2


async def test_what_fails_once_more_is_dead_once_more() -> None:
    async with yard() as here:
        (name,) = await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.wish(name)
            await anyio.sleep(6 * DAY_S)
        newest, first = await here.outbox.burials(name)
        assert (newest.replayed_at_ms, newest.attempts) == (None, 10)
        assert first.replayed_at_ms is not None
        assert (await here.empty(), await here.outbox.replays(after=dead_letters.START, replays_max=9)) == (True, [])


async def test_a_wish_for_a_webhook_that_is_off_is_a_dead_delivery_again() -> None:
    async with yard() as here:
        (name,) = await here.worn()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            await here.outbox.writes(replace(here.outbox.known["a"], status="Unsubscribed"))
            await here.wish(name)
            sent = len(here.endpoints.requests)
            await anyio.sleep(ROUND_S * 3)
        assert len(here.endpoints.requests) == sent
        (one,) = await here.buried()
        assert one.replayed_at_ms is None
        assert await here.empty()


async def test_what_was_made_is_not_made_again_because_the_log_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with yard() as here:
        (name,) = await here.worn()
        publish = here.outbox.bus.publish

        async def away(_: Sequence[Emit]) -> Sequence[Position]:
            raise Unavailable("the log is away")

        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(5)
            here.endpoints.behave("a", answers(200))
            await here.wish(name)
            monkeypatch.setattr(here.outbox.bus, "publish", away)
            await anyio.sleep(ROUND_S * 10)
            monkeypatch.setattr(here.outbox.bus, "publish", publish)
            await anyio.sleep(ROUND_S * 3)
        assert len([one for one in here.endpoints.requests if one.at_s > 5]) == 1
        assert (await here.empty(), await here.buried()) == (True, [])


# --- keeping


@pytest.mark.parametrize("dispatchers", [1, 2])
async def test_the_old_and_those_beyond_a_number_are_forgotten(
    monkeypatch: pytest.MonkeyPatch, dispatchers: int
) -> None:
    monkeypatch.setattr(dead_letters, "KEEP_MAX", 4)
    monkeypatch.setattr(dead_letters, "ROUND_S", 36_000.0)
    async with yard() as here:
        now_ms = here.now_ms
        ages = [KEEP_MS + 1, KEEP_MS + 2, KEEP_MS - 10_000_000, 5, 4, 3, 2]
        emits = [record(dead(number, died_at_ms=now_ms - age)) for number, age in enumerate(ages)]
        await here.outbox.bus.publish(emits)
        async with acting(*(here.dispatcher() for _ in range(dispatchers)), clock=here.outbox.clock):
            await anyio.sleep(1)
            assert [one.event_id for one in await here.buried()] == [f"event {number}" for number in (3, 4, 5, 6)]
            await anyio.sleep(KEEP_MS / 1000 + 40_000)
        assert await here.buried() == []


async def test_rounds_that_find_nothing_write_nothing() -> None:
    async with yard() as here:
        await here.outbox.bus.publish([record(dead(1, died_at_ms=here.now_ms))])
        before = await here.outbox.bus.ends(topics.ALL)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(ROUND_S * 10)
        assert await here.outbox.bus.ends(topics.ALL) == before


class Cellar:
    """A queue with dead of its own."""

    def __init__(self, count: int) -> None:
        self.dead = [(number, dead(number)) for number in range(count)]

    async def dead_of_before(self, dead_max: int) -> list[tuple[int, DeadDelivery]]:
        return self.dead[:dead_max]

    async def forget_dead_of_before(self, number: int) -> None:
        self.dead = [one for one in self.dead if one[0] > number]


async def test_the_dead_of_an_older_queue_move_to_the_log() -> None:
    async with yard() as here:
        cellar = Cellar(250)
        moving = DeadLetters(here.outbox.bus, here.outbox, here.outbox, here.queue, heritage=cellar)
        await moving.round(context("dispatcher", clock=here.outbox.clock), 0)
        assert cellar.dead == []
        assert {one.event_id for one in await here.buried()} == {f"event {number}" for number in range(250)}


# --- and all of it at random


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", [asyncio_world()])
@pytest.mark.parametrize("number", range(6))
async def test_whatever_the_queue_loses_and_whoever_dies_each_event_is_delivered_or_dead(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two dispatchers, killed and started; a queue that loses everything or its last hours; an endpoint that is down
    for days. Then whatever is dead is wished for, among more losses, and in the end everything has arrived.
    """
    monkeypatch.setattr(dead_letters, "ROUND_S", 1_800.0)
    monkeypatch.setattr("airy.actors.webhooks.retry.FAILING_ATTEMPTS_MIN", 1_000_000)
    random, arrived, expected = Random(number), set[str](), set[str]()
    well = 0.02

    async def moody(request: Request) -> Answer:
        if random.random() >= well:
            return Answer(500, {}, b"")
        arrived.add(request.event_id)
        return Answer(200, {}, b"")

    async with yard() as here:
        here.endpoints.behave("a", moody)
        publisher = Publisher(
            here.outbox.bus, here.outbox, here.outbox, here.queue, idle_s=3_600.0, audit_s=5.0, commit_s=5.0
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
            dead_now = {one.event_id: one.delivery_id for one in await here.buried()}
            assert expected == arrived | set(dead_now), "whatever failed is dead, not lost"
            well = 0.3
            for delivery_id in dead_now.values():
                await here.wish(delivery_id, put=random.random() < 0.5)
                await trouble(1, 3_600.0)
            well = 1.0
            await anyio.sleep(2 * DAY_S)
            for one in await here.buried():  # what an older queue came back with, and failed at its last attempt
                await here.wish(one.delivery_id, put=False)
            await anyio.sleep(2 * DAY_S)
            tasks.cancel_scope.cancel()
        assert expected == arrived
        assert await here.empty()
        assert await here.buried() == [], "and nothing that arrived is dead"


async def _mortal(here: Yard, random: Random) -> None:
    while True:
        with anyio.move_on_after(random.uniform(0, 3 * DAY_S)):
            await here.dispatcher(poll_s=3_600.0).run(context("dispatcher", clock=here.outbox.clock))


def _copied(queue: SqliteQueue) -> bytes:
    with queue._file.reading() as connection:
        return connection.serialize("main")


def _restored(queue: SqliteQueue, copy: bytes) -> None:
    """As after a power cut that took the last of what was written."""
    with queue._file.reading() as connection:
        connection.deserialize("main", copy)
    queue._forget_names()

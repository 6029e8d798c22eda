"""The dispatcher in virtual time: who is called, when, with what, and what becomes of each outcome."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.webhooks import signing
from airy.actors.webhooks.attempts import Attempt
from airy.actors.webhooks.courier import HANDOUTS_MAX
from airy.actors.webhooks.dispatcher import Dispatcher
from airy.actors.webhooks.endpoint import BREAKS_AFTER
from airy.actors.webhooks.publisher import Publisher
from airy.actors.webhooks.queue import NOTHING, EntryId, Job, QueueStats, Shard
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.actors.webhooks.request import secret_place
from airy.actors.webhooks.retry import SCHEDULE_S
from airy.bus.faults import Faults
from airy.errors import Unavailable
from airy.fetch import Answer, Blocked
from airy.model.change import ChangeKind
from airy.model.dead import DeadDelivery
from tests.kit.contracts.queue import entry
from tests.kit.webhooks import (
    SEALER,
    Endpoints,
    Outbox,
    Request,
    acting,
    answers,
    attempts,
    context,
    hangs,
    in_turn,
    lanes,
    logged,
    refuses,
    where,
)

HOUR_S = 3_600
DAY_S = 86_400


class Room:
    """A queue, endpoints, and a publisher with its dispatcher over one log."""

    def __init__(self, outbox: Outbox, queue: SqliteQueue) -> None:
        self.outbox = outbox
        self.queue = queue
        self.endpoints = Endpoints()

    def publisher(self) -> Publisher:
        return Publisher(
            self.outbox.bus, self.outbox, self.outbox, self.queue, idle_s=HOUR_S, audit_s=DAY_S, commit_s=DAY_S
        )

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

    async def delivered(self, name: str, count: int, *, within_s: float = 10.0) -> list[Request]:
        await self.endpoints.reached(name, count, within_s)
        await anyio.sleep(0.5)
        return self.endpoints.to(name)

    async def dead(self) -> list[DeadDelivery]:
        """As the log has them, newest first."""
        await self.outbox.burials("")
        return list(self.outbox.buried.values())[::-1]

    async def empty(self) -> bool:
        stats = await self.queue.stats()
        return (stats.waiting, stats.leased) == (0, 0)


@asynccontextmanager
async def room(*, publishing: bool = True, dispatching: bool = True, **limits: float) -> AsyncIterator[Room]:
    async with logged() as outbox:
        queue = SqliteQueue()
        await queue.open()
        made = Room(outbox, queue)
        actors = [*([made.publisher()] if publishing else []), *([made.dispatcher(**limits)] if dispatching else [])]
        async with acting(*actors, clock=outbox.clock):
            yield made
        await queue.close()


async def put(queue: SqliteQueue, *webhooks: str, count: int = 1, after: EntryId = NOTHING, lane: str = "") -> EntryId:
    """Jobs without a log behind them."""
    first = after[0] + 1
    entries = [entry(number, *webhooks, lane=lane) for number in range(first, first + count)]
    entries = [replace(one, body=msgspec.json.encode({"payload": {"lane": one.lane}})) for one in entries]
    await queue.put(Shard("t", 0), entries, after=after)
    return entries[-1].id


# --- the request


async def test_a_delivery_carries_the_exact_bytes_its_id_its_position_and_signatures_that_verify() -> None:
    async with room() as here:
        secrets = [signing.secret_text(bytes([number]) * 32) for number in range(2)]
        webhook = await here.outbox.subscribes(
            "a",
            secrets=tuple(SEALER.seal(one, secret_place("a", "secrets")) for one in secrets),
            signature_key=SEALER.seal("k-123", secret_place("a", "signature_key")),
            headers=SEALER.seal('{"X-Api-Key":"sesame-123"}', secret_place("a", "headers")),
        )
        assert "sesame" not in repr(webhook)
        (event_id,) = await here.outbox.happens()
        (request,) = await here.delivered("a", 1)
        (published,) = here.outbox.changed[where("conversation")]
        now_s = here.outbox.clock.now_ms() // 1000
        timestamp = int(request.headers["webhook-timestamp"])
        assert request.body == published.change.body
        assert now_s - 2 <= timestamp <= now_s
        keys = [signing.secret_key(one) for one in secrets]
        assert request.headers == {
            "Content-Type": "application/json",
            "User-Agent": "Airy/1.0",
            "X-Api-Key": "sesame-123",
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.standard(keys, event_id, timestamp, request.body),
            "X-Airy-Content-Signature": signing.content("k-123", request.body),
            "X-Airy-Position": topics.position_token(published.position),
        }
        assert await here.empty()


async def test_without_secrets_nothing_is_signed_and_the_users_headers_win_over_the_common_ones() -> None:
    async with room() as here:
        headers = '{"content-type":"application/cloudevents+json","USER-AGENT":"Mine/2"}'
        await here.outbox.subscribes("a", headers=SEALER.seal(headers, secret_place("a", "headers")))
        await here.outbox.happens()
        (request,) = await here.delivered("a", 1)
        assert request.headers.keys() == {
            "content-type",
            "USER-AGENT",
            "webhook-id",
            "webhook-timestamp",
            "X-Airy-Position",
        }


@pytest.mark.parametrize(
    "headers", ['{"Host":"evil"}', '{"webhook-id":"1"}', '{"A":"1\\r\\nB: 2"}', "[]", "{", '{"A":1}']
)
async def test_headers_that_cannot_be_sent_fail_the_attempt_and_nothing_is_sent(headers: str) -> None:
    async with room() as here:
        await here.outbox.subscribes("a", headers=SEALER.seal(headers, secret_place("a", "headers")))
        await here.outbox.happens()
        await anyio.sleep(2)
        assert here.endpoints.requests == []
        (attempt,) = await attempts(here.outbox.bus)
        assert (attempt.result, attempt.status) == ("again", None)


async def test_a_secret_that_was_moved_from_another_webhook_is_not_used() -> None:
    async with room() as here:
        await here.outbox.subscribes("a", signature_key=SEALER.seal("k-123", secret_place("b", "signature_key")))
        await here.outbox.happens()
        await anyio.sleep(2)
        assert here.endpoints.requests == []
        (attempt,) = await attempts(here.outbox.bus)
        assert "moved" in attempt.error


# --- outcomes


async def test_an_endpoint_that_never_answers_well_gets_the_whole_schedule_and_then_the_lane_goes_on() -> None:
    async with room() as here:
        here.endpoints.behave("a", in_turn(*[answers(500)] * 10, answers(200)))
        await here.outbox.subscribes("a")
        (first,) = await here.outbox.happens()
        (second,) = await here.outbox.happens()
        requests = await here.delivered("a", 11, within_s=100 * HOUR_S)
        assert [one.event_id for one in requests] == [first] * 10 + [second]
        assert len({one.body for one in requests[:10]}) == 1
        waits_s = [later.at_s - earlier.at_s for earlier, later in pairwise(requests[:10])]
        for wait_s, delay_s in zip(waits_s, SCHEDULE_S[1:], strict=True):
            assert delay_s * 0.8 <= wait_s <= delay_s * 1.2 + 1
        (dead,) = await here.dead()
        assert (dead.event_id, dead.attempts, dead.reason) == (first, 10, "10 attempts failed; the last: answered 500")
        assert await here.empty()


async def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    async with room() as here:
        here.endpoints.behave("a", answers(302, location="https://b.example.com/"))
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        await here.delivered("a", 2)
        assert {one.url for one in here.endpoints.requests} == {"https://a.example.com/"}


async def test_gone_switches_the_webhook_off_at_once_and_forgets_its_jobs() -> None:
    async with room() as here:
        here.endpoints.behave("a", answers(410))
        await here.outbox.subscribes("a")
        for lane in ("x", "y", "x", "z"):
            await here.outbox.happens(lane)
        await anyio.sleep(5)
        webhook = here.outbox.known["a"]
        assert (webhook.status, webhook.disabled_reason) == ("Unsubscribed", "the endpoint answered 410 Gone")
        assert await here.empty()
        count = len(here.endpoints.requests)
        assert count <= 3
        await here.outbox.happens()
        await anyio.sleep(HOUR_S)
        assert len(here.endpoints.requests) == count


async def test_many_answers_of_gone_switch_it_off_once() -> None:
    async with room(dispatching=False) as here:
        reasons: list[str] = []

        async def switch_off(webhook_id: str, reason: str) -> None:
            reasons.append(reason)
            await anyio.sleep(1)
            await here.outbox.switch_off(webhook_id, reason)

        dispatcher = here.dispatcher()
        dispatcher._courier._switch_off = switch_off
        here.endpoints.behave("a", answers(410))
        await here.outbox.subscribes("a")
        for lane in "pqrstuvw":
            await here.outbox.happens(lane)
        async with acting(dispatcher, clock=here.outbox.clock):
            await anyio.sleep(30)
        assert len(here.endpoints.requests) == 8
        assert len(reasons) == 1
        assert await here.empty()


async def test_a_verdict_about_an_old_address_does_not_switch_the_new_one_off() -> None:
    async with room() as here:
        here.endpoints.behave("a", answers(410, after_s=2))
        webhook = await here.outbox.subscribes("a")
        (event_id,) = await here.outbox.happens()
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, url="https://b.example.com/"))
        (request,) = await here.delivered("b", 1, within_s=2 * HOUR_S)
        assert request.event_id == event_id
        assert here.outbox.known["a"].status == "Subscribed"


async def test_a_webhook_that_cannot_be_switched_off_now_is_switched_off_later() -> None:
    async with room(dispatching=False) as here:
        tries = 0

        async def switch_off(webhook_id: str, reason: str) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise Unavailable("the log cannot serve")
            await here.outbox.switch_off(webhook_id, reason)

        dispatcher = here.dispatcher()
        dispatcher._courier._switch_off = switch_off
        here.endpoints.behave("a", answers(410))
        async with acting(dispatcher, clock=here.outbox.clock):
            await here.outbox.subscribes("a")
            await here.outbox.happens()
            await anyio.sleep(30)
            assert (tries, here.outbox.known["a"].status) == (1, "Subscribed")
            await anyio.sleep(60)
            assert (tries, here.outbox.known["a"].status) == (2, "Unsubscribed")
            assert await here.empty()


async def test_five_days_of_nothing_but_failures_switch_it_off() -> None:
    async with room() as here:
        here.endpoints.behave("a", answers(500))
        await here.outbox.subscribes("a")
        for number in range(9):
            assert here.outbox.known["a"].status == "Subscribed"
            await here.outbox.happens(f"lane {number}")
            await anyio.sleep(0.6 * DAY_S)
        await anyio.sleep(0.6 * DAY_S)
        assert here.outbox.known["a"].status == "Unsubscribed"
        assert "5 days" in (here.outbox.known["a"].disabled_reason or "")
        assert await here.empty()


@pytest.mark.parametrize("how", ["a success", "a change"])
async def test_a_success_or_a_change_of_the_webhook_starts_the_five_days_anew(how: str) -> None:
    async with room() as here:
        here.endpoints.behave("a", answers(500))
        webhook = await here.outbox.subscribes("a")
        for number in range(12):
            await here.outbox.happens(f"lane {number}")
            if number == 5 and how == "a change":
                await here.outbox.writes(replace(webhook, updated_at_ms=here.outbox.clock.now_ms()))
            if number == 5 and how == "a success":
                here.endpoints.behave("a", in_turn(answers(200), answers(500)))
            await anyio.sleep(0.6 * DAY_S)
        assert here.outbox.known["a"].status == "Subscribed"
        await here.outbox.happens("last")
        await anyio.sleep(2 * DAY_S)
        assert here.outbox.known["a"].status == "Unsubscribed"


async def test_retry_after_is_honoured() -> None:
    async with room() as here:
        here.endpoints.behave("a", in_turn(answers(503, retry_after="900"), answers(200)))
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        first, second = await here.delivered("a", 2, within_s=2_000)
        assert 900 <= second.at_s - first.at_s < 902


async def test_too_many_requests_slow_the_endpoint_down_and_no_other() -> None:
    async with room() as here:
        here.endpoints.behave("a", in_turn(answers(429), answers(200, after_s=0.1)))
        for name in ("a", "b"):
            await here.outbox.subscribes(name)
        await here.outbox.happens("first")
        await anyio.sleep(0.1)
        started = anyio.current_time()
        for number in range(30):
            await here.outbox.happens(f"lane {number}")
        await anyio.sleep(0.5)
        assert (len(here.endpoints.to("a")), len(here.endpoints.to("b"))) == (1, 31)
        requests = await here.delivered("a", 32, within_s=60)
        assert requests[1].at_s - started >= 0.5
        assert here.endpoints.most["https://a.example.com/"] <= 20


async def test_a_blocked_address_is_a_failed_attempt() -> None:
    async def blocked(_request: Request) -> Answer:
        raise Blocked("10.0.0.1 is not a public address", field="url")

    async with room() as here:
        here.endpoints.behave("a", blocked)
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        await here.delivered("a", 1)
        (attempt,) = await attempts(here.outbox.bus)
        assert (attempt.result, attempt.error) == ("again", "10.0.0.1 is not a public address")


# --- who waits for whom


async def test_order_per_lane_survives_retries_while_other_lanes_flow() -> None:
    async with room() as here:
        await here.outbox.subscribes("a")
        fails = {"x"}

        async def picky(request: Request) -> Answer:
            return Answer(500 if request.lane in fails else 200, {}, b"")

        here.endpoints.behave("a", picky)
        happened: dict[str, list[str]] = {"x": [], "y": [], "z": []}
        for number in range(30):
            lane = "xyz"[number % 3]
            happened[lane] += await here.outbox.happens(lane)
        await anyio.sleep(2)
        assert lanes(here.endpoints.to("a")) == {**happened, "x": happened["x"][:1]}
        fails.clear()
        await anyio.sleep(2 * HOUR_S)
        assert lanes(here.endpoints.to("a")) == happened
        assert await here.empty()


async def test_a_dead_endpoint_does_not_slow_fifty_healthy_ones() -> None:
    async with room(in_flight_max=40, per_webhook_max=10) as here:
        healthy = [f"hook-{number}" for number in range(50)]
        for name in (*healthy, "dead", "hanging"):
            await here.outbox.subscribes(name)
        for name in healthy:
            here.endpoints.behave(name, answers(200, after_s=0.02))
        here.endpoints.behave("dead", refuses())
        here.endpoints.behave("hanging", hangs())
        written: dict[str, float] = {}
        for number in range(40):
            (event_id,) = await here.outbox.happens(f"lane {number % 10}")
            written[event_id] = anyio.current_time()
            await anyio.sleep(0.1)
        await anyio.sleep(5)
        delays = sorted(
            request.at_s - written[request.event_id] for name in healthy for request in here.endpoints.to(name)
        )
        assert len(delays) == 50 * 40
        assert delays[-1] < 0.5
        calls_to_hanging = len(here.endpoints.to("hanging"))
        assert calls_to_hanging <= 10 + BREAKS_AFTER
        assert len(here.endpoints.to("dead")) <= 10 + BREAKS_AFTER
        await anyio.sleep(HOUR_S)
        assert len(here.endpoints.to("hanging")) - calls_to_hanging <= 12, "one probe at a time, ever more seldom"


async def test_what_waits_for_a_dead_endpoint_does_not_crowd_others_out() -> None:
    async with room(publishing=False, dispatching=False) as here:
        here.endpoints.behave("dead", refuses())
        for name in ("dead", "a"):
            await here.outbox.subscribes(name)
        last = await put(here.queue, "dead", count=60)
        async with acting(here.dispatcher(in_flight_max=10, per_webhook_max=10), clock=here.outbox.clock):
            await anyio.sleep(20)
            await put(here.queue, "a", count=30, after=last)
            await here.delivered("a", 30, within_s=1)


async def test_a_dead_endpoint_that_comes_back_gets_everything_in_order() -> None:
    async with room() as here:
        here.endpoints.behave("a", refuses())
        await here.outbox.subscribes("a")
        happened = {lane: [event for _ in range(5) for event in await here.outbox.happens(lane)] for lane in "pqrstuvw"}
        await anyio.sleep(2 * HOUR_S)
        here.endpoints.behave("a", answers(200))
        before = len(here.endpoints.requests)
        await anyio.sleep(10 * HOUR_S)
        assert lanes(here.endpoints.requests[before:]) == happened
        assert await here.empty()


async def test_the_bounds_hold_in_all_and_per_webhook() -> None:
    async with room(in_flight_max=12, per_webhook_max=5) as here:
        for name in "abcd":
            await here.outbox.subscribes(name)
            here.endpoints.behave(name, answers(200, after_s=1))
        for number in range(30):
            await here.outbox.happens(f"lane {number}")
        await anyio.sleep(60)
        assert len(here.endpoints.requests) == 120
        assert here.endpoints.most[""] == 12
        assert all(here.endpoints.most[f"https://{name}.example.com/"] <= 5 for name in "abcd")


async def test_workers_are_reused() -> None:
    async with room(dispatching=False) as here:
        dispatcher = here.dispatcher(in_flight_max=50)
        async with acting(dispatcher, clock=here.outbox.clock):
            await here.outbox.subscribes("a")
            for _ in range(40):
                await here.outbox.happens()
            await here.delivered("a", 40)
            assert dispatcher._workers == 1


# --- claims

GATHER_S = 0.01


class Claimed(SqliteQueue):
    """Remembers when it was asked for jobs, and when for the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[tuple[float, int]] = []
        self.asked_when = 0

    async def claim(self, **how: Any) -> list[Job]:
        jobs = await super().claim(**how)
        self.claims.append((anyio.current_time(), len(jobs)))
        return jobs

    async def next_due_ms(self) -> int | None:
        self.asked_when += 1
        return await super().next_due_ms()


@asynccontextmanager
async def claiming(gather_s: float = GATHER_S) -> AsyncIterator[tuple[Room, Claimed]]:
    async with logged() as outbox:
        queue = Claimed()
        await queue.open()
        made = Room(outbox, queue)
        async with acting(made.dispatcher(gather_s=gather_s), clock=outbox.clock):
            await outbox.subscribes("a")
            await anyio.sleep(1)
            queue.claims.clear()
            queue.asked_when = 0
            yield made, queue
        await queue.close()


async def test_what_is_put_and_finished_within_a_moment_is_one_claim() -> None:
    async with claiming() as (here, queue):
        here.endpoints.behave("a", answers(200, after_s=0.002))
        after = NOTHING
        for number in range(100):  # one each millisecond
            after = await put(queue, "a", after=after, lane=f"{number}")
            await anyio.sleep(0.001)
        await here.delivered("a", 100)
        worked = [(at, jobs) for at, jobs in queue.claims if jobs]
        assert all(later - earlier >= GATHER_S - 1e-6 for (earlier, _), (later, _) in pairwise(queue.claims))
        assert len(worked) <= 12
        assert queue.asked_when < len(worked)  # nobody asks when the next is due while there is more to do


async def test_the_first_job_after_a_silence_waits_for_nothing() -> None:
    async with claiming(gather_s=0.5) as (here, queue):
        began = anyio.current_time()
        await put(queue, "a")
        (request,) = await here.endpoints.reached("a", 1, 1.0)
        assert request.at_s == began


async def test_what_becomes_due_while_it_rests_is_claimed_then() -> None:
    """Somebody else's lease runs out between a claim and the question when the next is due."""
    async with logged() as outbox:
        queue = Claimed()
        await queue.open()
        here = Room(outbox, queue)
        await outbox.subscribes("a")
        await put(queue, "a")
        now_ms = outbox.clock.now_ms()
        (_,) = await queue.claim(now_ms=now_ms, lease_ms=300, jobs_max=1, per_webhook_max=1)
        began = anyio.current_time()
        async with acting(here.dispatcher(gather_s=0.5), clock=outbox.clock):
            (request,) = await here.endpoints.reached("a", 1, 10.0)
            assert request.at_s == pytest.approx(began + 0.5)
        await queue.close()


# --- leases


async def test_a_dispatcher_that_dies_leaves_deliveries_that_are_made_again_with_the_same_id_and_bytes() -> None:
    async with room(dispatching=False) as here:
        here.endpoints.behave("a", in_turn(hangs(), answers(200)))
        await here.outbox.subscribes("a")
        (event_id,) = await here.outbox.happens()
        async with anyio.create_task_group() as doomed:
            doomed.start_soon(here.dispatcher().run, context("doomed", clock=here.outbox.clock))
            await here.delivered("a", 1)
            doomed.cancel_scope.cancel()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(30)
            assert len(here.endpoints.to("a")) == 1, "the lease has not run out"
            first, second = await here.delivered("a", 2, within_s=60)
        assert (first.event_id, first.body) == (second.event_id, second.body)
        assert second.event_id == event_id
        assert await here.empty()


async def test_two_dispatchers_share_the_work_and_send_nothing_twice() -> None:
    async with room(dispatching=False) as here:
        await here.outbox.subscribes("a")
        here.endpoints.behave("a", answers(200, after_s=0.5))
        async with acting(
            here.dispatcher(per_webhook_max=5), here.dispatcher(per_webhook_max=5), clock=here.outbox.clock
        ):
            happened = [event for number in range(60) for event in await here.outbox.happens(f"lane {number % 20}")]
            await anyio.sleep(60)
        assert sorted(request.event_id for request in here.endpoints.requests) == sorted(happened)
        assert here.endpoints.most[""] == 5


async def test_draining_finishes_what_is_under_way_and_starts_nothing() -> None:
    async with room(dispatching=False) as here:
        here.endpoints.behave("a", answers(200, after_s=3))
        await here.outbox.subscribes("a")
        for _ in range(5):
            await here.outbox.happens()
        async with acting(here.dispatcher(), clock=here.outbox.clock) as (ctx,):
            await here.delivered("a", 1)
            ctx.draining.set()
            started = anyio.current_time()
        assert anyio.current_time() - started < 4
        assert len(here.endpoints.to("a")) == 1
        assert await here.queue.stats() == replace(await here.queue.stats(), waiting=4, leased=0)
        assert len(await attempts(here.outbox.bus)) == 1


async def test_what_was_claimed_ahead_is_given_back_uncounted_when_draining() -> None:
    async with room(publishing=False, dispatching=False) as here:
        here.endpoints.behave("a", answers(200, after_s=3))
        await here.outbox.subscribes("a")
        await put(here.queue, "a", count=20)
        async with acting(here.dispatcher(in_flight_max=8), clock=here.outbox.clock) as (ctx,):
            await here.delivered("a", 8)
            assert await here.queue.stats() == QueueStats(waiting=10, leased=10, oldest_at_ms=1_000)
            ctx.draining.set()
        assert len(here.endpoints.requests) == 8
        assert (await here.queue.stats()).waiting == 12
        (job, *_) = await here.queue.claim(now_ms=here.outbox.clock.now_ms(), lease_ms=1, jobs_max=1, per_webhook_max=1)
        assert job.attempt == 1


async def test_a_lease_that_would_not_outlast_the_request_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was claimed ahead has waited for a worker; begun now, it would run out under the request."""
    monkeypatch.setattr("airy.actors.webhooks.dispatcher.LEASE_SPARE_S", 5.0)
    async with room(publishing=False, dispatching=False) as here:
        here.endpoints.behave("a", answers(200, after_s=14))
        await here.outbox.subscribes("a")
        await put(here.queue, "a", count=12)
        async with acting(here.dispatcher(in_flight_max=4), clock=here.outbox.clock):
            await anyio.sleep(200)
        assert await here.empty()
        assert sorted(request.event_id for request in here.endpoints.requests) == sorted(
            f"event {n}-0" for n in range(12)
        )
        assert {one.attempt for one in await attempts(here.outbox.bus)} == {1}


async def test_a_delivery_that_kills_whoever_makes_it_is_buried_in_the_end() -> None:
    async with room(publishing=False, dispatching=False) as here:
        await here.outbox.subscribes("a")
        await put(here.queue, "a", count=2, lane="one")
        for _ in range(HANDOUTS_MAX):
            now_ms = here.outbox.clock.now_ms()
            assert len(await here.queue.claim(now_ms=now_ms, lease_ms=1, jobs_max=1, per_webhook_max=1)) == 1
            await anyio.sleep(0.01)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            (request,) = await here.delivered("a", 1)
        assert request.event_id == "event 1-0"
        (dead,) = await here.dead()
        assert (dead.event_id, dead.attempts) == ("event 0-0", HANDOUTS_MAX + 1)


# --- what is not wanted any more


async def test_what_is_queued_for_an_unsubscribed_webhook_is_dropped_when_it_would_be_sent() -> None:
    async with room(dispatching=False) as here:
        webhook = await here.outbox.subscribes("a")
        await here.outbox.subscribes("b")
        for number in range(5):
            await here.outbox.happens(f"lane {number}")
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, status="Unsubscribed"))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(1)
        assert (len(here.endpoints.to("a")), len(here.endpoints.to("b"))) == (0, 5)
        assert await here.empty()


async def test_what_a_webhook_no_longer_asks_for_is_not_sent_and_the_rest_is() -> None:
    async with room(dispatching=False) as here:
        webhook = await here.outbox.subscribes("a")
        await here.outbox.happens("x", kind=ChangeKind.MESSAGE_CREATED)
        (kept,) = await here.outbox.happens("x", kind=ChangeKind.CONVERSATION_UPDATED)
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, events=("conversation.updated",)))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(1)
        assert [request.event_id for request in here.endpoints.to("a")] == [kept]
        assert await here.empty()


async def test_a_subscription_the_dispatchers_own_view_does_not_have_yet_is_not_dropped() -> None:
    async with room(publishing=False) as here:
        webhook = await here.outbox.subscribes("a", folded=False)
        await put(here.queue, "a")
        await anyio.sleep(3)
        assert not await here.empty()
        ((end, _),) = [item for item in (await here.outbox.bus.ends([topics.WEBHOOKS])).items() if item[1]]
        here.outbox.fold_webhook(topics.Position(*end, 0), webhook)
        await here.delivered("a", 1)
        assert await here.empty()


async def test_while_the_view_stays_behind_the_delivery_waits_without_using_up_attempts() -> None:
    async with room(publishing=False) as here:
        webhook = await here.outbox.subscribes("a", folded=False)
        await put(here.queue, "a")
        await anyio.sleep(HOUR_S)
        assert await here.queue.stats() == QueueStats(1, 0, 1_000) or (await here.queue.stats()).leased == 1
        await here.outbox.writes(webhook)
        ((end, _),) = [item for item in (await here.outbox.bus.ends([topics.WEBHOOKS])).items() if item[1]]
        here.outbox.fold_webhook(topics.Position(*end, 1), webhook)
        await here.delivered("a", 1, within_s=60)
        await anyio.sleep(2)
        (attempt,) = await attempts(here.outbox.bus)
        assert attempt.attempt == 1


async def test_while_the_log_cannot_be_asked_the_dispatcher_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    async with room(publishing=False) as here:
        asked = 0

        async def ends(_topics: object) -> dict[object, int]:
            nonlocal asked
            asked += 1
            raise Unavailable("the log cannot serve")

        monkeypatch.setattr(here.outbox.bus, "ends", ends)
        await put(here.queue, "nobody")
        await anyio.sleep(20)
        assert 10 < asked <= 21


# --- attempts


async def test_every_attempt_is_recorded_with_its_outcome() -> None:
    async with room() as here:
        here.endpoints.behave("a", in_turn(answers(500, body=b"try later", after_s=0.25), refuses(), answers(200)))
        await here.outbox.subscribes("a")
        (event_id,) = await here.outbox.happens()
        await here.delivered("a", 3, within_s=600)
        first, second, third = await attempts(here.outbox.bus)
        assert first == Attempt(
            id=f"{event_id}:a",
            webhook_id="a",
            event_id=event_id,
            kind="message.created",
            attempt=1,
            at_ms=first.at_ms,
            took_ms=250,
            result="again",
            status=500,
            response="try later",
            again_at_ms=first.again_at_ms,
        )
        assert first.again_at_ms is not None
        assert (second.result, second.status, second.error) == ("again", None, "connection refused")
        assert (third.result, third.status, third.attempt, third.again_at_ms) == ("delivered", 200, 3, None)


async def test_a_recorded_answer_is_short_and_shows_no_secret_that_was_echoed() -> None:
    async with room() as here:
        echo = b"you sent sesame-123 and k-123456 " + b"." * 20_000
        here.endpoints.behave("a", answers(200, body=echo))
        await here.outbox.subscribes(
            "a",
            signature_key=SEALER.seal("k-123456", secret_place("a", "signature_key")),
            headers=SEALER.seal('{"X-Api-Key":"sesame-123"}', secret_place("a", "headers")),
        )
        await here.outbox.happens()
        await here.delivered("a", 1)
        (attempt,) = await attempts(here.outbox.bus)
        assert attempt.response.startswith("you sent *** and *** ...")
        assert len(attempt.response) == 1_024


async def test_a_log_that_takes_no_records_costs_no_delivery() -> None:
    async with room(publishing=False) as here:
        faults = here.outbox.bus._faults = Faults()
        await here.outbox.subscribes("a")
        faults.script("publish", "unavailable", times=1_000)
        await put(here.queue, "a", count=50)
        await here.delivered("a", 50)
        assert await here.empty()
        assert await attempts(here.outbox.bus) == []
        faults.calm()
        await anyio.sleep(5)
        assert len(await attempts(here.outbox.bus)) == 50


# --- when the queue is not there


async def test_a_queue_that_is_unavailable_for_a_while_delays_but_loses_and_doubles_nothing() -> None:
    async with room(publishing=False, dispatching=False) as here:
        await here.outbox.subscribes("a")
        here.endpoints.behave("a", answers(200, after_s=0.5))
        await put(here.queue, "a", count=3)
        dispatcher = here.dispatcher()
        async with acting(dispatcher, clock=here.outbox.clock):
            await anyio.sleep(0.1)
            connection = here.queue._file._connection
            here.queue._file._connection = None
            await anyio.sleep(10)
            assert len(here.endpoints.to("a")) == 3
            here.queue._file._connection = connection
            await anyio.sleep(10)
            assert await here.empty()
        assert len(here.endpoints.to("a")) == 3

"""Lanes and endpoints do not delay each other; how deliveries are claimed and leased."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from airy.actors.delivery import LEASES_MAX
from airy.http_client import Response
from airy.queue.api import NO_ENTRY, Job
from airy.queue.sqlite import SqliteQueue
from airy.webhooks.endpoint_health import FAILURES_TO_OPEN
from tests.kit.dispatching import HOUR_S, Setup, put, running
from tests.kit.webhooks import (
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
)

# --- isolation of lanes and endpoints


async def test_order_per_lane_survives_retries_while_other_lanes_flow() -> None:
    async with running() as here:
        await here.outbox.subscribes("a")
        fails = {"x"}

        async def picky(request: Request) -> Response:
            return Response(500 if request.lane in fails else 200, {}, b"")

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
    async with running(in_flight_max=40, per_webhook_max=10) as here:
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
        assert calls_to_hanging <= 10 + FAILURES_TO_OPEN
        assert len(here.endpoints.to("dead")) <= 10 + FAILURES_TO_OPEN
        await anyio.sleep(HOUR_S)
        assert len(here.endpoints.to("hanging")) - calls_to_hanging <= 12, "one probe at a time, with growing intervals"


async def test_the_backlog_of_a_dead_endpoint_does_not_delay_others() -> None:
    """X-8."""
    async with running(publishing=False, dispatching=False) as here:
        here.endpoints.behave("dead", refuses())
        for name in ("dead", "a"):
            await here.outbox.subscribes(name)
        last = await put(here.queue, "dead", count=60)
        async with acting(here.dispatcher(in_flight_max=10, per_webhook_max=10), clock=here.outbox.clock):
            await anyio.sleep(20)
            await put(here.queue, "a", count=30, after=last)
            await here.delivered("a", 30, within_s=1)


async def test_a_dead_endpoint_that_comes_back_gets_everything_in_order() -> None:
    """X-8."""
    async with running() as here:
        here.endpoints.behave("a", refuses())
        await here.outbox.subscribes("a")
        happened = {lane: [event for _ in range(5) for event in await here.outbox.happens(lane)] for lane in "pqrstuvw"}
        await anyio.sleep(2 * HOUR_S)
        here.endpoints.behave("a", answers(200))
        before = len(here.endpoints.requests)
        await anyio.sleep(10 * HOUR_S)
        assert lanes(here.endpoints.requests[before:]) == happened
        assert await here.empty()


async def test_requests_in_flight_are_bounded_in_total_and_per_webhook() -> None:
    async with running(in_flight_max=12, per_webhook_max=5) as here:
        for name in "abcd":
            await here.outbox.subscribes(name)
            here.endpoints.behave(name, answers(200, after_s=1))
        for number in range(30):
            await here.outbox.happens(f"lane {number}")
        await anyio.sleep(60)
        assert len(here.endpoints.requests) == 120
        assert here.endpoints.most[""] == 10, "room is left for a fifth webhook"
        assert all(here.endpoints.most[f"https://{name}.example.com/"] <= 5 for name in "abcd")


async def test_workers_are_reused() -> None:
    async with running(dispatching=False) as here:
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
    """Records the times of claims and of reads of the next due time."""

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
async def claiming(claim_interval_s: float = GATHER_S) -> AsyncIterator[tuple[Setup, Claimed]]:
    async with logged() as outbox:
        queue = Claimed()
        await queue.open()
        made = Setup(outbox, queue)
        async with acting(made.dispatcher(claim_interval_s=claim_interval_s), clock=outbox.clock):
            await outbox.subscribes("a")
            await anyio.sleep(1)
            queue.claims.clear()
            queue.asked_when = 0
            yield made, queue
        await queue.close()


async def test_arrivals_and_outcomes_within_the_claim_interval_are_one_claim() -> None:
    async with claiming() as (here, queue):
        here.endpoints.behave("a", answers(200, after_s=0.002))
        after = NO_ENTRY
        for number in range(100):  # one each millisecond
            after = await put(queue, "a", after=after, lane=f"{number}")
            await anyio.sleep(0.001)
        await here.delivered("a", 100)
        worked = [(at, jobs) for at, jobs in queue.claims if jobs]
        assert all(later - earlier >= GATHER_S - 1e-6 for (earlier, _), (later, _) in pairwise(queue.claims))
        assert len(worked) <= 12
        assert queue.asked_when < len(worked)  # the next due time is not read while there are jobs


async def test_the_first_job_after_idling_is_claimed_at_once() -> None:
    async with claiming(claim_interval_s=0.5) as (here, queue):
        began = anyio.current_time()
        await put(queue, "a")
        (request,) = await here.endpoints.reached("a", 1, 1.0)
        assert request.at_s == began


async def test_a_job_that_becomes_due_during_the_claim_interval_is_claimed_after_it() -> None:
    """The lease of another dispatcher expires between a claim and the read of the next due time."""
    async with logged() as outbox:
        queue = Claimed()
        await queue.open()
        here = Setup(outbox, queue)
        await outbox.subscribes("a")
        await put(queue, "a")
        now_ms = outbox.clock.now_ms()
        (_,) = await queue.claim(now_ms=now_ms, lease_ms=300, jobs_max=1, per_webhook_max=1)
        began = anyio.current_time()
        async with acting(here.dispatcher(claim_interval_s=0.5), clock=outbox.clock):
            (request,) = await here.endpoints.reached("a", 1, 10.0)
            assert request.at_s == pytest.approx(began + 0.5)
        await queue.close()


# --- leases


async def test_deliveries_of_a_crashed_dispatcher_are_repeated_with_the_same_id_and_bytes() -> None:
    async with running(dispatching=False) as here:
        here.endpoints.behave("a", in_turn(hangs(), answers(200)))
        await here.outbox.subscribes("a")
        (event_id,) = await here.outbox.happens()
        async with anyio.create_task_group() as doomed:
            doomed.start_soon(here.dispatcher().run, context("doomed", clock=here.outbox.clock))
            await here.delivered("a", 1)
            doomed.cancel_scope.cancel()
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(30)
            assert len(here.endpoints.to("a")) == 1, "the lease has not expired"
            first, second = await here.delivered("a", 2, within_s=60)
        assert (first.event_id, first.body) == (second.event_id, second.body)
        assert second.event_id == event_id
        assert await here.empty()


async def test_two_dispatchers_share_the_work_and_send_nothing_twice() -> None:
    async with running(dispatching=False) as here:
        await here.outbox.subscribes("a")
        here.endpoints.behave("a", answers(200, after_s=0.5))
        async with acting(
            here.dispatcher(per_webhook_max=5), here.dispatcher(per_webhook_max=5), clock=here.outbox.clock
        ):
            happened = [event for number in range(60) for event in await here.outbox.happens(f"lane {number % 20}")]
            await anyio.sleep(60)
        assert sorted(request.event_id for request in here.endpoints.requests) == sorted(happened)
        assert here.endpoints.most[""] == 5


async def test_draining_finishes_requests_in_flight_and_starts_none() -> None:
    async with running(dispatching=False) as here:
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


class SlowClaims(SqliteQueue):
    """The first claim with jobs is answered late."""

    def __init__(self, after_s: float) -> None:
        super().__init__()
        self.after_s = after_s

    async def claim(self, **how: Any) -> list[Job]:
        jobs = await super().claim(**how)
        if jobs:
            after_s, self.after_s = self.after_s, 0.0
            await anyio.sleep(after_s)
        return jobs


@asynccontextmanager
async def claiming_slowly(after_s: float) -> AsyncIterator[Setup]:
    async with logged() as outbox:
        queue = SlowClaims(after_s)
        await queue.open()
        await outbox.subscribes("a")
        await put(queue, "a", count=12)
        yield Setup(outbox, queue)
        await queue.close()


async def test_draining_releases_jobs_that_were_just_claimed_without_counting_an_attempt() -> None:
    async with claiming_slowly(after_s=3) as here:
        async with acting(here.dispatcher(), clock=here.outbox.clock) as (ctx,):
            await anyio.sleep(1)
            assert (await here.queue.stats()).leased == 12
            ctx.draining.set()
        assert here.endpoints.requests == []
        assert (await here.queue.stats()).waiting == 12
        (job, *_) = await here.queue.claim(now_ms=here.outbox.clock.now_ms(), lease_ms=1, jobs_max=1, per_webhook_max=1)
        assert job.attempt == 1


async def test_a_job_whose_lease_is_too_short_for_a_request_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue has answered late; if the request started now, the lease would expire during it."""
    monkeypatch.setattr("airy.actors.dispatcher.LEASE_SPARE_S", 5.0)
    async with claiming_slowly(after_s=6) as here:
        here.endpoints.behave("a", answers(200, after_s=14))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(200)
        assert await here.empty()
        assert sorted(request.event_id for request in here.endpoints.requests) == sorted(
            f"event {n}-0" for n in range(12)
        )
        assert {one.attempt for one in await attempts(here.outbox.bus)} == {1}


async def test_a_delivery_that_crashes_its_dispatchers_becomes_a_dead_letter() -> None:
    async with running(publishing=False, dispatching=False) as here:
        await here.outbox.subscribes("a")
        await put(here.queue, "a", count=2, lane="one")
        for _ in range(LEASES_MAX):
            now_ms = here.outbox.clock.now_ms()
            assert len(await here.queue.claim(now_ms=now_ms, lease_ms=1, jobs_max=1, per_webhook_max=1)) == 1
            await anyio.sleep(0.01)
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            (request,) = await here.delivered("a", 1)
        assert request.event_id == "event 1-0"
        (dead,) = await here.dead()
        assert (dead.event_id, dead.attempts) == ("event 0-0", LEASES_MAX + 1)

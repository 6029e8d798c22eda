"""The dispatcher in virtual time: requests, their order and limits, and the effect of each outcome."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import apsw
import msgspec
import pytest
from msgspec.structs import replace

from airy import topics
from airy.actors.change_sink import ReaderLimits
from airy.actors.delivery import LEASES_MAX, DeliveryMetrics
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.publisher import Publisher
from airy.bus.memory import Faults
from airy.errors import Misconfigured, Unavailable
from airy.http_client import AddressBlocked, Response, ResponseLost
from airy.model.change import ChangeKind
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import NO_ENTRY, EntryId, Job, QueueStats, Shard
from airy.queue.sqlite import SqliteQueue
from airy.webhooks import signing
from airy.webhooks.endpoint_health import FAILURES_TO_OPEN
from airy.webhooks.request import secret_place
from airy.webhooks.retry import SCHEDULE_S
from tests.kit.contracts.queue import entry
from tests.kit.webhooks import (
    SEALER,
    Behaviour,
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
    no_rebuild,
    refuses,
    tp_of,
)

HOUR_S = 3_600
DAY_S = 86_400


class Setup:
    """A queue, endpoints, and a publisher with its dispatcher over one log."""

    def __init__(self, outbox: Outbox, queue: SqliteQueue) -> None:
        self.outbox = outbox
        self.queue = queue
        self.endpoints = Endpoints()
        self.metrics = DeliveryMetrics()

    def publisher(self) -> Publisher:
        return Publisher(
            self.outbox.bus,
            self.outbox,
            self.outbox,
            self.queue,
            rebuild=no_rebuild,
            limits=ReaderLimits(idle_s=HOUR_S, commit_s=DAY_S),
            position_check_s=DAY_S,
        )

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
            metrics=self.metrics,
        )

    async def delivered(self, name: str, count: int, *, within_s: float = 10.0) -> list[Request]:
        await self.endpoints.reached(name, count, within_s)
        await anyio.sleep(0.5)
        return self.endpoints.to(name)

    async def dead(self) -> list[DeadDelivery]:
        """From the log, newest first."""
        await self.outbox.dead_deliveries_of("")
        return list(self.outbox.dead.values())[::-1]

    async def empty(self) -> bool:
        stats = await self.queue.stats()
        return (stats.waiting, stats.leased) == (0, 0)


@asynccontextmanager
async def running(
    *, publishing: bool = True, dispatching: bool = True, queue: SqliteQueue | None = None, **limits: float
) -> AsyncIterator[Setup]:
    async with logged() as outbox:
        queue = queue or SqliteQueue()
        await queue.open()
        made = Setup(outbox, queue)
        actors = [*([made.publisher()] if publishing else []), *([made.dispatcher(**limits)] if dispatching else [])]
        async with acting(*actors, clock=outbox.clock):
            yield made
        await queue.close()


async def put(queue: SqliteQueue, *webhooks: str, count: int = 1, after: EntryId = NO_ENTRY, lane: str = "") -> EntryId:
    """Jobs without a log."""
    first = after[0] + 1
    entries = [entry(number, *webhooks, lane=lane) for number in range(first, first + count)]
    entries = [replace(one, body=msgspec.json.encode({"payload": {"lane": one.lane}})) for one in entries]
    await queue.put(Shard("t", 0), entries, after=after)
    return entries[-1].id


# --- the request


async def test_a_delivery_carries_the_exact_bytes_its_id_its_position_and_signatures_that_verify() -> None:
    """WHK-2, N6."""
    async with running() as here:
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
        (published,) = here.outbox.changed[tp_of("conversation")]
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


async def test_without_secrets_nothing_is_signed_and_configured_headers_replace_defaults() -> None:
    async with running() as here:
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
    async with running() as here:
        await here.outbox.subscribes("a", headers=SEALER.seal(headers, secret_place("a", "headers")))
        await here.outbox.happens()
        await anyio.sleep(2)
        assert here.endpoints.requests == []
        (attempt,) = await attempts(here.outbox.bus)
        assert (attempt.result, attempt.status) == ("again", None)


async def test_a_secret_that_was_moved_from_another_webhook_is_not_used() -> None:
    async with running() as here:
        await here.outbox.subscribes("a", signature_key=SEALER.seal("k-123", secret_place("b", "signature_key")))
        await here.outbox.happens()
        await anyio.sleep(2)
        assert here.endpoints.requests == []
        (attempt,) = await attempts(here.outbox.bus)
        assert "moved" in attempt.error


# --- outcomes


async def test_a_failing_endpoint_gets_the_whole_schedule_and_then_the_lane_continues() -> None:
    async with running() as here:
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
    async with running() as here:
        here.endpoints.behave("a", answers(302, location="https://b.example.com/"))
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        await here.delivered("a", 2)
        assert {one.url for one in here.endpoints.requests} == {"https://a.example.com/"}


async def test_gone_disables_the_webhook_at_once_and_drops_its_jobs() -> None:
    """X-8."""
    async with running() as here:
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


async def test_many_gone_responses_disable_the_webhook_once() -> None:
    async with running(dispatching=False) as here:
        reasons: list[str] = []

        async def disable_webhook(webhook_id: str, reason: str) -> None:
            reasons.append(reason)
            await anyio.sleep(1)
            await here.outbox.disable_webhook(webhook_id, reason)

        dispatcher = here.dispatcher()
        dispatcher._executor._disable_webhook = disable_webhook
        here.endpoints.behave("a", answers(410))
        await here.outbox.subscribes("a")
        for lane in "pqrstuvw":
            await here.outbox.happens(lane)
        async with acting(dispatcher, clock=here.outbox.clock):
            await anyio.sleep(30)
        assert len(here.endpoints.requests) == 8
        assert len(reasons) == 1
        assert await here.empty()


async def test_gone_from_an_old_url_does_not_disable_a_webhook_with_a_new_one() -> None:
    async with running() as here:
        here.endpoints.behave("a", answers(410, after_s=2))
        webhook = await here.outbox.subscribes("a")
        (event_id,) = await here.outbox.happens()
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, url="https://b.example.com/"))
        (request,) = await here.delivered("b", 1, within_s=2 * HOUR_S)
        assert request.event_id == event_id
        assert here.outbox.known["a"].status == "Subscribed"


async def test_disabling_a_webhook_is_retried() -> None:
    async with running(dispatching=False) as here:
        tries = 0

        async def disable_webhook(webhook_id: str, reason: str) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise Unavailable("the log cannot serve")
            await here.outbox.disable_webhook(webhook_id, reason)

        dispatcher = here.dispatcher()
        dispatcher._executor._disable_webhook = disable_webhook
        here.endpoints.behave("a", answers(410))
        async with acting(dispatcher, clock=here.outbox.clock):
            await here.outbox.subscribes("a")
            await here.outbox.happens()
            await anyio.sleep(30)
            assert (tries, here.outbox.known["a"].status) == (1, "Subscribed")
            await anyio.sleep(60)
            assert (tries, here.outbox.known["a"].status) == (2, "Unsubscribed")
            assert await here.empty()


async def test_five_days_of_failures_disable_a_webhook() -> None:
    async with running() as here:
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


@pytest.mark.slow
@pytest.mark.parametrize("how", ["a success", "a change"])
async def test_a_success_or_a_change_of_the_webhook_restarts_the_five_days(how: str) -> None:
    async with running() as here:
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
    async with running() as here:
        here.endpoints.behave("a", in_turn(answers(503, retry_after="900"), answers(200)))
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        first, second = await here.delivered("a", 2, within_s=2_000)
        assert 900 <= second.at_s - first.at_s < 902


async def test_throttling_affects_one_endpoint_only() -> None:
    async with running() as here:
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
    async def blocked(_request: Request) -> Response:
        raise AddressBlocked("10.0.0.1 is not a public address", field="url")

    async with running() as here:
        here.endpoints.behave("a", blocked)
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        await here.delivered("a", 1)
        (attempt,) = await attempts(here.outbox.bus)
        assert (attempt.result, attempt.error) == ("again", "10.0.0.1 is not a public address")


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


# --- badly framed answers


def badly_framed(status: int, **headers: str) -> Behaviour:
    async def behave(_request: Request) -> Response:
        received = Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"cut")
        raise ResponseLost("a.example.com: the answer is incomplete or badly framed", received=received)

    return behave


async def test_a_badly_framed_answer_counts_by_its_status() -> None:
    async with running() as here:
        await here.outbox.subscribes("a")
        here.endpoints.behave("a", in_turn(badly_framed(503, retry_after="60"), badly_framed(200)))
        await here.outbox.happens()
        first, second = await here.delivered("a", 2, within_s=120)
        assert second.at_s - first.at_s == pytest.approx(60, rel=0.25)
        assert [(one.status, one.result, one.error, one.response) for one in await attempts(here.outbox.bus)] == [
            (503, "again", "", "cut"),
            (200, "delivered", "", "cut"),
        ]
        assert await here.empty()


async def test_a_badly_framed_410_disables_the_webhook() -> None:
    async with running() as here:
        await here.outbox.subscribes("a")
        here.endpoints.behave("a", badly_framed(410))
        await here.outbox.happens()
        await here.delivered("a", 1)
        assert here.outbox.known["a"].status == "Unsubscribed"


# --- bugs


def raises(error: Exception) -> Behaviour:
    async def behave(_request: Request) -> Response:
        raise error

    return behave


@pytest.mark.parametrize("error", [UnicodeError("sesame"), KeyError("sesame"), RuntimeError("sesame")])
async def test_an_unexpected_exception_of_one_job_is_a_failed_attempt_of_it(error: Exception) -> None:
    async with running() as here:
        for name in ("bad", "good"):
            await here.outbox.subscribes(name)
        here.endpoints.behave("bad", in_turn(raises(error), answers(200)))
        await here.outbox.happens()
        await here.delivered("good", 1)
        await here.delivered("bad", 2)
        recorded = {(one.webhook_id, one.attempt, one.result): one.error for one in await attempts(here.outbox.bus)}
        assert recorded == {
            ("good", 1, "delivered"): "",
            ("bad", 1, "again"): "a bug in Airy ended the attempt; its log has the details",
            ("bad", 2, "delivered"): "",
        }
        assert here.metrics.bugs == {"delivery": 1}
        assert await here.empty()


class Unsettling(SqliteQueue):
    """Meets a bug in the first outcomes of one webhook's job."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def _meet(self, job: Job) -> None:
        if job.webhook_id == "bad" and self._times:
            self._times -= 1
            raise ValueError("sesame")

    async def complete(self, job: Job) -> bool:
        self._meet(job)
        return await super().complete(job)

    async def retry(self, job: Job, *, now_ms: int, due_ms: int, reason: str) -> bool:
        self._meet(job)
        return await super().retry(job, now_ms=now_ms, due_ms=due_ms, reason=reason)


class Failing(SqliteQueue):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def complete(self, job: Job) -> bool:
        raise self._error


@pytest.mark.parametrize("times", [1, 2])
async def test_a_bug_while_a_delivery_is_settled_is_a_failed_attempt_of_it(times: int) -> None:
    """By the schedule, or after its lease if the queue cannot take the failure either."""
    async with running(queue=Unsettling(times)) as here:
        for name in ("bad", "good"):
            await here.outbox.subscribes(name)
        await here.outbox.happens()
        await here.delivered("good", 1)
        first, second = await here.delivered("bad", 2, within_s=60)
        assert (second.at_s - first.at_s < 10) is (times == 1)
        assert here.metrics.bugs == {"delivery": times}
        assert await here.empty()


@pytest.mark.parametrize("error", [apsw.CorruptError("damaged"), Misconfigured("read-only"), RuntimeError("closed")])
async def test_a_failure_of_the_queue_ends_the_dispatcher(error: Exception) -> None:
    async with running(queue=Failing(error), dispatching=False) as here:
        await here.outbox.subscribes("a")
        await here.outbox.happens()
        with pytest.raises(ExceptionGroup) as failed:
            await here.dispatcher().run(context("dispatcher", clock=here.outbox.clock))
        assert failed.group_contains(type(error))


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


# --- deliveries that are not wanted any more


async def test_jobs_of_an_unsubscribed_webhook_are_dropped_before_the_request() -> None:
    async with running(dispatching=False) as here:
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


async def test_events_a_webhook_is_no_longer_subscribed_to_are_not_sent() -> None:
    async with running(dispatching=False) as here:
        webhook = await here.outbox.subscribes("a")
        await here.outbox.happens("x", kind=ChangeKind.MESSAGE_CREATED)
        (kept,) = await here.outbox.happens("x", kind=ChangeKind.CONVERSATION_UPDATED)
        await anyio.sleep(1)
        await here.outbox.writes(replace(webhook, events=("conversation.updated",)))
        async with acting(here.dispatcher(), clock=here.outbox.clock):
            await anyio.sleep(1)
        assert [request.event_id for request in here.endpoints.to("a")] == [kept]
        assert await here.empty()


async def test_jobs_of_a_webhook_that_is_not_folded_yet_are_not_dropped() -> None:
    async with running(publishing=False) as here:
        webhook = await here.outbox.subscribes("a", folded=False)
        await put(here.queue, "a")
        await anyio.sleep(3)
        assert not await here.empty()
        ((end, _),) = [item for item in (await here.outbox.bus.end_offsets([topics.WEBHOOKS])).items() if item[1]]
        here.outbox.fold_webhook(topics.Position(*end, 0), webhook)
        await here.delivered("a", 1)
        assert await here.empty()


async def test_a_delivery_waits_for_a_lagging_store_without_using_attempts() -> None:
    async with running(publishing=False) as here:
        webhook = await here.outbox.subscribes("a", folded=False)
        await put(here.queue, "a")
        await anyio.sleep(HOUR_S)
        assert await here.queue.stats() == QueueStats(1, 0, 1_000) or (await here.queue.stats()).leased == 1
        await here.outbox.writes(webhook)
        ((end, _),) = [item for item in (await here.outbox.bus.end_offsets([topics.WEBHOOKS])).items() if item[1]]
        here.outbox.fold_webhook(topics.Position(*end, 1), webhook)
        await here.delivered("a", 1, within_s=60)
        await anyio.sleep(2)
        (attempt,) = await attempts(here.outbox.bus)
        assert attempt.attempt == 1


async def test_the_dispatcher_does_not_spin_while_the_log_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(publishing=False) as here:
        asked = 0

        async def ends(_topics: object) -> dict[object, int]:
            nonlocal asked
            asked += 1
            raise Unavailable("the log cannot serve")

        monkeypatch.setattr(here.outbox.bus, "end_offsets", ends)
        await put(here.queue, "unknown")
        await anyio.sleep(20)
        assert 10 < asked <= 21


# --- attempts


async def test_every_attempt_is_recorded_with_its_outcome() -> None:
    async with running() as here:
        here.endpoints.behave("a", in_turn(answers(500, body=b"try later", after_s=0.25), refuses(), answers(200)))
        await here.outbox.subscribes("a")
        (event_id,) = await here.outbox.happens()
        await here.delivered("a", 3, within_s=600)
        first, second, third = await attempts(here.outbox.bus)
        assert first == DeliveryAttempt(
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


async def test_a_recorded_response_is_cut_and_its_echoed_secrets_redacted() -> None:
    async with running() as here:
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


async def test_deliveries_go_on_while_attempts_cannot_be_recorded() -> None:
    async with running(publishing=False) as here:
        faults = here.outbox.bus._faults = Faults()
        await here.outbox.subscribes("a")
        faults.script("publish", "unavailable", times=1_000)
        await put(here.queue, "a", count=50)
        await here.delivered("a", 50)
        assert await here.empty()
        assert await attempts(here.outbox.bus) == []
        faults.clear()
        await anyio.sleep(5)
        assert len(await attempts(here.outbox.bus)) == 50


# --- an unavailable queue


async def test_an_unavailable_queue_delays_but_loses_and_duplicates_nothing() -> None:
    async with running(publishing=False, dispatching=False) as here:
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

"""Limits of callers and of the API: 429 and 503 with Retry-After, and webhooks of providers go first."""

import anyio
import pytest

from airy.http.admission import AdmissionLimits
from airy.rate_limit import RateLimiter, RateLimits
from tests.kit.api import ApiHarness, api_harness
from tests.kit.asgi import AsgiResponse, call
from tests.kit.signing import signature

LIMITS = RateLimits(requests_per_s=2.0, burst=3, callers_max=2)


class Now:
    at = 0.0

    def __call__(self) -> float:
        return self.at


# --- callers


def test_a_caller_has_a_burst_and_then_its_rate() -> None:
    now = Now()
    limiter = RateLimiter(LIMITS, now=now)
    assert [limiter.take("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert limiter.take("b") == 0
    now.at = 0.5
    assert [limiter.take("a"), limiter.take("a")] == [0, 0.5]
    now.at = 1_000
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.rejected == 4


def test_the_buckets_are_bounded_and_the_longest_idle_is_forgotten() -> None:
    limiter = RateLimiter(LIMITS, now=Now())
    for _ in range(3):
        limiter.take("a")
    assert limiter.take("b") == 0
    assert limiter.take("a") > 0
    assert limiter.take("c") == 0
    assert len(limiter._buckets) == 2
    assert limiter.take("a") > 0  # b was idle longer


async def test_too_many_requests_of_a_caller_are_a_429_and_others_are_not_affected() -> None:
    async with api_harness(rate_limits=RateLimits(requests_per_s=0.5, burst=2)) as api:
        token = (await api.call("/tokens.create", {"name": "x", "role": "agent"}, status=201))["token"]
        assert (await api.post("/tags.list")).status == 200
        answer = await api.post("/tags.list")
        assert (answer.status, answer.headers["retry-after"], answer.json()["code"]) == (429, "2", "rate_limited")
        assert (await api.post("/tags.list", authorization=token)).status == 200
        assert (await call(api.app, "GET", "/livez")).status == 200
        await anyio.sleep(2)
        assert (await api.post("/tags.list")).status == 200
        assert api.app.rejected == {"rate_limited": 1.0, "shed": 0.0}


async def test_a_caller_without_the_permission_uses_up_its_rate_too() -> None:
    async with api_harness(rate_limits=RateLimits(requests_per_s=1, burst=2)) as api:
        token = (await api.call("/tokens.create", {"name": "x", "role": "analyst"}, status=201))["token"]
        found = [(await api.post("/tags.create", authorization=token)).status for _ in range(3)]
        assert found == [403, 403, 429]


# --- the API as a whole


async def webhook(api: ApiHarness) -> AsgiResponse:
    body = b"{}"
    return await call(
        api.app, "POST", "/facebook", body=body, headers=[("x-hub-signature-256", signature(body).decode())]
    )


async def test_requests_beyond_those_in_flight_and_waiting_are_shed() -> None:
    limits = AdmissionLimits(in_flight_max=1, queue_max=1, queue_s=0.2)
    statuses: list[int] = []
    async with api_harness(api_limits=limits, projecting=False, wait_s=2.0) as api:

        async def create() -> None:
            statuses.append((await api.post("/tags.create", {"name": "x", "color": "tag-red"})).status)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(create)
            await anyio.sleep(0.1)
            assert statuses == [503]  # the third; the second waits
            assert (await webhook(api)).status == 200
            assert (await call(api.app, "GET", "/readyz")).status == 200
            await anyio.sleep(0.2)
            assert statuses == [503, 503]
        assert api.app.rejected["shed"] == 2


async def test_while_a_webhook_waits_the_api_is_shed_first() -> None:
    async with api_harness(webhook_limits=AdmissionLimits(in_flight_max=1, queue_s=5.0)) as api:
        gate, publish = anyio.Event(), api.bus.publish

        async def slow(records: object) -> object:
            await gate.wait()
            return await publish(records)  # type: ignore[arg-type]

        api.bus.publish = slow  # type: ignore[method-assign, assignment]
        webhooks: list[int] = []

        async def post() -> None:
            webhooks.append((await webhook(api)).status)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(post)
            await anyio.sleep(0.1)
            assert (await api.post("/tags.list")).status == 200  # one in flight, none waits
            tasks.start_soon(post)
            await anyio.sleep(0.1)
            answer = await api.post("/tags.list")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            gate.set()
        assert webhooks == [200, 200]
        assert (await api.post("/tags.list")).status == 200


@pytest.mark.parametrize("path", ["/tags.list", "/nothing"])
async def test_every_answer_gives_its_place_back(path: str) -> None:
    async with api_harness(api_limits=AdmissionLimits(in_flight_max=1, queue_max=0)) as api:
        for _ in range(3):
            assert (await api.post(path)).status in (200, 404)
            assert (await api.post(path, authorization="wrong")).status in (403, 404)

"""The request of a delivery, what its answer means, and attempts."""

from itertools import pairwise

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.bus.memory import Faults
from airy.errors import Unavailable
from airy.http_client import AddressBlocked, Response, ResponseLost
from airy.model.delivery_attempt import DeliveryAttempt
from airy.webhooks import signing
from airy.webhooks.request import secret_place
from airy.webhooks.retry import SCHEDULE_S
from tests.kit.dispatching import DAY_S, HOUR_S, put, running
from tests.kit.webhooks import (
    SEALER,
    Behaviour,
    Request,
    acting,
    answers,
    attempts,
    in_turn,
    refuses,
    tp_of,
)

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
            queued_at_ms=first.queued_at_ms,
            took_ms=250,
            result="again",
            status=500,
            response="try later",
            again_at_ms=first.again_at_ms,
        )
        assert first.again_at_ms is not None
        assert first.queued_at_ms == second.queued_at_ms == third.queued_at_ms
        assert first.queued_at_ms is not None
        assert first.queued_at_ms <= first.at_ms
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

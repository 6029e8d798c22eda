"""`/webhooks.stats`, `.attempts`, `.test`: what an operator asks about an endpoint."""

import json
from collections.abc import Mapping

import anyio
import pytest
from msgspec.structs import replace

from airy.http.response_schemas import ListSchema
from airy.http.webhook_schemas import DeliveryAttemptSchema, WebhookStatsSchema
from airy.http_client import AddressBlocked, ConnectFailed, Response
from airy.model import ids
from airy.model.delivery_attempt import DeliveryAttempt
from airy.queue.api import NO_ENTRY
from airy.webhooks import signing
from tests.kit.api import ApiHarness, api_harness
from tests.kit.contracts.queue import claim, entry, put
from tests.kit.response_schemas import validated

URL = "https://crm.example.net/hook"


class Endpoint:
    """Answers with `answer` after `took_s`, and stores what it was sent."""

    def __init__(self) -> None:
        self.answer: Response | Exception = Response(200, {}, b"thanks k-123456")
        self.took_s = 0.25
        self.received: list[tuple[dict[str, str], bytes]] = []

    async def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str] = {}, body: bytes | None = None, **_: object
    ) -> Response:
        assert (method, url) == ("POST", URL)
        self.received.append(({name.lower(): value for name, value in headers.items()}, body or b""))
        await anyio.sleep(self.took_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def subscribe(api: ApiHarness, **more: object) -> tuple[str, str]:
    """Id and signing secret."""
    made = await api.call("/webhooks.subscribe", {"url": URL, **more})
    return made["id"], made["signing_secret"]


async def stats(api: ApiHarness, **body: object) -> list[WebhookStatsSchema]:
    return validated(ListSchema[WebhookStatsSchema], await api.call("/webhooks.stats", body)).data


async def attempts(api: ApiHarness, webhook_id: str) -> list[DeliveryAttemptSchema]:
    found = await api.call("/webhooks.attempts", {"id": webhook_id})
    return validated(ListSchema[DeliveryAttemptSchema], found).data


def attempt(webhook_id: str, number: int, at_ms: int) -> DeliveryAttempt:
    return DeliveryAttempt(
        id=f"event {number}:{webhook_id}",
        webhook_id=webhook_id,
        event_id=f"event {number}",
        kind="message.created",
        attempt=2,
        at_ms=at_ms,
        took_ms=40,
        result="again",
        status=503,
        again_at_ms=at_ms + 5_000,
    )


async def test_a_test_is_one_signed_event_and_answers_status_latency_and_response() -> None:
    endpoint = Endpoint()
    async with api_harness(client=endpoint) as api:
        webhook_id, secret = await subscribe(api, headers={"X-Api-Key": "k-123456"})
        found = validated(DeliveryAttemptSchema, await api.call("/webhooks.test", {"id": webhook_id}))
        assert (found.outcome, found.status, found.error, found.latency_ms) == ("delivered", 200, None, 250)
        assert found.response == "thanks ***"
        ((headers, body),) = endpoint.received
        event = json.loads(body)
        assert (event["type"], event["payload"]["webhook_id"]) == ("webhook.test", webhook_id)
        assert headers["x-api-key"] == "k-123456"
        assert headers["webhook-signature"] == signing.standard(
            [signing.secret_key(secret)], headers["webhook-id"], int(headers["webhook-timestamp"]), body
        )
        assert await attempts(api, webhook_id) == [found]


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (Response(500, {}, b"oops"), 500, None),
        (ConnectFailed("crm.example.net: connection refused"), None, "crm.example.net: connection refused"),
        (AddressBlocked("crm.example.net is 10.0.0.1, a private address"), None, "a private address"),
    ],
)
async def test_a_test_that_fails_says_why_and_is_not_repeated(
    answer: Response | Exception, status: int | None, error: str | None
) -> None:
    endpoint = Endpoint()
    endpoint.answer = answer
    async with api_harness(client=endpoint) as api:
        webhook_id, _ = await subscribe(api)
        found = validated(DeliveryAttemptSchema, await api.call("/webhooks.test", {"id": webhook_id}))
        assert (found.outcome, found.status, found.next_attempt_at) == ("failed", status, None)
        assert (found.error or "").endswith(error or "")
        assert (await api.queue.stats()).waiting == 0


async def test_a_test_waits_for_no_delivery_and_does_not_count_as_one() -> None:
    endpoint = Endpoint()
    async with api_harness(client=endpoint) as api:
        webhook_id, _ = await subscribe(api)
        await put(api.queue, *(entry(number, webhook_id, lane="one") for number in range(2)), after=NO_ENTRY)
        (job,) = await claim(api.queue)
        await api.call("/webhooks.test", {"id": webhook_id})
        (found,) = await stats(api)
        assert (found.waiting, found.in_flight, found.attempts, found.last_attempt) == (1, 1, 0, None)
        assert await api.queue.complete(job)
        assert [each.entry.id for each in await claim(api.queue)] == [(1, 0)]


async def test_stats_have_queue_failures_and_recent_attempts() -> None:
    async with api_harness() as api:
        webhook_id, _ = await subscribe(api)
        other, _ = await subscribe(api)
        now_ms = api.clock.now_ms()
        await put(api.queue, replace(entry(0, webhook_id), at_ms=now_ms - 60_000), entry(1, webhook_id), after=NO_ENTRY)
        failed, _ = await claim(api.queue, now_ms)
        await api.queue.retry(failed, now_ms=now_ms, due_ms=now_ms + 5_000, reason="answered 503")
        good = replace(attempt(webhook_id, 0, now_ms - 10), result="delivered", status=200, again_at_ms=None)
        await api.queue.keep_attempts([good, good, attempt(webhook_id, 1, now_ms)])
        first, second = await stats(api, ids=[webhook_id, other, webhook_id])
        assert (first.health, first.waiting, first.in_flight, first.failures) == ("failing", 1, 1, 1)
        assert (first.attempts, first.success_rate) == (3, 0.667)
        assert first.last_attempt is not None
        assert (first.last_attempt.status, first.last_attempt.latency_ms) == (503, 40)
        assert first.last_attempt.outcome == "retry"
        assert first.retry_at == first.last_attempt.next_attempt_at
        assert (second.health, second.success_rate, second.oldest_at) == ("ok", None, None)

        paused = replace(attempt(webhook_id, 2, now_ms), paused_until_ms=now_ms + 30_000)
        await api.queue.keep_attempts([paused])
        assert [each.health for each in await stats(api, ids=[webhook_id])] == ["paused"]
        await api.call("/webhooks.unsubscribe", {"id": webhook_id})
        assert {each.id: each.health for each in await stats(api)} == {webhook_id: "unsubscribed", other: "ok"}


async def test_attempts_are_of_one_webhook_newest_first_and_deleted_with_it() -> None:
    async with api_harness() as api:
        webhook_id, _ = await subscribe(api)
        await api.queue.keep_attempts([attempt(webhook_id, number, number) for number in range(3)])
        await api.queue.keep_attempts([attempt(ids.derive("other"), 3, 3)])
        assert [each.event_id for each in await attempts(api, webhook_id)] == ["event 2", "event 1", "event 0"]
        assert len((await api.call("/webhooks.attempts", {"id": webhook_id, "page_size": 2}))["data"]) == 2
        for body in ({}, {"id": webhook_id, "page_size": 51}, {"id": webhook_id, "page_size": 0}):
            await api.call("/webhooks.attempts", body, status=400)
        await api.call("/webhooks.delete", {"id": webhook_id}, status=204)
        assert await api.queue.attempts([webhook_id], attempts_max=9) == [[]]
        for path in ("/webhooks.attempts", "/webhooks.test"):
            await api.call(path, {"id": webhook_id}, status=404)
        await api.call("/webhooks.stats", {"ids": [webhook_id]}, status=404)
        await api.call("/webhooks.stats", {"ids": [webhook_id] * 101}, status=400)

"""`/webhooks.*`: subscriptions, their secrets, and dead deliveries."""

from base64 import b64decode

import msgspec
import pytest
from msgspec import Raw

from airy import topics
from airy.errors import Unavailable
from airy.http.response_schemas import ListSchema, PageSchema
from airy.http.webhook_schemas import DeadDeliverySchema, SignedWebhookSchema, WebhookSchema
from airy.model import ids
from airy.model.dead_delivery import DeadDelivery
from airy.seal import seal_context
from airy.webhooks.request import open_target
from tests.kit.api import ApiHarness, api_harness
from tests.kit.response_schemas import validated

UNKNOWN_ID = ids.derive("unknown")
URL = "https://crm.example.net/hook"
MASKED = "*****"


async def subscribe(api: ApiHarness, **body: object) -> SignedWebhookSchema:
    return validated(SignedWebhookSchema, await api.call("/webhooks.subscribe", {"url": URL, **body}))


async def info(api: ApiHarness, webhook_id: str) -> WebhookSchema:
    return validated(WebhookSchema, await api.call("/webhooks.info", {"id": webhook_id}))


async def test_subscribing_without_the_delivery_components_is_a_conflict() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        api.health.off.add("webhook-publisher")
        for path, body in (("/webhooks.subscribe", {"url": URL}), ("/webhooks.update", {"id": made.id, "name": "x"})):
            problem = await api.call(path, body, status=409)
            assert "enable webhook-publisher" in problem["message"]
        assert (await api.call("/webhooks.unsubscribe", {"id": made.id}))["status"] == "Unsubscribed"


async def test_a_webhook_is_subscribed_read_updated_unsubscribed_and_deleted() -> None:
    async with api_harness() as api:
        made = await subscribe(api, name="CRM", events=["message.created"], headers={"X-Api-Key": "k-123"})
        assert (made.status, made.url, made.name, made.events) == ("Subscribed", URL, "CRM", ["message.created"])
        shown = await info(api, made.id)
        assert validated(ListSchema[WebhookSchema], await api.call("/webhooks.list")).data == [shown]
        changed = await api.call("/webhooks.update", {"id": made.id, "name": "ERP"})
        assert changed == {**msgspec.to_builtins(shown), "name": "ERP"}
        gone = await api.call("/webhooks.unsubscribe", {"id": made.id})
        assert gone == {**changed, "status": "Unsubscribed"}
        assert await api.call("/webhooks.unsubscribe", {"id": made.id}) == gone
        back = await api.call("/webhooks.update", {"id": made.id, "status": "Subscribed"})
        assert back == changed
        await api.call("/webhooks.delete", {"id": made.id}, status=204)
        assert (await api.call("/webhooks.list"))["data"] == []


async def test_headers_and_events_are_never_null() -> None:
    async with api_harness() as api:
        for body in ({}, {"headers": None, "events": None, "name": None, "signature_key": None}):
            made = await subscribe(api, **body)
            assert (made.headers, made.events, made.name) == ({}, [], None)


async def test_an_update_keeps_absent_fields_and_clears_empty_ones() -> None:
    async with api_harness() as api:
        made = await subscribe(api, events=["message.created"], headers={"X-Api-Key": "k-123"})
        for body in ({}, {"events": None, "headers": None}):
            kept = validated(WebhookSchema, await api.call("/webhooks.update", {"id": made.id, **body}))
            assert (kept.events, list(kept.headers)) == (["message.created"], ["X-Api-Key"])
        emptied = await api.call("/webhooks.update", {"id": made.id, "events": [], "headers": {}})
        assert (emptied["events"], emptied["headers"]) == ([], {})


async def test_events_are_accepted_in_the_spellings_of_the_original() -> None:
    async with api_harness() as api:
        made = await subscribe(api, events=["MESSAGE_CREATED", "Conversation.Updated", "message.created"])
        assert made.events == ["message.created", "conversation.updated"]
        problem = await api.call("/webhooks.subscribe", {"url": URL, "events": ["message.sent"]}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["events"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "/hook",
        "ftp://x.y/",
        "http://",
        "https:///x",
        "https://x.y:99999/",
        "https://x.y:0/",
        "https://a b.c/",
        "https://user:pw@x.y/",
        "https://x.y/\n",
        "https://ü.example/",
        "https://[::1/",
        "https://x.y/" + "a" * 3_000,
    ],
)
async def test_an_invalid_url_is_a_400(url: str) -> None:
    async with api_harness() as api:
        problem = await api.call("/webhooks.subscribe", {"url": url}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["url"]


@pytest.mark.parametrize(
    "url", ["https://xn--a.example/x", "https://xn--zzzzzz.example/", "https://hook_1.xn--strae-oqa.de/x"]
)
async def test_a_host_without_a_unicode_form_is_a_url_like_any_other(url: str) -> None:
    async with api_harness() as api:
        assert (await subscribe(api, url=url)).url == url


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"content-length": "1"},
        {"Transfer-Encoding": "x"},
        {"Webhook-Id": "x"},
        {"A B": "x"},
        {"": "x"},
        {"X": "a\r\nEvil: b"},
        {"X": "ü€"},
        {"X": "a" * 5_000},
        {"X": MASKED},
        {f"X-{n}": "x" for n in range(40)},
    ],
)
async def test_forbidden_or_invalid_headers_are_a_400(headers: dict[str, str]) -> None:
    async with api_harness() as api:
        problem = await api.call("/webhooks.subscribe", {"url": URL, "headers": headers}, status=400)
        assert all(error["field"].startswith("headers") for error in problem["fields"])
        assert (await api.call("/webhooks.list"))["data"] == []


async def test_subscribing_a_known_id_replaces_the_webhook() -> None:
    async with api_harness() as api:
        first = await subscribe(api, name="CRM", headers={"X": "y"}, events=["message.created"])
        second = await subscribe(api, id=first.id.upper())
        assert (second.id, second.name, second.headers, second.events) == (first.id, None, {}, [])
        assert second.signing_secret != first.signing_secret
        assert len((await api.call("/webhooks.list"))["data"]) == 1


async def test_an_unknown_webhook_is_a_404() -> None:
    async with api_harness() as api:
        for verb in ("info", "update", "unsubscribe", "delete", "rotate-secret", "rotateSecret", "replay"):
            problem = await api.call(f"/webhooks.{verb}", {"id": UNKNOWN_ID}, status=404)
            assert [error["field"] for error in problem["fields"]] == ["id"]
        problem = await api.call("/webhooks.update", {"id": UNKNOWN_ID, "status": "On"}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["status"]


# --- secrets


async def test_secrets_are_returned_at_most_once_and_sealed_in_the_log() -> None:
    async with api_harness() as api:
        made = await subscribe(api, signatureKey="sign-with-this", headers={"Authorization": "Bearer crm-secret"})
        assert made.headers == {"Authorization": MASKED}
        assert len(b64decode(made.signing_secret.removeprefix("whsec_"))) == 32
        later = [
            await api.post("/webhooks.info", {"id": made.id}),
            await api.post("/webhooks.list"),
            await api.post("/webhooks.update", {"id": made.id, "name": "x"}),
            await api.post("/webhooks.unsubscribe", {"id": made.id}),
        ]
        said = b"".join(answer.body for answer in later)
        logged = b"".join(record.value or b"" for record in await api.records(topics.WEBHOOKS))
        for secret in ("sign-with-this", "crm-secret", made.signing_secret):
            assert secret.encode() not in said + logged
        stored = await api.store.webhook(made.id)
        assert stored is not None
        sealer = api.sealer
        assert (
            sealer.unseal(stored.secrets[0], seal_context(topics.WEBHOOKS.name, made.id, "secrets"))
            == made.signing_secret
        )
        key = sealer.unseal(stored.signature_key or "", seal_context(topics.WEBHOOKS.name, made.id, "signature_key"))
        assert key == "sign-with-this"


async def test_a_masked_header_value_keeps_the_stored_one() -> None:
    async with api_harness() as api:
        made = await subscribe(api, headers={"X-Api-Key": "k-123"})
        await api.call("/webhooks.update", {"id": made.id, "headers": {**made.headers, "X-New": "n"}})
        stored = await api.store.webhook(made.id)
        assert stored is not None
        headers = api.sealer.unseal(stored.headers or "", seal_context(topics.WEBHOOKS.name, made.id, "headers"))
        assert msgspec.json.decode(headers) == {"X-Api-Key": "k-123", "X-New": "n"}


async def test_rotating_keeps_the_previous_secret() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        secrets = [made.signing_secret]
        for _ in range(2):
            rotated = await api.call("/webhooks.rotate-secret", {"id": made.id})
            secrets.append(validated(SignedWebhookSchema, rotated).signing_secret)
        assert len(set(secrets)) == 3
        stored = await api.store.webhook(made.id)
        assert stored is not None
        where = seal_context(topics.WEBHOOKS.name, made.id, "secrets")
        assert [api.sealer.unseal(sealed, where) for sealed in stored.secrets] == [secrets[2], secrets[1]]


async def test_a_subscription_starts_at_the_end_offsets() -> None:
    async with api_harness() as api:
        before = await subscribe(api)
        await api.call("/tags.create", {"name": "Urgent", "color": "tag-red"}, status=201)
        after = await subscribe(api)
        stored = [await api.store.webhook(made.id) for made in (before, after)]
        assert all(
            webhook is not None and webhook.since.keys() == {t.name for t in topics.CHANGE_TOPICS} for webhook in stored
        )
        ends = [sum(webhook.since[topics.TAGS.name]) for webhook in stored if webhook]
        assert ends[1] == ends[0] + 1


# --- dead deliveries


async def append_dead_deliveries(api: ApiHarness, webhook_id: str, count: int) -> list[str]:
    """Append dead deliveries that are a second apart; return their ids."""
    dead = [
        DeadDelivery(
            delivery_id=f"event-{number}:{webhook_id}",
            webhook_id=webhook_id,
            event_id=f"event-{number}",
            kind="message.created",
            lane=f"lane {number}",
            topic=topics.EVENTS.name,
            partition=number % 3,
            at_ms=0,
            attempts=10,
            reason="410 gone",
            died_at_ms=1_700_000_000_000 + 1000 * number,
            body=Raw(b'{"id":"event-%d"}' % number),
        )
        for number in range(count)
    ]
    await api.writer.write_all([topics.DEAD_DELIVERIES.record(one.id, one) for one in dead])
    return [one.delivery_id for one in dead]


async def list_dead_deliveries(
    api: ApiHarness, body: object = None, spelling: str = "dead-letters"
) -> list[DeadDeliverySchema]:
    return validated(PageSchema[DeadDeliverySchema], await api.call(f"/webhooks.{spelling}", body)).data


async def test_dead_deliveries_are_listed_with_their_reason_and_replayed_one_or_all() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        names = await append_dead_deliveries(api, made.id, 3)
        for body, spelling in (({}, "dead-letters"), ({"id": made.id}, "deadLetters")):
            dead = await list_dead_deliveries(api, body, spelling)
            assert [delivery.delivery_id for delivery in dead] == names[::-1]
            assert {delivery.reason for delivery in dead} == {"410 gone"}
            assert dead[-1].died_at == "2023-11-14T22:13:20.000Z"
        assert await list_dead_deliveries(api, {"id": UNKNOWN_ID}) == []
        assert await api.call("/webhooks.replay", {"delivery_id": names[0]}) == {"replayed": 1}
        await api.call("/webhooks.replay", {"delivery_id": names[0]}, status=404)
        await api.call("/webhooks.replay", {"delivery_id": "unknown"}, status=404)
        assert await api.call("/webhooks.replay", {"id": made.id}) == {"replayed": 2}
        assert await api.call("/webhooks.replay", {"id": made.id}) == {"replayed": 0}
        assert await list_dead_deliveries(api) == []
        jobs = await api.queue.claim(now_ms=api.writer.now_ms(), lease_ms=1, jobs_max=9, per_webhook_max=9)
        bodies = [b'{"id":"event-%d"}' % number for number in range(3)]
        assert [(job.id, job.entry.body) for job in jobs] == list(zip(names, bodies, strict=True))
        await api.call("/webhooks.replay", {}, status=400)
        await api.call("/webhooks.replay", {"delivery_id": "x", "id": made.id}, status=400)
        await api.call("/webhooks.replay", {"id": UNKNOWN_ID}, status=404)


async def test_dead_deliveries_are_paginated() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        names = await append_dead_deliveries(api, made.id, 5)
        seen, cursor, sizes = [], None, []
        while True:
            page = await api.call("/webhooks.dead-letters", {"id": made.id, "page_size": 2, "cursor": cursor})
            seen += [delivery["delivery_id"] for delivery in page["data"]]
            sizes.append(len(page["data"]))
            assert page["pagination_data"]["total"] == 5
            cursor = page["pagination_data"]["next_cursor"]
            if cursor is None:
                break
        assert (seen, sizes) == (names[::-1], [2, 2, 1])
        await api.call("/webhooks.dead-letters", {"cursor": "nonsense"}, status=400)


async def test_a_replay_returns_the_position_of_each_of_its_records() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        names = await append_dead_deliveries(api, made.id, 8)
        answer = await api.post("/webhooks.replay", {"id": made.id})
        tokens = answer.headers["x-airy-position"].split(",")
        positions = [topics.parse_position_token(token) for token in tokens]
        keys = [f"{name}@{1_700_000_000_000 + 1000 * number}" for number, name in enumerate(names)]
        written = {topics.DEAD_DELIVERIES.partition(key) for key in keys}
        assert {position.partition for position in positions} == written
        assert len(positions) == len(written) > 1
        assert (await api.post("/webhooks.dead-letters", {}, x_airy_position=",".join(tokens))).status == 200


async def test_dead_deliveries_of_an_unsubscribed_webhook_are_not_replayed() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        (name,) = await append_dead_deliveries(api, made.id, 1)
        await api.call("/webhooks.unsubscribe", {"id": made.id})
        for body in ({"delivery_id": name}, {"id": made.id}):
            problem = await api.call("/webhooks.replay", body, status=409)
            assert "subscribe it again" in problem["message"]
        assert [delivery.delivery_id for delivery in await list_dead_deliveries(api)] == [name]


async def test_a_replay_is_recorded_even_if_the_queue_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **_named: object) -> bool:
        raise Unavailable("redis is away")

    async with api_harness() as api:
        made = await subscribe(api)
        (name,) = await append_dead_deliveries(api, made.id, 1)
        monkeypatch.setattr(api.queue, "replay", away)
        assert await api.call("/webhooks.replay", {"delivery_id": name}) == {"replayed": 1}
        (wished,) = await api.store.pending_replays(after=(-1, ""), replays_max=9)
        assert wished.delivery_id == name


async def test_deleting_a_webhook_drops_its_queued_deliveries() -> None:
    async with api_harness() as api:
        made = await subscribe(api)
        await append_dead_deliveries(api, made.id, 2)
        await api.call("/webhooks.replay", {"id": made.id})
        await api.call("/webhooks.delete", {"id": made.id}, status=204)
        assert (await api.queue.stats()).waiting == 0


async def test_outer_white_space_of_keys_does_not_count_and_invisible_characters_are_refused() -> None:
    async with api_harness() as api:
        made = await subscribe(api, signature_key=" key\n", headers={"Authorization": "Bearer abc\n"})
        stored = await api.store.webhook(made.id)
        assert stored is not None
        target = open_target(stored, api.sealer)
        assert (target.signature_key, target.headers["Authorization"]) == ("key", "Bearer abc")
        problem = await api.call("/webhooks.update", {"id": made.id, "signature_key": "hunter2\0x"}, status=400)
        assert [error["field"] for error in problem["fields"]] == ["signature_key"]
        assert "hunter2" not in problem["message"]
        hidden = {"id": made.id, "headers": {"Authorization": "Bearer hunter2\nx"}}
        problem = await api.call("/webhooks.update", hidden, status=400)
        assert [error["field"] for error in problem["fields"]] == ["headers.Authorization"]
        assert "hunter2" not in problem["message"]

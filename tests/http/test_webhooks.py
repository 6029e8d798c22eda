"""`/webhooks.*`: subscriptions, their secrets, and what could not be delivered."""

from base64 import b64decode

import msgspec
import pytest
from msgspec import Raw

from airy import topics
from airy.errors import Unavailable
from airy.http import shapes
from airy.model import ids
from airy.model.dead import DeadDelivery
from airy.seal import place
from tests.kit.edge import Desk, desk
from tests.kit.shapes import held

NOBODY = ids.derive("nobody")
URL = "https://crm.example.net/hook"
MASKED = "*****"


async def subscribe(edge: Desk, **body: object) -> shapes.SignedWebhook:
    return held(shapes.SignedWebhook, await edge.asked("/webhooks.subscribe", {"url": URL, **body}))


async def info(edge: Desk, webhook_id: str) -> shapes.Webhook:
    return held(shapes.Webhook, await edge.asked("/webhooks.info", {"id": webhook_id}))


async def test_where_nothing_would_be_delivered_nobody_can_subscribe() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        edge.status.off.add("webhook-publisher")
        for path, body in (("/webhooks.subscribe", {"url": URL}), ("/webhooks.update", {"id": made.id, "name": "x"})):
            problem = await edge.asked(path, body, status=409)
            assert "enable webhook-publisher" in problem["message"]
        assert (await edge.asked("/webhooks.unsubscribe", {"id": made.id}))["status"] == "Unsubscribed"


async def test_a_webhook_is_subscribed_shown_changed_unsubscribed_and_deleted() -> None:
    async with desk() as edge:
        made = await subscribe(edge, name="CRM", events=["message.created"], headers={"X-Api-Key": "k-123"})
        assert (made.status, made.url, made.name, made.events) == ("Subscribed", URL, "CRM", ["message.created"])
        shown = await info(edge, made.id)
        assert held(shapes.Data[shapes.Webhook], await edge.asked("/webhooks.list")).data == [shown]
        changed = await edge.asked("/webhooks.update", {"id": made.id, "name": "ERP"})
        assert changed == {**msgspec.to_builtins(shown), "name": "ERP"}
        gone = await edge.asked("/webhooks.unsubscribe", {"id": made.id})
        assert gone == {**changed, "status": "Unsubscribed"}
        assert await edge.asked("/webhooks.unsubscribe", {"id": made.id}) == gone
        back = await edge.asked("/webhooks.update", {"id": made.id, "status": "Subscribed"})
        assert back == changed
        await edge.asked("/webhooks.delete", {"id": made.id}, status=204)
        assert (await edge.asked("/webhooks.list"))["data"] == []


async def test_headers_and_events_are_never_null() -> None:
    async with desk() as edge:
        for body in ({}, {"headers": None, "events": None, "name": None, "signature_key": None}):
            made = await subscribe(edge, **body)
            assert (made.headers, made.events, made.name) == ({}, [], None)


async def test_what_is_not_given_in_an_update_stays_and_what_is_empty_goes() -> None:
    async with desk() as edge:
        made = await subscribe(edge, events=["message.created"], headers={"X-Api-Key": "k-123"})
        for body in ({}, {"events": None, "headers": None}):
            kept = held(shapes.Webhook, await edge.asked("/webhooks.update", {"id": made.id, **body}))
            assert (kept.events, list(kept.headers)) == (["message.created"], ["X-Api-Key"])
        emptied = await edge.asked("/webhooks.update", {"id": made.id, "events": [], "headers": {}})
        assert (emptied["events"], emptied["headers"]) == ([], {})


async def test_the_events_of_the_original_are_understood_in_its_spellings() -> None:
    async with desk() as edge:
        made = await subscribe(edge, events=["MESSAGE_CREATED", "Conversation.Updated", "message.created"])
        assert made.events == ["message.created", "conversation.updated"]
        problem = await edge.asked("/webhooks.subscribe", {"url": URL, "events": ["message.sent"]}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["events"]


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
async def test_what_can_never_be_called_is_no_url(url: str) -> None:
    async with desk() as edge:
        problem = await edge.asked("/webhooks.subscribe", {"url": url}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["url"]


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
async def test_headers_that_must_not_be_sent_are_refused(headers: dict[str, str]) -> None:
    async with desk() as edge:
        problem = await edge.asked("/webhooks.subscribe", {"url": URL, "headers": headers}, status=400)
        assert all(fault["field"].startswith("headers") for fault in problem["fields"])
        assert (await edge.asked("/webhooks.list"))["data"] == []


async def test_a_known_id_is_overwritten_completely() -> None:
    async with desk() as edge:
        first = await subscribe(edge, name="CRM", headers={"X": "y"}, events=["message.created"])
        second = await subscribe(edge, id=first.id.upper())
        assert (second.id, second.name, second.headers, second.events) == (first.id, None, {}, [])
        assert second.signing_secret != first.signing_secret
        assert len((await edge.asked("/webhooks.list"))["data"]) == 1


async def test_nothing_can_be_done_to_a_webhook_nobody_knows() -> None:
    async with desk() as edge:
        for verb in ("info", "update", "unsubscribe", "delete", "rotate-secret", "rotateSecret", "replay"):
            problem = await edge.asked(f"/webhooks.{verb}", {"id": NOBODY}, status=404)
            assert [fault["field"] for fault in problem["fields"]] == ["id"]
        problem = await edge.asked("/webhooks.update", {"id": NOBODY, "status": "On"}, status=400)
        assert [fault["field"] for fault in problem["fields"]] == ["status"]


# --- secrets


async def test_secrets_are_shown_once_or_never_and_sealed_in_the_log() -> None:
    async with desk() as edge:
        made = await subscribe(edge, signatureKey="sign-with-this", headers={"Authorization": "Bearer crm-secret"})
        assert made.headers == {"Authorization": MASKED}
        assert len(b64decode(made.signing_secret.removeprefix("whsec_"))) == 32
        later = [
            await edge.post("/webhooks.info", {"id": made.id}),
            await edge.post("/webhooks.list"),
            await edge.post("/webhooks.update", {"id": made.id, "name": "x"}),
            await edge.post("/webhooks.unsubscribe", {"id": made.id}),
        ]
        said = b"".join(answer.body for answer in later)
        logged = b"".join(record.value or b"" for record in await edge.records(topics.WEBHOOKS))
        for secret in ("sign-with-this", "crm-secret", made.signing_secret):
            assert secret.encode() not in said + logged
        stored = await edge.store.webhook(made.id)
        assert stored is not None
        sealer = edge.sealer
        assert sealer.unseal(stored.secrets[0], place(topics.WEBHOOKS.name, made.id, "secrets")) == made.signing_secret
        key = sealer.unseal(stored.signature_key or "", place(topics.WEBHOOKS.name, made.id, "signature_key"))
        assert key == "sign-with-this"


async def test_a_masked_value_that_comes_back_means_the_one_that_is_known() -> None:
    async with desk() as edge:
        made = await subscribe(edge, headers={"X-Api-Key": "k-123"})
        await edge.asked("/webhooks.update", {"id": made.id, "headers": {**made.headers, "X-New": "n"}})
        stored = await edge.store.webhook(made.id)
        assert stored is not None
        headers = edge.sealer.unseal(stored.headers or "", place(topics.WEBHOOKS.name, made.id, "headers"))
        assert msgspec.json.decode(headers) == {"X-Api-Key": "k-123", "X-New": "n"}


async def test_rotating_keeps_the_previous_secret_beside_the_new_one() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        secrets = [made.signing_secret]
        for _ in range(2):
            rotated = await edge.asked("/webhooks.rotate-secret", {"id": made.id})
            secrets.append(held(shapes.SignedWebhook, rotated).signing_secret)
        assert len(set(secrets)) == 3
        stored = await edge.store.webhook(made.id)
        assert stored is not None
        where = place(topics.WEBHOOKS.name, made.id, "secrets")
        assert [edge.sealer.unseal(sealed, where) for sealed in stored.secrets] == [secrets[2], secrets[1]]


async def test_a_subscription_begins_at_the_ends_of_the_log() -> None:
    async with desk() as edge:
        before = await subscribe(edge)
        await edge.asked("/tags.create", {"name": "Urgent", "color": "tag-red"}, status=201)
        after = await subscribe(edge)
        stored = [await edge.store.webhook(made.id) for made in (before, after)]
        assert all(webhook is not None and webhook.since.keys() == {t.name for t in topics.TOLD} for webhook in stored)
        ends = [sum(webhook.since[topics.TAGS.name]) for webhook in stored if webhook]
        assert ends[1] == ends[0] + 1


# --- what could not be delivered


async def bury(edge: Desk, webhook_id: str, count: int) -> list[str]:
    """Deliveries that were given up, a second apart."""
    burials = [
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
    await edge.writer.write_all([topics.DEAD_DELIVERIES.emit(one.id, one) for one in burials])
    return [one.delivery_id for one in burials]


async def letters(edge: Desk, body: object = None, spelling: str = "dead-letters") -> list[shapes.DeadLetter]:
    return held(shapes.Page[shapes.DeadLetter], await edge.asked(f"/webhooks.{spelling}", body)).data


async def test_dead_deliveries_are_listed_with_their_reason_and_replayed_one_or_all() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        names = await bury(edge, made.id, 3)
        for body, spelling in (({}, "dead-letters"), ({"id": made.id}, "deadLetters")):
            dead = await letters(edge, body, spelling)
            assert [letter.delivery_id for letter in dead] == names[::-1]
            assert {letter.reason for letter in dead} == {"410 gone"}
            assert dead[-1].died_at == "2023-11-14T22:13:20.000Z"
        assert await letters(edge, {"id": NOBODY}) == []
        assert await edge.asked("/webhooks.replay", {"delivery_id": names[0]}) == {"replayed": 1}
        await edge.asked("/webhooks.replay", {"delivery_id": names[0]}, status=404)
        await edge.asked("/webhooks.replay", {"delivery_id": "nobody's"}, status=404)
        assert await edge.asked("/webhooks.replay", {"id": made.id}) == {"replayed": 2}
        assert await edge.asked("/webhooks.replay", {"id": made.id}) == {"replayed": 0}
        assert await letters(edge) == []
        jobs = await edge.queue.claim(now_ms=edge.writer.now_ms(), lease_ms=1, jobs_max=9, per_webhook_max=9)
        bodies = [b'{"id":"event-%d"}' % number for number in range(3)]
        assert [(job.id, job.entry.body) for job in jobs] == list(zip(names, bodies, strict=True))
        await edge.asked("/webhooks.replay", {}, status=400)
        await edge.asked("/webhooks.replay", {"delivery_id": "x", "id": made.id}, status=400)
        await edge.asked("/webhooks.replay", {"id": NOBODY}, status=404)


async def test_dead_deliveries_come_in_pages() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        names = await bury(edge, made.id, 5)
        seen, cursor, sizes = [], None, []
        while True:
            page = await edge.asked("/webhooks.dead-letters", {"id": made.id, "page_size": 2, "cursor": cursor})
            seen += [letter["delivery_id"] for letter in page["data"]]
            sizes.append(len(page["data"]))
            assert page["pagination_data"]["total"] == 5
            cursor = page["pagination_data"]["next_cursor"]
            if cursor is None:
                break
        assert (seen, sizes) == (names[::-1], [2, 2, 1])
        await edge.asked("/webhooks.dead-letters", {"cursor": "nonsense"}, status=400)


async def test_the_answer_to_a_replay_says_from_where_on_every_replica_knows() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        names = await bury(edge, made.id, 8)
        answer = await edge.post("/webhooks.replay", {"id": made.id})
        tokens = answer.headers["x-airy-position"].split(",")
        positions = [topics.parse_position_token(token) for token in tokens]
        keys = [f"{name}@{1_700_000_000_000 + 1000 * number}" for number, name in enumerate(names)]
        written = {topics.DEAD_DELIVERIES.partition(key) for key in keys}
        assert {position.partition for position in positions} == written
        assert len(positions) == len(written) > 1
        assert (await edge.post("/webhooks.dead-letters", {}, x_airy_position=",".join(tokens))).status == 200


async def test_a_webhook_that_is_off_gets_nothing_again_and_keeps_its_dead() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        (name,) = await bury(edge, made.id, 1)
        await edge.asked("/webhooks.unsubscribe", {"id": made.id})
        for body in ({"delivery_id": name}, {"id": made.id}):
            problem = await edge.asked("/webhooks.replay", body, status=409)
            assert "subscribe it again" in problem["message"]
        assert [letter.delivery_id for letter in await letters(edge)] == [name]


async def test_a_replay_the_queue_cannot_take_is_in_the_log_and_is_made_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object, **_named: object) -> bool:
        raise Unavailable("redis is away")

    async with desk() as edge:
        made = await subscribe(edge)
        (name,) = await bury(edge, made.id, 1)
        monkeypatch.setattr(edge.queue, "replay", away)
        assert await edge.asked("/webhooks.replay", {"delivery_id": name}) == {"replayed": 1}
        (wished,) = await edge.store.replays(after=(-1, ""), replays_max=9)
        assert wished.delivery_id == name


async def test_deleting_a_webhook_drops_what_was_still_to_be_sent_to_it() -> None:
    async with desk() as edge:
        made = await subscribe(edge)
        await bury(edge, made.id, 2)
        await edge.asked("/webhooks.replay", {"id": made.id})
        await edge.asked("/webhooks.delete", {"id": made.id}, status=204)
        assert (await edge.queue.stats()).waiting == 0

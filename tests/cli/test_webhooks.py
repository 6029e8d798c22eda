"""`airy webhooks`"""

from typing import Any

import pytest

from tests.kit.command_line import CommandLine, matches_golden

AT = "2026-01-01T10:00:00.000Z"
CRM = {
    "id": "11111111-1111-4111-8111-111111111111",
    "name": "crm",
    "status": "Subscribed",
    "url": "https://crm.example.net/hook",
    "headers": {"X-Api-Key": "*****"},
    "events": ["message.created"],
}
SHOP = {**CRM, "id": "22222222-2222-4222-8222-222222222222", "name": None, "status": "Unsubscribed", "events": []}
ATTEMPT: dict[str, Any] = {
    "delivery_id": f"e-1:{CRM['id']}",
    "event_id": "e-1",
    "event": "message.created",
    "attempt": 2,
    "attempted_at": AT,
    "latency_ms": 41,
    "outcome": "retry",
    "status": 503,
    "error": None,
    "response": "try \x1b[31mlater",
    "next_attempt_at": "2026-01-01T10:05:00.000Z",
}
REFUSED = {**ATTEMPT, "status": None, "error": "connection refused", "response": "", "outcome": "dead"}
STATS = {
    "id": CRM["id"],
    "at": AT,
    "health": "failing",
    "disabled_reason": None,
    "waiting": 1_234,
    "in_flight": 2,
    "oldest_at": "2026-01-01T09:30:00.000Z",
    "retry_at": "2026-01-01T10:05:00.000Z",
    "paused_until": None,
    "failing_since": "2026-01-01T09:31:00.000Z",
    "failures": 17,
    "attempts": 50,
    "success_rate": 0.48,
    "last_attempt": ATTEMPT,
}
IDLE = {
    **STATS,
    "id": SHOP["id"],
    "health": "unsubscribed",
    "disabled_reason": "the endpoint answered 410 Gone",
    "waiting": 0,
    "oldest_at": None,
    "retry_at": None,
    "failing_since": None,
    "success_rate": None,
    "last_attempt": None,
}


@pytest.fixture(autouse=True)
def answers(airy: CommandLine) -> None:
    airy.instance.documents |= {
        "/webhooks.list": {"data": [CRM, SHOP]},
        "/webhooks.info": CRM,
        "/webhooks.update": CRM,
        "/webhooks.unsubscribe": SHOP,
        "/webhooks.subscribe": {**CRM, "signing_secret": "whsec_x"},
        "/webhooks.rotate-secret": {**CRM, "signing_secret": "whsec_y"},
        "/webhooks.stats": {"data": [IDLE, STATS]},
        "/webhooks.attempts": {"data": [ATTEMPT, REFUSED]},
        "/webhooks.test": {**ATTEMPT, "outcome": "delivered", "status": 200},
        "/webhooks.replay": {"replayed": 2},
        "/webhooks.delete": {},
    }


def test_webhooks_are_listed_by_name(airy: CommandLine) -> None:
    assert matches_golden("webhooks-list", airy("webhooks", "list").out)
    assert [each["name"] for each in airy.json("webhooks", "webhooks", "list")] == [None, "crm"]
    assert airy.json("webhook", "webhooks", "info", str(CRM["id"]))["name"] == "crm"


def test_health_and_attempts_are_tables_and_documents(airy: CommandLine) -> None:
    assert matches_golden("webhooks-stats", airy("webhooks", "stats").out)
    assert matches_golden("webhooks-attempts", airy("webhooks", "attempts", str(CRM["id"])).out)
    assert airy.json("webhook-stats", "webhooks", "stats")[0]["waiting"] == 1_234
    assert airy.json("webhook-attempts", "webhooks", "attempts", str(CRM["id"]))[1]["error"] == "connection refused"


def test_the_signing_secret_is_printed_when_it_is_made(airy: CommandLine) -> None:
    made = airy.json("signed-webhook", "webhooks", "subscribe", str(CRM["url"]), "--event", "message.created")
    assert made["signing_secret"] == "whsec_x"
    assert "whsec_y" in airy("webhooks", "rotate-secret", str(CRM["id"])).out


def test_a_test_of_an_endpoint_that_fails_has_its_own_exit_code(airy: CommandLine) -> None:
    assert airy.json("webhook-attempt", "webhooks", "test", str(CRM["id"]))["status"] == 200
    airy.instance.documents["/webhooks.test"] = {**REFUSED, "outcome": "failed"}
    printed = airy("webhooks", "test", str(CRM["id"]))
    assert (printed.code, "connection refused" in printed.out) == (75, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["update", "x"], "pass what to change"),
        (["unsubscribe", "x"], "pass --yes"),
        (["delete", "x"], "pass --yes"),
        (["replay", "x"], "pass --yes"),
        (["replay"], "name a webhook, or pass --delivery"),
        (["attempts", "x", "--limit", "51"], "--limit"),
    ],
)
def test_a_change_that_is_not_confirmed_or_not_whole_is_not_sent(
    airy: CommandLine, arguments: list[str], said: str
) -> None:
    printed = airy("webhooks", *arguments)
    assert (printed.code, said in printed.err) == (64, True)
    assert airy.instance.asked == {}


def test_dead_deliveries_are_replayed(airy: CommandLine) -> None:
    airy.instance.operations.webhook("w", "crm", "answered 500")
    assert [each["delivery_id"] for each in airy.json("dead-deliveries", "webhooks", "dead", "w")] == ["w-0"]
    assert airy.json("replay", "webhooks", "replay", "w", "--yes") == {"replayed": 2}
    assert airy.json("replay", "webhooks", "replay", "--delivery", "w-0") == {"replayed": 2}

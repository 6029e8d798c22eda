"""Webhooks, their health, their attempts and their dead deliveries."""

from airy.cli.view import Document, Field, View, at, seconds
from airy.http.webhook_schemas import (
    DeadDeliverySchema,
    DeliveryAttemptSchema,
    ReplayResultSchema,
    SignedWebhookSchema,
    WebhookSchema,
    WebhookStatsSchema,
)

STATUS_STYLES = {"Subscribed": "green"}
HEALTH_STYLES = {"ok": "green", "failing": "red", "paused": "yellow"}
OUTCOME_STYLES = {"delivered": "green", "retry": "yellow", "dead": "red", "disabled": "red", "failed": "red"}
RESPONSE_CHARS_MAX = 60


def _events(webhook: Document) -> str:
    return ", ".join(webhook["events"]) or "all"


def _success(stats: Document) -> str:
    rate = stats["success_rate"]
    return "" if rate is None else f"{rate:.0%}"


def _last(stats: Document) -> str:
    last = stats["last_attempt"]
    return "" if last is None else f"{_answer(last)} in {last['latency_ms']} ms"


def _answer(attempt: Document) -> str:
    return "no answer" if attempt["status"] is None else str(attempt["status"])


def _said(attempt: Document) -> object:
    return attempt["error"] or attempt["response"]


def _since(stats: Document) -> object:
    return seconds("failing_since")(stats) or at(stats, "disabled_reason")


FIELDS = (
    Field("ID", "id"),
    Field("NAME", "name", chars_max=30),
    Field("STATUS", "status", styles=STATUS_STYLES),
    Field("URL", "url", chars_max=60),
    Field("EVENTS", _events, chars_max=60),
)
WEBHOOKS = View(
    name="webhooks",
    row=WebhookSchema,
    fields=FIELDS,
    what="webhooks",
    order=lambda row: (row["name"] or "", row["id"]),
)
WEBHOOK = View(name="webhook", row=WebhookSchema, fields=(*FIELDS, Field("HEADERS", "headers")), one=True)
SIGNED_WEBHOOK = View(
    name="signed-webhook", row=SignedWebhookSchema, fields=(*FIELDS, Field("SECRET", "signing_secret")), one=True
)
STATS = View(
    name="webhook-stats",
    row=WebhookStatsSchema,
    fields=(
        Field("ID", "id"),
        Field("HEALTH", "health", styles=HEALTH_STYLES),
        Field("WAITING", "waiting", align="right"),
        Field("IN FLIGHT", "in_flight", align="right"),
        Field("OLDEST", seconds("oldest_at")),
        Field("RETRY AT", seconds("retry_at")),
        Field("OK", _success, align="right"),
        Field("LAST", _last),
        Field("FAILING SINCE OR OFF", _since, chars_max=60),
    ),
    what="webhooks",
    order=lambda row: row["id"],
)
ATTEMPT_FIELDS = (
    Field("AT", seconds("attempted_at")),
    Field("OUTCOME", "outcome", styles=OUTCOME_STYLES),
    Field("ANSWER", _answer),
    Field("MS", "latency_ms", align="right"),
    Field("TRY", "attempt", align="right"),
    Field("EVENT", "event"),
    Field("EVENT ID", "event_id"),
    Field("NEXT TRY", seconds("next_attempt_at")),
)
ATTEMPTS = View(
    name="webhook-attempts",
    row=DeliveryAttemptSchema,
    fields=(*ATTEMPT_FIELDS, Field("ERROR OR RESPONSE", _said, chars_max=RESPONSE_CHARS_MAX)),
    what="attempts",
)
ATTEMPT = View(
    name="webhook-attempt",
    row=DeliveryAttemptSchema,
    fields=(*ATTEMPT_FIELDS[:4], Field("EVENT ID", "event_id"), Field("ERROR", "error"), Field("RESPONSE", "response")),
    one=True,
)
DEAD_DELIVERIES = View(
    name="dead-deliveries",
    row=DeadDeliverySchema,
    fields=(
        Field("DELIVERY", "delivery_id"),
        Field("DIED", seconds("died_at")),
        Field("EVENT", "event"),
        Field("TRIES", "attempts", align="right"),
        Field("REASON", "reason", chars_max=80),
    ),
    what="dead deliveries",
)
REPLAY = View(name="replay", row=ReplayResultSchema, fields=(Field("REPLAYED", "replayed"),), one=True)

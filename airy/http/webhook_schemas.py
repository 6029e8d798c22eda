"""Schemas of the response bodies of `/webhooks.*`, as those of `airy.http.response_schemas`."""

from typing import Any, Literal

from msgspec import Struct

from airy.model.entity import WebhookStatus

Document = dict[str, Any]


class WebhookSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    status: WebhookStatus
    url: str
    headers: dict[str, str]
    events: list[str]


class SignedWebhookSchema(Struct, forbid_unknown_fields=True):
    id: str
    name: str | None
    status: WebhookStatus
    url: str
    headers: dict[str, str]
    events: list[str]
    signing_secret: str


class DeliveryAttemptSchema(Struct, forbid_unknown_fields=True):
    """`status` None: there was no answer, and `error` says why. `next_attempt_at`: of a `retry`."""

    delivery_id: str
    event_id: str
    event: str
    attempt: int
    attempted_at: str
    latency_ms: int
    outcome: Literal["delivered", "retry", "dead", "disabled", "failed"]
    status: int | None
    error: str | None
    response: str
    next_attempt_at: str | None


class WebhookStatsSchema(Struct, forbid_unknown_fields=True):
    """Read at the time `at`. `attempts`, `success_rate` and `last_attempt` are of recent attempts, without tests."""

    id: str
    at: str
    health: Literal["ok", "failing", "paused", "unsubscribed"]
    disabled_reason: str | None
    waiting: int
    in_flight: int
    oldest_at: str | None
    retry_at: str | None
    paused_until: str | None
    failing_since: str | None
    failures: int
    attempts: int
    success_rate: float | None
    last_attempt: DeliveryAttemptSchema | None


class DeadDeliverySchema(Struct, forbid_unknown_fields=True):
    delivery_id: str
    webhook_id: str
    event_id: str
    event: str
    lane: str
    attempts: int
    reason: str
    died_at: str
    body: Document


class ReplayResultSchema(Struct, forbid_unknown_fields=True):
    replayed: int

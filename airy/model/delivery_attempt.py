"""One attempt to deliver a change to a webhook: what was sent when, and its result."""

from typing import Literal

from msgspec import Struct

TEST_KIND = "webhook.test"  # of an attempt that an operator asked for; it delivers no change

AttemptResult = Literal["delivered", "again", "buried", "disabled", "failed"]
"""Values of published records, which cannot change; `failed` is that of a test, which is not published."""


OUTCOMES: dict[AttemptResult, str] = {
    "delivered": "delivered",
    "again": "retry",
    "buried": "dead",
    "disabled": "disabled",
    "failed": "failed",
}


class DeliveryAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Value of ops.webhooks.attempts; its key is the delivery's id. The webhook queue keeps the newest as well."""

    id: str
    webhook_id: str
    event_id: str
    kind: str
    attempt: int
    at_ms: int
    took_ms: int
    queued_at_ms: int | None = None  # when the change was put into the webhook queue
    result: AttemptResult
    status: int | None = None
    error: str = ""
    again_at_ms: int | None = None  # when a retry is due
    paused_until_ms: int | None = None  # nothing is sent to the endpoint before
    response: str = ""  # the beginning of the body

    @property
    def succeeded(self) -> bool:
        return self.result == "delivered"

    @property
    def outcome(self) -> str:
        """`delivered`, `retry`, `dead` and `disabled` (the webhook is), or `failed` of a test."""
        return OUTCOMES[self.result]

"""What the recent attempts of a webhook say about its endpoint. Pure."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from airy.model.delivery_attempt import TEST_KIND, DeliveryAttempt
from airy.model.entity import Webhook
from airy.queue.api import WebhookBacklog

HealthState = Literal["ok", "failing", "paused", "unsubscribed"]


class RecentAttempts(Struct, frozen=True):
    """Of real deliveries: tests do not count."""

    attempts: int
    succeeded: int
    last: DeliveryAttempt | None

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1; None without an attempt."""
        return round(self.succeeded / self.attempts, 3) if self.attempts else None

    def paused_until_ms(self, now_ms: int) -> int | None:
        """Until when the endpoint is sent nothing, because it asked for that or everything fails."""
        until_ms = self.last.paused_until_ms if self.last else None
        return until_ms if until_ms is not None and until_ms > now_ms else None


def recent_attempts(newest_first: Sequence[DeliveryAttempt]) -> RecentAttempts:
    real = [one for one in newest_first if one.kind != TEST_KIND]
    return RecentAttempts(len(real), sum(one.succeeded for one in real), real[0] if real else None)


def health_state(webhook: Webhook, backlog: WebhookBacklog, recent: RecentAttempts, now_ms: int) -> HealthState:
    if webhook.status != "Subscribed":
        return "unsubscribed"
    if recent.paused_until_ms(now_ms) is not None:
        return "paused"
    return "failing" if backlog.failing is not None else "ok"

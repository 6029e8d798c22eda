"""What the view of webhooks shows, from what the API says. Pure."""

from typing import Any, Literal

from msgspec import Struct

from airy.tui.console import format as shown
from airy.tui.view_model import clean

SUBSCRIBED = "Subscribed"
Lower = Literal["dead deliveries", "attempts"]
LOWER: tuple[Lower, ...] = ("dead deliveries", "attempts")
HEALTH_STYLES = {
    "ok": ("●", "$success"),
    "failing": ("▲", "$error"),
    "paused": ("◆", "$warning"),
    "unsubscribed": ("○", "$foreground-muted"),
}
OUTCOME_STYLES = {
    "delivered": ("✓", "$success"),
    "retry": ("↻", "$warning"),
    "dead": ("✗", "$error"),
    "disabled": ("✗", "$error"),
    "failed": ("✗", "$error"),
}


class ListedWebhook(Struct, frozen=True):
    """A webhook as `webhooks.list` gives it."""

    id: str
    url: str
    status: str
    name: str | None = None
    events: list[str] = []

    @property
    def title(self) -> str:
        return clean(self.name or self.url, 60)

    @property
    def said(self) -> str:
        """Its events; a webhook without any takes all."""
        return ", ".join(map(clean, self.events)) or "all events"

    def words(self, health: str) -> str:
        """What a filter is compared with."""
        return f"{self.name} {self.url} {self.status} {health} {self.said}".lower()


class ListedAttempt(Struct, frozen=True):
    """An attempt as `webhooks.attempts` gives it."""

    delivery_id: str
    event_id: str = ""
    event: str = ""
    attempt: int = 1
    attempted_at: str = ""
    latency_ms: int = 0
    outcome: str = ""
    status: int | None = None
    error: str | None = None
    response: str = ""
    next_attempt_at: str | None = None

    @property
    def key(self) -> str:
        return f"{self.delivery_id}#{self.attempt}#{self.attempted_at}"

    @property
    def answer(self) -> str:
        """The status, or that there was none."""
        return "no answer" if self.status is None else str(self.status)

    @property
    def said(self) -> str:
        """The error, or the beginning of the response."""
        return clean(self.error or self.response)


class WebhookStats(Struct, frozen=True):
    """Figures of a webhook as `webhooks.stats` gives them; times are ISO 8601, and `at` is when they were read."""

    id: str
    at: str = ""
    health: str = ""
    disabled_reason: str | None = None
    waiting: int | None = None
    in_flight: int | None = None
    oldest_at: str | None = None
    retry_at: str | None = None
    paused_until: str | None = None
    failing_since: str | None = None
    failures: int = 0
    success_rate: float | None = None
    last_attempt: ListedAttempt | None = None

    @property
    def oldest_s(self) -> float | None:
        """Age of the oldest waiting delivery."""
        return _seconds(self.oldest_at, self.at)

    @property
    def retry_s(self) -> float | None:
        """Until the next retry."""
        return _seconds(self.at, self.retry_at)

    @property
    def success(self) -> str:
        return "-" if self.success_rate is None else f"{self.success_rate:.0%}"

    @property
    def last(self) -> str:
        last = self.last_attempt
        return "-" if last is None else f"{last.answer} {shown.duration(last.latency_ms / 1000)}"

    @property
    def sentence(self) -> str:
        """Why nothing or little is delivered; empty if all is well."""
        parts = [
            f"off: {clean(self.disabled_reason)}" if self.disabled_reason else "",
            f"paused for {shown.duration(_seconds(self.at, self.paused_until))}" if self.paused_until else "",
            f"failing for {shown.duration(_seconds(self.failing_since, self.at))}, {self.failures:,} failures"
            if self.failing_since
            else "",
            f"{self.in_flight:,} in flight" if self.in_flight else "",
            f"next retry in {shown.duration(self.retry_s)}" if self.retry_at else "",
        ]
        return " · ".join(part for part in parts if part)


class ListedDelivery(Struct, frozen=True):
    """A dead delivery as `webhooks.dead-letters` gives it."""

    delivery_id: str
    event: str = ""
    attempts: int = 0
    reason: str = ""
    died_at: str = ""
    body: dict[str, Any] = {}


def health_of(webhook: ListedWebhook, stats: WebhookStats | None) -> str:
    """One of `HEALTH_STYLES`; from the status alone while the figures are not known."""
    if stats is not None and stats.health:
        return stats.health
    return "ok" if webhook.status == SUBSCRIBED else "unsubscribed"


def sentence_of_test(name: str, attempt: ListedAttempt) -> str:
    took = shown.duration(attempt.latency_ms / 1000)
    if attempt.status is None:
        return f"{name} did not answer: {clean(attempt.error or '')}"
    said = clean(attempt.response, 60)
    return f"{name} answered {attempt.status} in {took}" + (f": {said}" if said else "")


def _seconds(earlier: str | None, later: str | None) -> float | None:
    """Between two times of the API, not negative; None if one is missing."""
    first, last = shown.instant(earlier or ""), shown.instant(later or "")
    return None if first is None or last is None else max(0.0, (last - first).total_seconds())

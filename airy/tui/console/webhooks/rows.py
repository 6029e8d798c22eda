"""What the view of webhooks shows, from what the API says. Pure."""

from typing import Any

from msgspec import Struct

from airy.tui.view_model import clean

SUBSCRIBED = "Subscribed"
STATUS_STYLES = {SUBSCRIBED: ("●", "$success"), "Unsubscribed": ("○", "$foreground-muted")}


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

    @property
    def words(self) -> str:
        return f"{self.name} {self.url} {self.status} {self.said}".lower()


class ListedDelivery(Struct, frozen=True):
    """A dead delivery as `webhooks.dead-letters` gives it."""

    delivery_id: str
    event: str = ""
    attempts: int = 0
    reason: str = ""
    died_at: str = ""
    body: dict[str, Any] = {}

"""Polls the API for changes and maintains the view model; keeps nothing beyond what is shown.

One list of conversations per round. Messages only of conversations whose entry changed, byte for byte, or whose shown
outbound messages may still change state. Counts less often, because they cost the store more.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from airy.api_client import ApiClient
from airy.errors import Refused, Unavailable
from airy.tui import view_model
from airy.tui.view_model import CONVERSATIONS_MAX, MESSAGES_MAX, ListPage, MessageRow, ReadinessView, ViewModel

COUNTS = {  # metric: its label on the screen
    "airy_messages": "messages",
    "airy_webhooks_delivered_total": "webhooks delivered",
    "airy_webhooks_waiting": "webhooks waiting",
    "airy_dead_deliveries": "dead",
}
FLEET_COUNTS = {"airy_processes": "processes", "airy_processes_stale": "stale"}  # shown for several processes
COUNTS_EVERY = 4  # rounds


class Readiness(Struct, frozen=True):
    ready: bool = False
    waiting_for: dict[str, Any] = {}


class Poller:
    """`model` is the latest view model; `poll` updates it."""

    def __init__(self, client: ApiClient, *, messages_max: int = MESSAGES_MAX) -> None:
        self.model = ViewModel()
        self._client = client
        self._messages_max = messages_max
        self._round = 0
        self._seen: dict[
            str, tuple[bytes, tuple[MessageRow, ...]]
        ] = {}  # by conversation: its encoded entry and its messages

    async def poll(self) -> ViewModel:
        """Never raises for an instance that is down or refuses: the model says so."""
        try:
            health = await self._health()
            page = await self._client.call("/conversations.list", {"page_size": CONVERSATIONS_MAX}, ListPage)
            rows = [view_model.conversation_row(raw, await self._lines(raw)) for raw in page.data[:CONVERSATIONS_MAX]]
            counts = self.model.counts if self._round % COUNTS_EVERY else await self._counts()
            self._round += 1
        except (Unavailable, Refused) as error:
            self.model = replace(self.model, unreachable=view_model.clean(str(error)))
            return self.model
        shown = {conversation.id for conversation in rows}
        self._seen = {key: value for key, value in self._seen.items() if key in shown}
        self.model = ViewModel(tuple(rows), page.total, health, counts)
        return self.model

    async def _lines(self, raw: Raw) -> tuple[MessageRow, ...]:
        conversation_id = view_model.conversation_id(raw)
        before, lines = self._seen.get(conversation_id, (b"", ()))
        if before == bytes(raw) and not view_model.may_change(lines):
            return lines
        body = {"conversation_id": conversation_id, "page_size": self._messages_max}
        page = await self._client.call("/messages.list", body, ListPage)
        newest_first = [view_model.message_row(message) for message in page.data[: self._messages_max]]
        lines = tuple(reversed(newest_first))
        self._seen[conversation_id] = (bytes(raw), lines)
        return lines

    async def _health(self) -> ReadinessView:
        ready = await self._client.get("/readyz", Readiness, may_fail=True)
        words = ", ".join(f"{name}: {reason}" for name, reason in ready.waiting_for.items())
        return ReadinessView(ready.ready, view_model.clean(words))

    async def _counts(self) -> tuple[tuple[str, int], ...]:
        samples = parse_metrics(await self._client.text("/metrics"))
        labels = COUNTS | FLEET_COUNTS if samples.get("airy_processes", 1.0) > 1 else COUNTS
        return tuple((label, int(samples[name])) for name, label in labels.items() if name in samples)


def parse_metrics(text: str) -> Mapping[str, float]:
    """Values by sample name with labels, as spelled in the exposition format."""
    samples: dict[str, float] = {}
    for each in text.splitlines():
        name, _, value = each.rpartition(" ")
        if name and not each.startswith("#"):
            samples[name] = float(value)
    return samples


def first_conversation(rows: Sequence[view_model.ConversationRow]) -> str | None:
    return rows[0].id if rows else None

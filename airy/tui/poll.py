"""Asks the API for what has changed and keeps the picture; holds nothing beyond what is shown.

One list of conversations a round; messages only of those whose entry is not what it was, byte for byte, or
that show a message of ours which a receipt may still move; counts, which cost the store more, less often.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from airy.client import Client
from airy.errors import Refused, Unavailable
from airy.tui import picture
from airy.tui.picture import CONVERSATIONS_MAX, MESSAGES_MAX, Envelope, Health, Line, Picture

COUNTS = {  # what `/metrics` calls it, and what a person does
    "airy_messages": "messages",
    "airy_webhooks_delivered_total": "webhooks delivered",
    "airy_webhooks_waiting": "webhooks waiting",
    "airy_webhooks_dead": "dead",
}
OF_MANY = {"airy_processes": "processes", "airy_processes_silent": "silent"}  # told where there are several
COUNTS_EVERY = 4  # rounds


class Ready(Struct, frozen=True):
    ready: bool = False
    waiting_for: dict[str, Any] = {}


class Poller:
    """`picture` is the latest; `poll` brings it up to date."""

    def __init__(self, client: Client, *, messages_max: int = MESSAGES_MAX) -> None:
        self.picture = Picture()
        self._client = client
        self._messages_max = messages_max
        self._round = 0
        self._seen: dict[str, tuple[bytes, tuple[Line, ...]]] = {}  # by conversation: its bytes, its lines

    async def poll(self) -> Picture:
        """Never raises for an instance that is down or says no: the picture tells."""
        try:
            health = await self._health()
            page = await self._client.call("/conversations.list", {"page_size": CONVERSATIONS_MAX}, Envelope)
            talks = [picture.talk(raw, await self._lines(raw)) for raw in page.data[:CONVERSATIONS_MAX]]
            counts = self.picture.counts if self._round % COUNTS_EVERY else await self._counts()
            self._round += 1
        except (Unavailable, Refused) as error:
            self.picture = replace(self.picture, lost=picture.clean(str(error)))
            return self.picture
        shown = {talk.id for talk in talks}
        self._seen = {key: value for key, value in self._seen.items() if key in shown}
        self.picture = Picture(tuple(talks), page.total, health, counts)
        return self.picture

    async def _lines(self, raw: Raw) -> tuple[Line, ...]:
        conversation_id = picture.identity(raw)
        before, lines = self._seen.get(conversation_id, (b"", ()))
        if before == bytes(raw) and not picture.unsettled(lines):
            return lines
        body = {"conversation_id": conversation_id, "page_size": self._messages_max}
        page = await self._client.call("/messages.list", body, Envelope)
        newest_first = [picture.line(message) for message in page.data[: self._messages_max]]
        lines = tuple(reversed(newest_first))
        self._seen[conversation_id] = (bytes(raw), lines)
        return lines

    async def _health(self) -> Health:
        ready = await self._client.get("/readyz", Ready, may_fail=True)
        words = ", ".join(f"{name}: {reason}" for name, reason in ready.waiting_for.items())
        return Health(ready.ready, picture.clean(words))

    async def _counts(self) -> tuple[tuple[str, int], ...]:
        samples = parse_metrics(await self._client.text("/metrics"))
        told = COUNTS | OF_MANY if samples.get("airy_processes", 1.0) > 1 else COUNTS
        return tuple((label, int(samples[name])) for name, label in told.items() if name in samples)


def parse_metrics(text: str) -> Mapping[str, float]:
    """Sample name with its labels, as the exposition spells it, to value."""
    samples: dict[str, float] = {}
    for each in text.splitlines():
        name, _, value = each.rpartition(" ")
        if name and not each.startswith("#"):
            samples[name] = float(value)
    return samples


def first_conversation(talks: Sequence[picture.Talk]) -> str | None:
    return talks[0].id if talks else None

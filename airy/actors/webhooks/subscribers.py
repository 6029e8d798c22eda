"""The webhooks as the log has them: a view that can be asked to be no older than this moment.

Records of different partitions have no order between them, so a store may have folded a message and not
yet the subscription that was there before it. Whoever decides by the list of webhooks therefore asks for
the list *after* it has what it decides about: `current` reads the ends of the topic first, and answers
when the store has folded up to them.
"""

from typing import Protocol

from airy import topics
from airy.actors.progress import Progress, current
from airy.bus.api import Bus
from airy.errors import Unavailable
from airy.model.entity import Webhook

FOLD_S_MAX = 10.0


class Webhooks(Protocol):
    """What is asked of a store."""

    async def webhooks(self) -> list[Webhook]: ...
    async def webhook(self, webhook_id: str) -> Webhook | None: ...


class Subscribers:
    def __init__(self, bus: Bus, store: Webhooks, progress: Progress, *, fold_s_max: float = FOLD_S_MAX) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._fold_s_max = fold_s_max

    async def webhook(self, webhook_id: str) -> Webhook | None:
        """As folded so far."""
        return await self._store.webhook(webhook_id)

    async def current(self) -> list[Webhook]:
        """With every webhook written before this call. Raises `Unavailable` if the store does not get there."""
        if await current(self._bus, self._progress, [topics.WEBHOOKS], self._fold_s_max):
            return await self._store.webhooks()
        raise Unavailable(f"the store did not fold the webhooks within {self._fold_s_max:g} s")

"""The webhooks as the log has them, readable no older than the moment of the call.

Records of different partitions have no order between them, so a store may have folded a message before the subscription
that precedes it. A caller that decides by the list of webhooks therefore reads the list *after* it has the changes it
decides about: `current` reads the end offsets of the topic first, and answers once the store has folded up to them.
"""

from typing import Protocol

from airy import topics
from airy.actors.fold_progress import FoldProgress, wait_until_current
from airy.bus.api import Bus
from airy.errors import Unavailable
from airy.model.entity import Webhook
from airy.store.holds import check_not_held

FOLD_S_MAX = 10.0


class WebhookStore(Protocol):
    """The part of the store that is used here."""

    async def webhooks(self) -> list[Webhook]: ...
    async def webhook(self, webhook_id: str) -> Webhook | None: ...


class Subscribers:
    def __init__(
        self, bus: Bus, store: WebhookStore, progress: FoldProgress, *, fold_s_max: float = FOLD_S_MAX
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._fold_s_max = fold_s_max

    async def webhook(self, webhook_id: str) -> Webhook | None:
        """As folded so far. Raises `PartitionHeld`."""
        check_not_held(self._progress.held, topics.WEBHOOKS, webhook_id)
        return await self._store.webhook(webhook_id)

    async def current(self) -> list[Webhook]:
        """Includes every webhook written before this call. Raises `Unavailable` if the store does not fold them in
        time.
        """
        if await wait_until_current(self._bus, self._progress, [topics.WEBHOOKS], self._fold_s_max):
            return await self._store.webhooks()
        check_not_held(self._progress.held, topics.WEBHOOKS)
        raise Unavailable(f"the store did not fold the webhooks within {self._fold_s_max:g} s")

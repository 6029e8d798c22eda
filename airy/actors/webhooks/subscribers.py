"""The webhooks as the log has them: a view that can be asked to be no older than this moment.

Records of different partitions have no order between them, so a store may have folded a message and not
yet the subscription that was there before it. Whoever decides by the list of webhooks therefore asks for
the list *after* it has what it decides about: `current` reads the ends of the topic first, and answers
when the store has folded up to them.
"""

from collections.abc import Mapping
from typing import Protocol

import anyio

from airy import topics
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.model.entity import Webhook

FOLD_S_MAX = 10.0


class Webhooks(Protocol):
    """What is asked of a store."""

    async def webhooks(self) -> list[Webhook]: ...
    async def webhook(self, webhook_id: str) -> Webhook | None: ...


class Progress(Protocol):
    """What is asked of whoever folds the log into the store."""

    @property
    def version(self) -> int: ...
    def positions(self) -> Mapping[TopicPartition, int]:
        """Per folded partition, the next offset to fold."""
        ...

    async def progressed(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or after `within_s` whatever it is then."""
        ...


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
        ends = await self._bus.ends([topics.WEBHOOKS])
        with anyio.move_on_after(self._fold_s_max):
            while True:
                version = self._progress.version
                positions = self._progress.positions()
                if all(positions.get(where, 0) >= end for where, end in ends.items()):
                    return await self._store.webhooks()
                await self._progress.progressed(version, self._fold_s_max)
        raise Unavailable(f"the store did not fold the webhooks within {self._fold_s_max:g} s")

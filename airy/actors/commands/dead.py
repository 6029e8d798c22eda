"""Deliveries that were given up, made again. The wish is in the log first, so no queue can lose it; then it is put into
the queue at once, and if that fails, a dispatcher does it soon.
"""

from collections.abc import Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from airy.actors.commands.outcome import Conflict, Unknown
from airy.actors.commands.writer import Writer
from airy.actors.webhooks.dead_letters import again, record
from airy.actors.webhooks.queue import WebhookQueue
from airy.bus.record import Position
from airy.errors import Unavailable
from airy.model.dead import DeadDelivery
from airy.store.api import Store

AT_ONCE_MAX = 100

log = structlog.get_logger("airy.commands")


class Replayed(Struct, frozen=True):
    deliveries: int
    positions: Sequence[Position]  # from which on every reader knows, one for each partition


class DeadCommands:
    def __init__(self, writer: Writer, store: Store) -> None:
        self._writer = writer
        self._store = store

    async def replay(self, queue: WebhookQueue, delivery_id: str) -> Replayed:
        """One delivery."""
        burials = await self._store.burials(delivery_id)
        if not burials or burials[0].replayed_at_ms is not None:
            raise Unknown("there is no dead delivery with that id", field="delivery_id")
        await self._subscribed(burials[0].webhook_id)
        return await self._replay(queue, burials[:1])

    async def replay_of(self, queue: WebhookQueue, webhook_id: str) -> Replayed:
        """The newest of a webhook."""
        await self._subscribed(webhook_id)
        page = await self._store.dead_deliveries(webhook_id=webhook_id, cursor=None, page_size=AT_ONCE_MAX)
        dead = [one for one in page.items if isinstance(one, DeadDelivery)]
        return await self._replay(queue, dead[::-1])

    async def _replay(self, queue: WebhookQueue, dead: Sequence[DeadDelivery]) -> Replayed:
        """The oldest first, as they are in their lanes."""
        if not dead:
            return Replayed(0, ())
        now_ms = self._writer.now_ms()
        positions = await self._writer.write_all([record(replace(one, replayed_at_ms=now_ms)) for one in dead])
        try:
            for one, position in zip(dead, positions, strict=True):
                shard, entry = again(one, position)
                await queue.replay(shard, entry, now_ms=now_ms)
        except Unavailable as error:
            log.info("delivery.replay_waits", error=str(error))
        last = {position.where: position for position in sorted(positions)}
        return Replayed(len(dead), list(last.values()))

    async def _subscribed(self, webhook_id: str) -> None:
        webhook = await self._store.webhook(webhook_id)
        if webhook is None:
            raise Unknown(f"there is no webhook {webhook_id}", field="id")
        if webhook.status != "Subscribed":
            raise Conflict("nothing is sent to a webhook that is not subscribed: subscribe it again first")

"""Replays dead deliveries. The replay request is appended to the log first, so losing a queue cannot lose it; then it
is put into the queue directly. If that fails, a dispatcher does it from the log.
"""

from collections.abc import Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from airy.bus.record import Position
from airy.commands.errors import Conflict, NotFound
from airy.commands.writer import Writer
from airy.errors import Unavailable
from airy.model.dead_delivery import DeadDelivery
from airy.queue.api import WebhookQueue
from airy.store.api import StoreQueries
from airy.webhooks.dead_letter import dead_letter_record, replay_entry

AT_ONCE_MAX = 100

log = structlog.get_logger("airy.commands")


class ReplayResult(Struct, frozen=True):
    deliveries: int
    positions: Sequence[Position]  # the highest of each partition, for reads that must see the replay


class DeadDeliveryCommands:
    def __init__(self, writer: Writer, store: StoreQueries) -> None:
        self._writer = writer
        self._store = store

    async def replay(self, queue: WebhookQueue, delivery_id: str) -> ReplayResult:
        """Replay one delivery."""
        found = await self._store.dead_deliveries_of(delivery_id)
        if not found or found[0].replay_requested_at_ms is not None:
            raise NotFound("there is no dead delivery with that id", field="delivery_id")
        await self._subscribed(found[0].webhook_id)
        return await self._replay(queue, found[:1])

    async def replay_of(self, queue: WebhookQueue, webhook_id: str) -> ReplayResult:
        """Replay the newest dead deliveries of a webhook, at most `AT_ONCE_MAX`."""
        await self._subscribed(webhook_id)
        page = await self._store.dead_deliveries(webhook_id=webhook_id, cursor=None, page_size=AT_ONCE_MAX)
        dead = [one for one in page.items if isinstance(one, DeadDelivery)]
        return await self._replay(queue, dead[::-1])

    async def _replay(self, queue: WebhookQueue, dead: Sequence[DeadDelivery]) -> ReplayResult:
        """`dead` is in delivery order, oldest first."""
        if not dead:
            return ReplayResult(0, ())
        now_ms = self._writer.now_ms()
        positions = await self._writer.write_all(
            [dead_letter_record(replace(one, replay_requested_at_ms=now_ms)) for one in dead]
        )
        try:
            for one, position in zip(dead, positions, strict=True):
                shard, entry = replay_entry(one, position)
                await queue.replay(shard, entry, now_ms=queue.now_ms(now_ms))
        except Unavailable as error:
            log.info("delivery.replay_delayed", error=str(error))
        last = {position.topic_partition: position for position in sorted(positions)}
        return ReplayResult(len(dead), list(last.values()))

    async def _subscribed(self, webhook_id: str) -> None:
        webhook = await self._store.webhook(webhook_id)
        if webhook is None:
            raise NotFound(f"there is no webhook {webhook_id}", field="id")
        if webhook.status != "Subscribed":
            raise Conflict("nothing is sent to a webhook that is not subscribed: subscribe it again first")

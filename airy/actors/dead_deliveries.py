"""Keeps deliveries that failed for good in the log: written before the queue removes them, and kept as long as they may
be replayed.

The queue may lose everything at any moment; the log does not. A replay request is kept here, too, until the replay is
delivered, and is put into the queue again whenever the queue has lost it. Decisions depend on the log and the clock
alone, so it does not matter how many dispatchers make them, or how often.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import anyio
from msgspec.structs import replace

from airy import topics
from airy.actors.fold_progress import FoldProgress, wait_until_current
from airy.actors.runtime import Context
from airy.bus.api import Bus
from airy.bus.publish_batcher import publish_batcher
from airy.bus.record import Position
from airy.errors import Refused, Unavailable
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import Webhook
from airy.queue.api import WebhookQueue
from airy.store.holds import check_not_held
from airy.webhooks.dead_letter import KEEP_MAX, KEEP_MS, dead_letter_record, replay_entry, tombstone

ROUND_S = 60.0
BATCH_MAX = 100  # records per publish, and legacy rows per read
TOMBSTONES_MAX = 1_000  # per publish
REPLAYS_MAX = 500  # replay requests per round
REPLAY_AGE_MS = 10_000  # a younger request is being carried out by the command that wrote it
FOLD_S = 10.0
DELETE_S = 5.0  # bounds how long a delivered job waits for the deletion of its records
DELETES_MAX = 10_000  # pending
GATHER_TURNS = 2  # event loop turns to wait for more callers
START = (-1, "")


class DeadDeliveryStore(Protocol):
    """The part of the store that is used here."""

    async def webhook(self, webhook_id: str) -> Webhook | None: ...
    async def dead_deliveries_of(self, delivery_id: str) -> list[DeadDelivery]: ...
    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]: ...
    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]: ...


def _replay_order(dead: DeadDelivery) -> tuple[int, int]:
    """By request, then by change, which keeps the order of a lane."""
    return dead.replay_requested_at_ms or 0, dead.at_ms


class DeadDeliveries:
    """Dead letters that the queue still keeps from an earlier version are moved to the log."""

    def __init__(
        self,
        bus: Bus,
        store: DeadDeliveryStore,
        progress: FoldProgress,
        queue: WebhookQueue,
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._queue = queue
        self._legacy = queue.legacy_dead_letters
        self._batcher = publish_batcher(bus, records_max=BATCH_MAX, gather_turns=GATHER_TURNS)
        self._to_delete: dict[str, None] = {}  # ids of records, in order
        self._after = START

    # --- one delivery

    async def write(self, dead: DeadDelivery) -> None:
        """Durable when this returns. Raises `Unavailable`, or `Refused` for a record that no log accepts."""
        await self._batcher.add(dead_letter_record(dead))

    async def resolve(self, ctx: Context, delivery_id: str) -> None:
        """Deletes the records of a delivery that succeeded after all, or is not wanted any more."""
        try:
            records = await self._store.dead_deliveries_of(delivery_id)
        except Unavailable as error:
            ctx.log.info("dead_deliveries.delayed", error=str(error), to_delete=len(self._to_delete))
            return
        if records:
            await self.delete(ctx, [dead.id for dead in records])

    async def delete(self, ctx: Context, record_ids: Iterable[str]) -> None:
        """At once if possible, else in a later round."""
        self._to_delete.update(dict.fromkeys(record_ids))
        for record_id in list(self._to_delete)[: max(0, len(self._to_delete) - DELETES_MAX)]:
            del self._to_delete[record_id]
        try:
            with anyio.fail_after(DELETE_S):
                await self._publish_tombstones()
        except (Unavailable, TimeoutError) as error:
            ctx.log.info("dead_deliveries.delayed", error=str(error), to_delete=len(self._to_delete))

    async def _publish_tombstones(self) -> None:
        while self._to_delete:
            some = list(self._to_delete)[:TOMBSTONES_MAX]
            await self._bus.publish([tombstone(record_id) for record_id in some])
            for record_id in some:
                self._to_delete.pop(record_id, None)

    # --- all deliveries, once a round

    async def run(self, ctx: Context) -> None:
        while True:
            try:
                await self.round(ctx, ctx.clock.now_ms())
            except Unavailable as error:
                ctx.log.info("dead_deliveries.delayed", error=str(error), to_delete=len(self._to_delete))
            await anyio.sleep(ROUND_S)

    async def round(self, ctx: Context, now_ms: int) -> None:
        await self._move_legacy(ctx)
        await self._publish_tombstones()
        await self._requeue_replays(ctx, now_ms)
        expired = await self._store.expired_dead_deliveries(
            keep_max=KEEP_MAX, before_ms=now_ms - KEEP_MS, deliveries_max=TOMBSTONES_MAX
        )
        if expired:
            ctx.log.info("dead_deliveries.pruned", records=len(expired))
            await self._bus.publish([tombstone(record_id) for record_id in expired])

    async def _requeue_replays(self, ctx: Context, now_ms: int) -> None:
        """Puts every requested replay into the queue that it does not have."""
        if not await self._pending_replays():
            self._after = START
            return
        await self._wait_until_current()  # a replay that another dispatcher has delivered must not be repeated
        pending = await self._pending_replays()
        for dead in sorted(pending, key=_replay_order):
            requested_ms = _replay_order(dead)[0]
            if requested_ms <= now_ms - REPLAY_AGE_MS or requested_ms > now_ms:  # in the future: the clock was set back
                await self._requeue(ctx, dead, now_ms)
        self._after = START if len(pending) < REPLAYS_MAX else (_replay_order(pending[-1])[0], pending[-1].id)

    async def _pending_replays(self) -> Sequence[DeadDelivery]:
        return await self._store.pending_replays(after=self._after, replays_max=REPLAYS_MAX)

    async def _requeue(self, ctx: Context, dead: DeadDelivery, now_ms: int) -> None:
        check_not_held(self._progress.held, topics.WEBHOOKS, dead.webhook_id)
        webhook = await self._store.webhook(dead.webhook_id)
        if webhook is None or webhook.status != "Subscribed":  # nothing is sent to it: the request is withdrawn
            await self._bus.publish([dead_letter_record(replace(dead, replay_requested_at_ms=None))])
            return
        topic = topics.DEAD_DELIVERIES
        tp = topic.topic_partitions[topic.partition(dead.id)]
        shard, entry = replay_entry(dead, Position(*tp, self._progress.positions()[tp] - 1))
        if await self._queue.replay(shard, entry, now_ms=self._queue.now_ms(now_ms)):
            ctx.log.info("delivery.requeued", delivery_id=dead.delivery_id, webhook_id=dead.webhook_id)

    async def _wait_until_current(self) -> None:
        """Until the store has folded every record of this moment. Raises `Unavailable` if it does not in time."""
        if not await wait_until_current(self._bus, self._progress, [topics.DEAD_DELIVERIES], FOLD_S):
            check_not_held(self._progress.held, topics.DEAD_DELIVERIES)
            raise Unavailable(f"the store did not fold the dead deliveries within {FOLD_S:g} s")

    async def _move_legacy(self, ctx: Context) -> None:
        """Idempotent: a record has the same id each time it is written."""
        while self._legacy is not None:
            found = await self._legacy.read_oldest(BATCH_MAX)
            if not found:
                self._legacy = None
                return
            for dead in await self._write_all([dead for _, dead in found]):
                ctx.log.error("delivery.dead_letter_refused", delivery_id=dead.delivery_id, webhook_id=dead.webhook_id)
            await self._legacy.delete_through(found[-1][0])

    async def _write_all(self, dead: Sequence[DeadDelivery]) -> list[DeadDelivery]:
        """Writes them; returns those that no log accepts."""
        try:
            await self._bus.publish([dead_letter_record(one) for one in dead])
        except Refused:
            if len(dead) == 1:
                return list(dead)
            return [refused for one in dead for refused in await self._write_all([one])]
        return []

"""The publisher puts changes into the webhook queue: a reader of changes whose position is the queue's.

Every put names the id it follows, so a put of a second publisher, a fenced member or a lost answer is refused. The
position is read again and again, so a queue that lost entries is detected without a new change. Only what is delivered
or dead is committed: a queue that lost everything restarts there, and repeats some deliveries with their old ids.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

import anyio

from airy import topics
from airy.actors.change_delivery import ChangeDelivery
from airy.actors.change_sink import AssignedPartition, ChangeBatch, ChangeId, Commit, ReaderLimits, Rebuild
from airy.actors.fold_progress import FoldProgress
from airy.actors.log_identity import QueueLogCheck
from airy.actors.runtime import Context
from airy.actors.subscribers import Subscribers, WebhookStore
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.change_readers import WEBHOOK_PUBLISHER
from airy.errors import Unavailable
from airy.queue.api import NO_ENTRY, EntryId, PositionConflict, QueueEntry, QueuePosition, Shard, WebhookQueue
from airy.store.api import ChangeReader, StoredChange
from airy.webhooks.matching import Matcher

POSITION_CHECK_S = 2.0


class PublisherStore(ChangeReader, WebhookStore, Protocol):
    """The part of the store that is used here."""


class Publisher:
    """`rebuild` requests a store that is folded again from the log, when it has pruned changes that are needed."""

    def __init__(
        self,
        bus: Bus,
        store: PublisherStore,
        progress: FoldProgress,
        queue: WebhookQueue,
        *,
        rebuild: Rebuild,
        limits: ReaderLimits | None = None,
        position_check_s: float = POSITION_CHECK_S,
    ) -> None:
        self.position_check_s = position_check_s
        self._queue = queue
        self._subscribers = Subscribers(bus, store, progress)
        self._log_check = QueueLogCheck(bus, progress, WEBHOOK_PUBLISHER.group, WEBHOOK_PUBLISHER.topics)
        self._delivery = ChangeDelivery(bus, store, progress, WEBHOOK_PUBLISHER, self, rebuild=rebuild, limits=limits)
        self._matcher = Matcher(())
        self._matcher_round = -1
        self._reading_webhooks = anyio.Lock()

    async def run(self, ctx: Context) -> None:
        await self._delivery.run(ctx)

    # --- the sink of changes

    def on_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        self._log_check.reset(partitions)

    async def positions(
        self, ctx: Context, assigned: Mapping[TopicPartition, AssignedPartition], commit: Commit
    ) -> Mapping[TopicPartition, ChangeId | Unavailable]:
        """The queue's last ids, except of shards that were filled from another log."""
        found = await self._queue_positions(assigned)
        known = {tp: position for tp, position in found.items() if isinstance(position, QueuePosition)}
        starts = {tp: assigned[tp].committed for tp in known}
        mismatches = await self._log_check.mismatches(known, starts, commit)
        positions: dict[TopicPartition, ChangeId | Unavailable] = {}
        for tp, position in found.items():
            if isinstance(position, Unavailable) or tp in mismatches:
                positions[tp] = position if isinstance(position, Unavailable) else mismatches[tp]
                continue
            expected = assigned[tp].position
            if expected is not None and _last_id(expected) != position.last:
                fields = {"topic": tp.topic, "partition": tp.partition}
                ctx.log.warning("publisher.position_changed", expected=expected, found=position.last, **fields)
            if position.last != NO_ENTRY:
                positions[tp] = position.last
            elif expected is not None and _last_id(expected) == NO_ENTRY:
                positions[tp] = expected
            else:
                positions[tp] = (assigned[tp].committed, -1)
        return positions

    async def deliver(self, ctx: Context, batch: ChangeBatch) -> None:
        matcher = await self._matcher_of(batch.round)
        batch.assigned.position = None  # until the result is known
        now_ms = ctx.clock.now_ms()
        entries = [_entry(stored, matcher, now_ms) for stored in batch.changes]
        after = _last_id(batch.after)
        try:
            await self._queue.put(Shard(*batch.tp), entries, after=after)
        except PositionConflict as conflict:
            fields = {"topic": batch.tp.topic, "partition": batch.tp.partition}
            ctx.log.warning("publisher.position_conflict", expected=after, found=conflict.last, **fields)
        else:
            batch.assigned.position = batch.last

    async def finished(self, assigned: Mapping[TopicPartition, AssignedPartition]) -> Mapping[TopicPartition, int]:
        """The low-water marks. A queue that has moved since its position was checked against the log is left out."""
        offsets: dict[TopicPartition, int] = {}
        for tp, position in (await self._queue_positions(assigned)).items():
            expected = assigned[tp].position
            if isinstance(position, Unavailable) or expected is None or position.last != _last_id(expected):
                continue
            offsets[tp] = self._finished(assigned[tp], position)
        return offsets

    def log_delay(self, ctx: Context, error: Unavailable) -> None:
        """Also a full queue: the log holds the changes."""
        ctx.log.warning("publisher.backpressure", error=str(error))

    # --- internals

    async def _queue_positions(
        self, partitions: Iterable[TopicPartition]
    ) -> Mapping[TopicPartition, QueuePosition | Unavailable]:
        asked = sorted(partitions)
        if not asked:
            return {}
        try:
            positions = await self._queue.positions([Shard(*tp) for tp in asked])
        except Unavailable as error:
            return dict.fromkeys(asked, error)
        return dict(zip(asked, positions, strict=True))

    async def _matcher_of(self, round_: int) -> Matcher:
        """The webhooks, read after the changes of the round were: see `subscribers`. Batches of a round share it."""
        async with self._reading_webhooks:
            if self._matcher_round < round_:
                self._matcher = Matcher(await self._subscribers.current())
                self._matcher_round = round_
            return self._matcher

    def _finished(self, assigned: AssignedPartition, position: QueuePosition) -> int:
        """The offset below which every change is delivered, dead, or matches no webhook."""
        nothing_waits = position.low_water > position.last or position.last == NO_ENTRY
        if nothing_waits and assigned.drained_to is not None:
            return max(position.low_water[0], assigned.drained_to)
        return position.low_water[0]


def _last_id(position: ChangeId) -> EntryId:
    """The queue's last id for a position: a start at an offset is a shard without entries."""
    return NO_ENTRY if position[1] < 0 else position


def _entry(stored: StoredChange, matcher: Matcher, now_ms: int) -> QueueEntry:
    change = stored.change
    return QueueEntry(
        id=(stored.position.offset, stored.nth),
        webhook_ids=matcher.recipients(stored),
        lane=change.lane,
        event_id=change.id,
        kind=change.kind.value,
        body=change.body,
        at_ms=change.at_ms,
        position=topics.position_token(stored.position),
        trace=stored.trace,
        queued_at_ms=now_ms,
    )

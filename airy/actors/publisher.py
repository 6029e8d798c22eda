"""The publisher puts changes into the webhook queue. Its position is the queue's; it keeps none of its own.

It owns partitions by group membership, reads their changes from the store and puts them after the queue's last id.
Every put names the id it follows, so a put of a second publisher, a fenced member or a lost answer is refused. An idle
publisher keeps reading the position, so a queue that lost entries is detected without a new change. Only what is
delivered or dead is committed: a queue that lost everything restarts there, and repeats some deliveries with their old
ids.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import anyio
from msgspec import Struct

from airy import topics
from airy.actors.fold_progress import FoldProgress
from airy.actors.log_identity import Mismatches, QueueLogCheck
from airy.actors.runtime import Context
from airy.actors.subscribers import Subscribers, WebhookStore
from airy.bus.api import Bus, Fenced, Subscription
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.queue.api import NO_ENTRY, EntryId, PositionConflict, QueueEntry, QueuePosition, Shard, WebhookQueue
from airy.store.api import StoredChange
from airy.webhooks.matching import Matcher

GROUP = "webhook-publisher"
ROUND_BATCHES = 4  # full batches per round, over all partitions
TOPICS = topics.CHANGE_TOPICS

PruneChanges = Callable[[Mapping[TopicPartition, int]], Awaitable[object]]
PrunedBelow = Callable[[], Awaitable[Mapping[TopicPartition, int]]]
Rebuild = Callable[[str], None]


class ChangeStore(WebhookStore, Protocol):
    """The part of the store that is used here."""

    async def changes(self, tp: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[StoredChange]: ...


class PublisherLimits(Struct, frozen=True, kw_only=True):
    changes_max: int = 500  # per batch of a partition
    idle_s: float = 1.0  # between rounds without new changes
    position_check_s: float = 2.0  # between reads of the queue's position, which may have moved
    commit_s: float = 2.0  # between commits


class AssignedPartition(Struct):
    committed: int  # next offset, used if the queue has no entry
    after: EntryId | None = None  # the queue's last id; None: to be read
    checked_at: float = 0.0
    drained_to: int | None = None  # folded up to here, with no change after `after`


class ChangeBatch(Struct):
    """The next changes of a partition."""

    tp: TopicPartition
    assigned: AssignedPartition
    after: EntryId
    changes: Sequence[StoredChange]
    drained_to: int | None  # once this batch is queued; None: the store has more


class Publisher:
    """`prune_changes`, where given, is called with each commit, so that the store can delete the changes below it.

    `pruned_below` returns the offsets below which changes may be missing. A store pruned beyond the committed offset
    (it served while no publisher ran, or the group was reset) cannot supply the next changes: `rebuild` is called, and
    nothing of the partition is queued until the store has them again.
    """

    def __init__(
        self,
        bus: Bus,
        store: ChangeStore,
        progress: FoldProgress,
        queue: WebhookQueue,
        *,
        prune_changes: PruneChanges | None = None,
        pruned_below: PrunedBelow | None = None,
        rebuild: Rebuild | None = None,
        limits: PublisherLimits | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._subscribers = Subscribers(bus, store, progress)
        self._queue = queue
        self._prune_changes = prune_changes
        self._pruned_below = pruned_below
        self._rebuild = rebuild
        self._limits = limits or PublisherLimits()
        self._log_check = QueueLogCheck(bus, progress, GROUP, TOPICS)
        self._assigned: dict[TopicPartition, AssignedPartition] = {}
        self._membership: Subscription | None = None
        self._ctx: Context | None = None
        self._committed_at = 0.0
        self._rounds = 0

    async def run(self, ctx: Context) -> None:
        self._ctx = ctx
        async with self._bus.subscribe(TOPICS, group=GROUP, listener=self) as membership:
            self._membership = membership
            ctx.ready()
            while not ctx.draining.is_set():
                version = self._progress.version
                # Rebalances happen in this call only. If it raises, a new membership is needed: the actor crashes.
                await membership.fetch(records_max=0, wait_s=0)
                try:
                    busy = await self._round()
                except Unavailable as error:  # also a full queue: the log holds the changes
                    ctx.log.warning("publisher.backpressure", error=str(error))
                    with ctx.waiting():
                        await anyio.sleep(error.retry_after_s or self._limits.idle_s)
                    continue
                ctx.progress()
                if not busy:
                    with ctx.waiting():
                        await self._progress.wait_for_progress(version, self._limits.idle_s)
            await self._try_commit(list(self._assigned))

    # --- membership

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._log_check.reset(partitions)
        for tp, offset in partitions.items():
            self._assigned[tp] = AssignedPartition(offset)

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        revoked = list(partitions)
        await self._try_commit(revoked)
        for tp in revoked:
            self._assigned.pop(tp, None)

    async def _try_commit(self, partitions: Iterable[TopicPartition]) -> None:
        """The next owner reads again what could not be committed."""
        try:
            await self._commit(partitions)
        except Unavailable as error:
            if self._ctx is not None:
                self._ctx.log.info("publisher.commit_failed", error=str(error))

    # --- queueing

    async def _round(self) -> bool:
        """Queues one batch of every partition; returns whether there may be more. The failure of one partition does not
        delay the others.
        """
        batches, failures = await self._next_batches()
        if batches:
            try:
                matcher = Matcher(await self._subscribers.current())  # read after the changes: see `subscribers`
                failures += await self._put_all(batches, matcher)
            except Unavailable as error:
                failures.append(error)
        if anyio.current_time() >= self._committed_at + self._limits.commit_s:
            self._committed_at = anyio.current_time()
            await self._commit(list(self._assigned))
        if failures:
            raise failures[0]
        return self._is_full(batches) or any(batch.assigned.drained_to is None for batch in batches)

    def _is_full(self, batches: Sequence[ChangeBatch]) -> bool:
        return sum(len(each.changes) for each in batches) >= ROUND_BATCHES * self._limits.changes_max

    async def _next_batches(self) -> tuple[list[ChangeBatch], list[Unavailable]]:
        """The changes that the store has after the queue's positions, and the failures to read some. Each round starts
        at another partition.
        """
        batches: list[ChangeBatch] = []
        failures = await self._check_positions()
        self._rounds += 1
        turn = self._rounds % max(1, len(self._assigned))
        partitions = sorted(self._assigned)
        for tp in partitions[turn:] + partitions[:turn]:
            try:
                batch = await self._next_batch(tp, self._assigned[tp])
            except Unavailable as error:
                failures.append(error)
                continue
            if batch is not None:
                batches.append(batch)
            if self._is_full(batches):
                break  # the next round starts at another partition
        return batches, failures

    async def _next_batch(self, tp: TopicPartition, assigned: AssignedPartition) -> ChangeBatch | None:
        after = assigned.after
        if after is None:
            return None  # the queue's position is unknown
        folded_to = self._progress.positions().get(tp, 0)
        if assigned.drained_to is not None and folded_to <= assigned.drained_to:
            return None  # the usual case, without a read of the store
        if await self._is_pruned(tp, max(assigned.committed, after[0])):
            return None
        changes = await self._store.changes(
            tp,
            after=(assigned.committed, -1) if after == NO_ENTRY else after,
            changes_max=self._limits.changes_max,
        )
        if not changes:
            assigned.drained_to = folded_to
            return None
        drained_to = folded_to if len(changes) < self._limits.changes_max else None
        return ChangeBatch(tp, assigned, after, changes, drained_to)

    async def _put_all(self, batches: Sequence[ChangeBatch], matcher: Matcher) -> list[Unavailable]:
        """Concurrently: each is a request to a queue that may be remote."""
        failures: list[Unavailable] = []

        async def put(batch: ChangeBatch) -> None:
            try:
                await self._put(batch, matcher)
            except Unavailable as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for batch in batches:
                tasks.start_soon(put, batch)
        return failures

    async def _put(self, batch: ChangeBatch, matcher: Matcher) -> None:
        assigned = batch.assigned
        assigned.after = assigned.drained_to = None  # until the result is known
        entries = [_entry(one, matcher) for one in batch.changes]
        try:
            await self._queue.put(Shard(*batch.tp), entries, after=batch.after)
        except PositionConflict as conflict:
            self._log("publisher.position_conflict", batch.tp, expected=batch.after, found=conflict.last)
        else:
            assigned.after, assigned.drained_to = entries[-1].id, batch.drained_to

    async def _is_pruned(self, tp: TopicPartition, start: int) -> bool:
        """Whether the store has pruned changes from `start` on; then a rebuild is requested."""
        if self._pruned_below is None or self._rebuild is None:
            return False
        below = (await self._pruned_below()).get(tp, 0)
        if below <= start:
            return False
        self._rebuild(f"changes of {tp.topic}/{tp.partition} are pruned below {below}, and needed from {start}")
        return True

    # --- the queue's positions

    async def _check_positions(self) -> list[Unavailable]:
        """Reads the queue's positions where they are unknown or not checked for a while, in one request; returns why
        some could not be read or may not be used.
        """
        now = anyio.current_time()
        failures: list[Unavailable] = []
        positions = await self._positions([tp for tp, each in self._assigned.items() if self._needs_check(each, now)])
        try:
            mismatches = await self._mismatches(positions)
        except Unavailable as error:
            return [error]
        except Fenced as error:
            self._log_fenced(error)
            return []
        for tp, position in positions.items():
            assigned = self._assigned[tp]
            if isinstance(position, Unavailable):
                failures.append(position)
                continue
            if tp in mismatches:
                assigned.after = assigned.drained_to = None
                failures.append(mismatches[tp])
                continue
            if assigned.after not in (None, position.last):
                self._log("publisher.position_changed", tp, expected=assigned.after, found=position.last)
            assigned.checked_at = now
            if assigned.after != position.last:
                assigned.after, assigned.drained_to = position.last, None
        return failures

    def _needs_check(self, assigned: AssignedPartition, now: float) -> bool:
        """Even a known position is read now and then: the queue may have lost entries."""
        return assigned.after is None or now >= assigned.checked_at + self._limits.position_check_s

    async def _mismatches(self, positions: Mapping[TopicPartition, QueuePosition | Unavailable]) -> Mismatches:
        if self._membership is None:
            return {}
        known = {tp: position for tp, position in positions.items() if isinstance(position, QueuePosition)}
        starts = {tp: self._assigned[tp].committed for tp in known}
        return await self._log_check.mismatches(known, starts, self._membership.commit)

    async def _positions(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, QueuePosition | Unavailable]:
        asked = [tp for tp in sorted(partitions) if tp in self._assigned]
        if not asked:
            return {}
        try:
            positions = await self._queue.positions([Shard(*tp) for tp in asked])
        except Unavailable as error:
            return dict.fromkeys(asked, error)
        return dict(zip(asked, positions, strict=True))

    # --- committing

    async def _commit(self, partitions: Iterable[TopicPartition]) -> None:
        """Commits the low-water marks, and nothing above them."""
        offsets: dict[TopicPartition, int] = {}
        for tp, position in (await self._positions(partitions)).items():
            assigned = self._assigned[tp]
            if isinstance(position, Unavailable) or position.last != assigned.after:
                continue  # unknown, or moved since it was checked against the log: left to the next commit
            offset = self._finished(assigned, position)
            if offset > assigned.committed:
                offsets[tp] = offset
        if not offsets or self._membership is None:
            return
        try:
            await self._membership.commit(offsets)
        except Fenced as error:  # another member owns it; until `on_revoked` is called, acting on it is harmless
            self._log_fenced(error)
            return
        for tp, offset in offsets.items():
            self._assigned[tp].committed = offset
        if self._prune_changes is not None:
            await self._prune_changes(offsets)

    def _finished(self, assigned: AssignedPartition, position: QueuePosition) -> int:
        """The offset below which every change is delivered, dead, or matches no webhook."""
        nothing_waits = position.low_water > position.last or position.last == NO_ENTRY
        if nothing_waits and assigned.drained_to is not None:
            return max(position.low_water[0], assigned.drained_to)
        return position.low_water[0]

    def _log_fenced(self, error: Fenced) -> None:
        if self._ctx is not None:
            self._ctx.log.info("publisher.fenced", error=str(error))

    def _log(self, event: str, tp: TopicPartition, *, expected: EntryId | None, found: EntryId) -> None:
        if self._ctx is not None:
            self._ctx.log.warning(event, topic=tp.topic, partition=tp.partition, expected=expected, found=found)


def _entry(stored: StoredChange, matcher: Matcher) -> QueueEntry:
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
    )

"""The loop of a reader of changes: reads the changes of its partitions from the store, in order, and hands them to a
sink that acts on them.

The loop owns membership, readiness, positions, gaps, back-off and commits; a sink owns the effect. Two exist: one
calls an effect per change (`change_effect`), and the publisher puts batches into the webhook queue. At least once: a
crash between effect and commit repeats changes with the same ids, because ids of changes do not depend on readers.

Partitions are independent: each has at most one batch in flight, and a slow or failing one delays no other. What is
committed is the end of the contiguous prefix that the sink has finished.
"""

from collections.abc import Iterable, Mapping

import anyio
from anyio.abc import TaskGroup

from airy.actors.change_sink import (
    AssignedPartition,
    ChangeBatch,
    ChangeId,
    ChangeSink,
    ReaderLimits,
    Rebuild,
)
from airy.actors.fold_progress import FoldProgress
from airy.actors.partition_readiness import PartitionReadiness
from airy.actors.runtime import Context
from airy.bus.api import Bus, Fenced, Subscription
from airy.bus.record import TopicPartition
from airy.change_readers import ReaderSpec
from airy.errors import Unavailable
from airy.store.api import ChangeReader
from airy.task_group import task_group

FULL_BATCHES_MAX = 4  # in flight at once, over all partitions
REVOKE_S = 10.0  # how long a revocation waits for batches in flight; their effects may be repeated by the next owner
DRAIN_S = 7.0  # within the drain time of an actor, with time left for the last commit


class ChangeDelivery:
    """`rebuild` requests a store that is folded again from the log; needed where `reader.on_gap` says so."""

    def __init__(
        self,
        bus: Bus,
        store: ChangeReader,
        progress: FoldProgress,
        reader: ReaderSpec,
        sink: ChangeSink,
        *,
        rebuild: Rebuild,
        limits: ReaderLimits | None = None,
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._reader = reader
        self._sink = sink
        self._rebuild = rebuild
        self._limits = limits or ReaderLimits()
        self._readiness = PartitionReadiness(bus, progress, reader.topics) if reader.requires_current_store else None
        self._membership: Subscription | None = None
        self._ctx: Context | None = None
        self._wake_up = anyio.Event()
        self._batch_ended = anyio.Event()
        self._committed_at = 0.0
        self._retry_at = 0.0
        self._rounds = 0
        self.assigned: dict[TopicPartition, AssignedPartition] = {}

    async def run(self, ctx: Context) -> None:
        """Until draining. Raises what the sink raises, except `Unavailable`."""
        self._ctx = ctx
        async with (
            self._bus.subscribe(self._reader.topics, group=self._reader.group, listener=self) as membership,
            task_group() as tasks,
        ):
            self._membership = membership
            tasks.start_soon(self._keep_membership, membership)
            tasks.start_soon(self._wake_up_on_progress)
            tasks.start_soon(self._wake_up_on_draining, ctx)
            ctx.ready()
            while not ctx.draining.is_set():
                self._wake_up = anyio.Event()
                wait_s = await self._try_round(ctx, tasks)
                ctx.progress()
                with ctx.waiting(), anyio.move_on_after(wait_s):
                    await self._wake_up.wait()
            with ctx.waiting():
                await self._wait_for_batches(self.assigned.values(), DRAIN_S)
            await self._try_commit(dict(self.assigned))
            tasks.cancel_scope.cancel()

    async def _keep_membership(self, membership: Subscription) -> None:
        """Rebalances happen in these calls only. If one raises, a new membership is needed: the actor crashes."""
        while True:
            await membership.fetch(records_max=0, wait_s=self._limits.idle_s)

    async def _wake_up_on_progress(self) -> None:
        version = self._progress.version
        while True:
            version = await self._progress.wait_for_progress(version, self._limits.idle_s)
            self._wake_up.set()

    async def _wake_up_on_draining(self, ctx: Context) -> None:
        await ctx.draining.wait()
        self._wake_up.set()

    # --- membership

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._sink.on_assigned(partitions)
        if self._readiness is not None:
            self._readiness.assigned(partitions)
        for tp, offset in partitions.items():
            self.assigned[tp] = AssignedPartition(offset)
        self._wake_up.set()

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        revoked = {tp: self.assigned[tp] for tp in partitions if tp in self.assigned}
        for each in revoked.values():
            each.revoked = True
        await self._wait_for_batches(revoked.values(), REVOKE_S)
        await self._try_commit(revoked)
        for tp in revoked:
            self.assigned.pop(tp, None)
        if self._readiness is not None:
            self._readiness.revoked(revoked)

    async def _wait_for_batches(self, assigned: Iterable[AssignedPartition], within_s: float) -> None:
        waiting = list(assigned)
        with anyio.move_on_after(within_s):
            while any(each.in_flight for each in waiting):
                await self._batch_ended.wait()

    # --- rounds

    async def _try_round(self, ctx: Context, tasks: TaskGroup) -> float:
        """Returns the seconds to wait for the next round, unless something happens before."""
        delay_s = self._retry_at - anyio.current_time()
        if delay_s > 0:
            return delay_s
        try:
            return await self._round(ctx, tasks)
        except Unavailable as error:
            self._sink.log_delay(ctx, error)
            delay_s = error.retry_after_s or self._limits.idle_s
            self._retry_at = anyio.current_time() + delay_s
            return delay_s

    async def _round(self, ctx: Context, tasks: TaskGroup) -> float:
        await self._start_new_partitions()
        await self._check_positions(ctx)
        await self._start_batches(ctx, tasks)
        now = anyio.current_time()
        if now >= self._committed_at + self._limits.commit_s:
            self._committed_at = now
            await self._commit(dict(self.assigned))
        retries_s = [each.retry_at - now for each in self.assigned.values() if each.retry_at > now]
        return min([self._limits.idle_s, *retries_s])

    async def _start_new_partitions(self) -> None:
        """A reader that starts at the end commits it where it has no commit yet, so that a restart does not skip."""
        new = {tp: each for tp, each in self.assigned.items() if each.is_new}
        if new and self._reader.start == "end" and self._membership is not None:
            committed = await self._bus.committed(self._reader.group, self._reader.topics)
            if new.keys() - committed.keys():
                ends = await self._bus.end_offsets(self._reader.topics)
                starts = {tp: ends[tp] for tp in new if tp not in committed}
                try:
                    await self._membership.commit(starts)
                except Fenced as error:
                    self._log_fenced(error)
                    return
                for tp, offset in starts.items():
                    new[tp].committed = offset
        for each in new.values():
            each.is_new = False

    async def _check_positions(self, ctx: Context) -> None:
        """Reads positions that are unknown, or not checked for a while, from the sink in one request."""
        now = anyio.current_time()
        due = {tp: each for tp, each in self.assigned.items() if self._needs_check(each, now)}
        if not due or self._membership is None:
            return
        try:
            found = await self._sink.positions(ctx, due, self._membership.commit)
        except Fenced as error:
            self._log_fenced(error)
            return
        for tp, position in found.items():
            assigned = due[tp]
            if isinstance(position, Unavailable):
                assigned.position = assigned.drained_to = None
                self._delay(ctx, assigned, position)
                continue
            assigned.checked_at, assigned.failures = now, 0
            if assigned.position != position:
                assigned.position, assigned.drained_to = position, None

    def _needs_check(self, assigned: AssignedPartition, now: float) -> bool:
        """Even a known position is read again: a sink may have lost what it was given."""
        if assigned.in_flight or assigned.is_new or assigned.revoked or now < assigned.retry_at:
            return False
        return assigned.position is None or now >= assigned.checked_at + self._sink.position_check_s

    async def _start_batches(self, ctx: Context, tasks: TaskGroup) -> None:
        """Starts a batch for each partition that has changes and none in flight. Each round starts at another one."""
        self._rounds += 1
        partitions = sorted(self.assigned) if self._readiness is None else sorted(await self._readiness.ready())
        turn = self._rounds % max(1, len(partitions))
        batches: list[ChangeBatch] = []
        in_flight = sum(each.in_flight for each in self.assigned.values())
        for tp in partitions[turn:] + partitions[:turn]:
            assigned = self.assigned.get(tp)
            if assigned is None or not self._may_deliver(assigned):
                continue
            if in_flight >= FULL_BATCHES_MAX * self._limits.changes_max:
                break  # the end of a batch starts the next round
            batch = await self._next_batch(ctx, tp, assigned)
            if batch is not None:
                batches.append(batch)
                in_flight += assigned.in_flight
        for batch in batches:
            tasks.start_soon(self._deliver, ctx, batch)

    def _may_deliver(self, assigned: AssignedPartition) -> bool:
        idle = not assigned.in_flight and not assigned.revoked and assigned.position is not None
        return idle and anyio.current_time() >= assigned.retry_at

    async def _next_batch(self, ctx: Context, tp: TopicPartition, assigned: AssignedPartition) -> ChangeBatch | None:
        folded_to = self._progress.positions().get(tp, 0)
        if assigned.drained_to is not None and folded_to <= assigned.drained_to:
            return None  # the usual case, without a read of the store
        try:
            after = await self._position_after_gap(ctx, tp, assigned)
            if after is None:
                return None
            changes = await self._store.changes(tp, after=after, changes_max=self._limits.changes_max)
        except Unavailable as error:
            self._delay(ctx, assigned, error)
            return None
        if not changes:
            assigned.drained_to = folded_to
        if not changes or assigned.revoked:
            return None
        assigned.in_flight = len(changes)
        return ChangeBatch(
            tp,
            assigned,
            round=self._rounds,
            after=after,
            changes=[each for each in changes if each.change.kind in self._reader.kinds],
            last=(changes[-1].position.offset, changes[-1].nth),
            drained_to=folded_to if len(changes) < self._limits.changes_max else None,
        )

    async def _deliver(self, ctx: Context, batch: ChangeBatch) -> None:
        assigned = batch.assigned
        try:
            await self._sink.deliver(ctx, batch)
        except Unavailable as error:
            self._delay(ctx, assigned, error)
        except Exception:
            assigned.revoked = True  # this actor ends; until it has, nothing more is begun here
            raise
        else:
            assigned.failures = 0
        finally:
            assigned.drained_to = batch.drained_to if assigned.position == batch.last else None
            assigned.in_flight = 0
            self._wake_up.set()
            self._batch_ended.set()
            self._batch_ended = anyio.Event()

    def _delay(self, ctx: Context, assigned: AssignedPartition, error: Unavailable) -> None:
        self._sink.log_delay(ctx, error)
        assigned.failures += 1
        delay_s = self._limits.backoff.delay_s(assigned.failures, ctx.random, at_least_s=error.retry_after_s or 0.0)
        assigned.retry_at = anyio.current_time() + delay_s

    async def _position_after_gap(
        self, ctx: Context, tp: TopicPartition, assigned: AssignedPartition
    ) -> ChangeId | None:
        """The position, moved past changes that were pruned before they were delivered. None: a rebuild yields them."""
        if assigned.position is None:
            return None
        below = (await self._store.pruned_below()).get(tp, 0)
        start = max(assigned.committed, assigned.position[0])
        if below <= start:
            return assigned.position
        if self._reader.on_gap == "rebuild":
            self._rebuild(f"changes of {tp.topic}/{tp.partition} are pruned below {below}, and needed from {start}")
            return None
        ctx.log.warning(
            "change_reader.changes_missed",
            reader=self._reader.name,
            topic=tp.topic,
            partition=tp.partition,
            from_offset=start,
            to_offset=below,
        )
        assigned.position = (below, -1)
        return assigned.position

    # --- committing

    async def _try_commit(self, assigned: Mapping[TopicPartition, AssignedPartition]) -> None:
        """The next owner repeats what could not be committed."""
        try:
            await self._commit(assigned)
        except Unavailable as error:
            if self._ctx is not None:
                self._ctx.log.info("change_reader.commit_failed", reader=self._reader.name, error=str(error))

    async def _commit(self, assigned: Mapping[TopicPartition, AssignedPartition]) -> None:
        known = {tp: each for tp, each in assigned.items() if not each.is_new}
        finished = await self._sink.finished(known)
        offsets = {tp: offset for tp, offset in finished.items() if offset > known[tp].committed}
        if not offsets or self._membership is None:
            return
        try:
            await self._membership.commit(offsets)
        except Fenced as error:  # another member owns them; until `on_revoked` is called, acting on them is harmless
            self._log_fenced(error)
            return
        for tp, offset in offsets.items():
            known[tp].committed = offset

    def _log_fenced(self, error: Fenced) -> None:
        if self._ctx is not None:
            self._ctx.log.info("change_reader.fenced", reader=self._reader.name, error=str(error))

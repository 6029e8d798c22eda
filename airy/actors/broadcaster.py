"""Hands every change that this process folds to the subscribers of the change feed. One per process.

A reader of changes without a group: it reads all partitions from the store, from where the fold was when it started.
It keeps no history; a subscriber that falls behind, or outlives a restart of this actor, reads what it lacks from the
store (`change_feed`). Joining is a request in the mailbox, so a subscriber knows the exact position it is live from.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import anyio
import anyio.lowlevel
from msgspec import Struct

from airy.actors.feed_position import PARTITIONS, FeedPosition, position_at
from airy.actors.feed_subscriber import FeedEvent, FeedMark, MarkKind, Subscriber
from airy.actors.fold_progress import FoldProgress
from airy.actors.log_epoch import LogEpoch
from airy.actors.runtime import Context, Mailbox, Request
from airy.actors.stuck_sends import StuckSends
from airy.actors.subscriber_index import SubscriberIndex
from airy.recent_times import BroadcastTimes
from airy.store.api import ChangeReader, StoredChange
from airy.task_group import task_group

MESSAGES_MAX = 100  # of the mailbox, between two looks at the fold
CHANGES_MAX = 500  # of one read
OFFERS_MAX, EVENTS_MAX = 5_000, 64  # between two yields to other tasks; below the capacity of a queue
IDLE_S = 5.0
MAILBOX_CAPACITY = 1_024


class Join(Request[FeedPosition], frozen=True):
    """The reply is the position from which the subscriber is live."""

    subscriber: Subscriber


class Leave(Struct, frozen=True):
    subscriber: Subscriber


class FoldAdvanced(Struct, frozen=True):
    """The fold has advanced."""


class Checkpoint(Struct, frozen=True):
    """Time to tell every subscriber the position."""


class Drain(Struct, frozen=True):
    """Time to stop."""


Message = Join | Leave | FoldAdvanced | Checkpoint | Drain


def broadcaster_mailbox() -> Mailbox[Message]:
    return Mailbox(MAILBOX_CAPACITY)


class Broadcaster:
    def __init__(
        self,
        store: ChangeReader,
        progress: FoldProgress,
        log_epoch: LogEpoch,
        mailbox: Mailbox[Message],
        *,
        checkpoint_s: float,
        sends: StuckSends,
        times: BroadcastTimes,
    ) -> None:
        self._store = store
        self._progress = progress
        self._mailbox = mailbox
        self._checkpoint_s = checkpoint_s
        self._sends = sends
        self._times = times
        self._log_epoch = log_epoch
        self._position = position_at({})
        self._marked = self._position  # of the last checkpoint
        self._subscribers = SubscriberIndex()
        self._fold_noticed = False  # a `FoldAdvanced` is in the mailbox
        self._offers = self._events = 0  # since the last yield

    async def run(self, ctx: Context) -> None:
        self._position = self._marked = position_at(self._progress.positions())
        try:
            async with task_group() as tasks:
                tasks.start_soon(self._watch_fold)
                tasks.start_soon(self._watch_draining, ctx)
                tasks.start_soon(self._watch_time)
                ctx.ready()
                await self._serve(ctx)
                tasks.cancel_scope.cancel()
        finally:
            for subscriber in self._subscribers:
                subscriber.stop(None)

    async def _serve(self, ctx: Context) -> None:
        while True:
            for message in await self._mailbox.get_batch(MESSAGES_MAX):
                match message:
                    case Join():
                        self._subscribers.add(message.subscriber)
                        self._mailbox.reply(message, self._position)
                    case Leave():
                        self._subscribers.discard(message.subscriber)
                    case FoldAdvanced():
                        self._fold_noticed = False
                        await self._broadcast(ctx)
                    case Checkpoint():
                        await self._send_checkpoint()
                    case Drain():
                        return

    # --- what wakes it

    async def _watch_fold(self) -> None:
        version = -1
        while True:
            version = await self._progress.wait_for_progress(version, IDLE_S)
            await self._notice_fold()

    async def _notice_fold(self) -> None:
        if not self._fold_noticed:
            self._fold_noticed = True
            await self._mailbox.address.tell_control(FoldAdvanced())

    async def _watch_draining(self, ctx: Context) -> None:
        await ctx.draining.wait()
        await self._mailbox.address.tell_control(Drain())

    async def _watch_time(self) -> None:
        checkpoint_at = anyio.current_time() + self._checkpoint_s
        while True:
            await anyio.sleep(self._sends.check_s)
            self._sends.check()
            if anyio.current_time() >= checkpoint_at:
                checkpoint_at += self._checkpoint_s
                await self._mailbox.address.tell_control(Checkpoint())

    # --- what it does

    async def _broadcast(self, ctx: Context) -> None:
        folded = dict(self._progress.positions())
        for index, tp in enumerate(PARTITIONS):
            if folded.get(tp, 0) <= self._position.offsets[index]:
                continue  # the usual case; also while a wiped store is folded again
            if self._subscribers:
                await self._broadcast_partition(ctx, index, folded[tp])
            else:
                self._times.add_unwanted(tp, self._position.offsets[index], folded[tp], ctx.clock.now_ms())
            self._position = self._position.with_offset(index, folded[tp])

    async def _broadcast_partition(self, ctx: Context, index: int, folded_to: int) -> None:
        """Until the store has no more of it, so that a position never ends inside the records of two partitions."""
        tp, changes = PARTITIONS[index], None
        await self._log_epoch.current()
        while changes is None or len(changes) == CHANGES_MAX:
            after = self._position.after(index)
            changes = await self._store.changes(tp, after=after, changes_max=CHANGES_MAX)
            if (await self._store.pruned_below()).get(tp, 0) > after[0]:
                self._stop_all()  # each subscriber finds out what it lacks
                self._position = self._position.with_offset(index, folded_to)
                return
            for stored, complete in with_completeness(changes, CHANGES_MAX):
                event = FeedEvent(index, stored, self._position, self._log_epoch.known, complete=complete)
                self._offer(event, ctx.clock.now_ms())
                if self._offers >= OFFERS_MAX or self._events >= EVENTS_MAX:
                    self._offers = self._events = 0
                    ctx.progress()
                    await anyio.lowlevel.checkpoint()

    def _offer(self, event: FeedEvent, now_ms: int) -> None:
        before, self._position, change = self._position, event.position, event.stored.change
        candidates = self._subscribers.candidates(change)
        wanting = [each for each in candidates if each.everything or each.scope.contains(change)]
        full = [subscriber for subscriber in wanting if not subscriber.offer(event)]
        for subscriber in full:
            self._stop(subscriber, before)
        self._times.add(event.stored.position, now_ms, subscribers=len(wanting), cut=len(full))
        self._offers += len(candidates)
        self._events += 1

    async def _send_checkpoint(self) -> None:
        if self._position == self._marked:
            return
        self._marked = self._position
        mark = FeedMark(MarkKind.POSITION, self._position, self._log_epoch.known)
        for number, subscriber in enumerate(list(self._subscribers)):
            if not subscriber.offer(mark):
                self._stop(subscriber, self._position)
            if number % 100 == 99:
                await anyio.lowlevel.checkpoint()

    def _stop(self, subscriber: Subscriber, at: FeedPosition | None) -> None:
        self._subscribers.discard(subscriber)
        subscriber.stop(at)

    def _stop_all(self) -> None:
        for subscriber in list(self._subscribers):
            self._stop(subscriber, None)


def with_completeness(changes: Sequence[StoredChange], changes_max: int) -> Iterator[tuple[StoredChange, bool]]:
    """What a read of up to `changes_max` returned, each with whether it is known to be the last one of its record."""
    for stored, following in pairwise([*changes, None]):
        if stored is not None:
            at_end = following is None and len(changes) < changes_max
            yield stored, at_end or (following is not None and following.position.offset != stored.position.offset)

"""The change feed: all changes, or those of a scope, to any number of subscriptions, each with its own position.

A subscription gets each change once and in order per partition: first from the store, at the pace of its client, then
live from the broadcaster. If its queue overflows, it goes back to the store, where it left. So the memory per client
is bounded, and only a client that cannot keep up at all is cut. A position from before a disconnection continues
exactly where it was, on any process, or is answered with one `resync`.
"""

from collections.abc import Awaitable, Callable, Mapping
from operator import ge

import anyio

from airy import topics
from airy.actors.broadcaster import CHANGES_MAX, Broadcaster, Join, Leave, broadcaster_mailbox, with_completeness
from airy.actors.change_sink import ChangeId
from airy.actors.feed_position import PARTITIONS, FeedPosition, ResumeToken, checksum
from airy.actors.feed_subscriber import (
    FeedEvent,
    FeedItem,
    FeedLimits,
    FeedMark,
    FeedScope,
    MarkKind,
    Subscriber,
)
from airy.actors.fold_progress import FoldProgress
from airy.actors.log_epoch import LogEpoch
from airy.actors.runtime import Crashed, TimedOut
from airy.actors.stuck_sends import Sender, StuckSends
from airy.bus.api import Bus
from airy.bus.record import TopicPartition
from airy.change_readers import BROADCASTER
from airy.errors import AiryError, Unavailable
from airy.recent_times import BroadcastTimes
from airy.store.api import ChangeReader

Deliver = Callable[[FeedItem], Awaitable[None]]

NOTHING: ChangeId = (-1, -1)
NEAR = 64  # changes in one pass over all partitions, from which a subscription joins the broadcaster
JOIN_ATTEMPTS_MAX = 3
FLOOR_POLL_S = 0.05
PRUNED = "changes after the position are not kept any more"


class SlowClient(AiryError):
    """The client does not keep up. It may connect again, and continue at its position."""


class _ChangesPruned(AiryError):
    """Changes after the position were deleted."""


class ChangeFeed:
    """The feed of one process. Lives as long as the process; `broadcaster` makes the actor it depends on."""

    def __init__(
        self, bus: Bus, store: ChangeReader, progress: FoldProgress, *, limits: FeedLimits | None = None
    ) -> None:
        self.bus = bus
        self.store = store
        self.progress = progress
        self.limits = limits or FeedLimits()
        self.mailbox = broadcaster_mailbox()
        self.subscriptions = 0
        self.cut = 0  # clients that were too slow
        self.lagged = 0  # times a queue was full
        self.resynced = 0  # positions that could not be resumed from
        self.log_epoch = LogEpoch(bus)
        self.times = BroadcastTimes()
        self._sends = StuckSends(self.limits.send_s_max)

    def broadcaster(self) -> Broadcaster:
        self.log_epoch = LogEpoch(self.bus)  # the tree starts again after the log was replaced
        return Broadcaster(
            self.store,
            self.progress,
            self.log_epoch,
            self.mailbox,
            checkpoint_s=self.limits.checkpoint_s,
            sends=self._sends,
            times=self.times,
        )

    async def follow(self, scope: FeedScope, resume: ResumeToken | None, deliver: Deliver) -> None:
        """Deliver until cancelled. None: from now on.

        Raises `SlowClient`, `Unavailable`, and what `deliver` raises.
        """
        if self.subscriptions >= self.limits.subscribers_max:
            raise Unavailable("too many clients follow the events of this process", retry_after_s=1.0)
        self.subscriptions += 1
        try:
            await self._follow(scope, resume, deliver)
        except SlowClient:
            self.cut += 1
            raise
        finally:
            self.subscriptions -= 1

    async def _follow(self, scope: FeedScope, resume: ResumeToken | None, deliver: Deliver) -> None:
        with self._sends.watching() as sender:
            await _Subscription(self, scope, deliver, sender).run(resume)
        if sender.stuck:
            raise SlowClient(f"the client did not read for {self.limits.send_s_max:g} s")


def _has_events(position: FeedPosition) -> bool:
    return any(position.offsets[index] for index, tp in enumerate(PARTITIONS) if tp.topic == topics.EVENTS.name)


class _Subscription:
    def __init__(self, feed: ChangeFeed, scope: FeedScope, deliver: Deliver, sender: Sender) -> None:
        self._feed = feed
        self._scope = scope
        self._send = deliver
        self._sender = sender
        self._position: FeedPosition | None = None
        self._floor: FeedPosition | None = None  # what the client had before a resync
        self._behind_until: float | None = None  # when it must have caught up
        self._ahead: dict[int, ChangeId] = {}  # by partition: the last change it has that the broadcaster has not

    async def run(self, resume: ResumeToken | None) -> None:
        await self._feed.log_epoch.current()
        kind, reason = MarkKind.READY, ""
        if resume is not None:
            reason = await self._obstacle(resume)
            kind = MarkKind.RESYNC if reason else MarkKind.READY
            self._position = None if reason else resume.position
            self._floor = resume.position if reason == PRUNED else None
        while True:
            try:
                await self._catch_up_and_follow(kind, reason)
                kind = MarkKind.POSITION
            except _ChangesPruned:
                kind, reason, self._floor, self._position = MarkKind.RESYNC, PRUNED, self._position, None

    async def _catch_up_and_follow(self, kind: MarkKind, reason: str) -> None:
        """Until the subscriber was stopped."""
        await self._catch_up()
        subscriber, joined = await self._join_at_floor()
        try:
            await self._read_up_to(joined)
            self._behind_until = None
            await self._mark(kind, reason)
            await self._follow(subscriber)
        finally:
            self._leave(subscriber)
        self._feed.lagged += 1
        self._behind_until = anyio.current_time() + self._feed.limits.behind_s_max
        if subscriber.stopped_at is not None and not self._ahead:
            self._position = subscriber.stopped_at

    # --- resuming

    async def _obstacle(self, resume: ResumeToken) -> str:
        """Why the changes after a position cannot be delivered exactly; empty: they can. Raises `Unavailable`."""
        position, feed = resume.position, self._feed
        if not await feed.log_epoch.matches(resume.epoch) if resume.epoch else _has_events(position):
            return "the position is of another log"
        if not await self._folded(position):
            ends = await feed.bus.end_offsets(BROADCASTER.topics)
            if any(offset > ends[tp] for tp, offset in zip(PARTITIONS, position.needs_folded, strict=True)):
                return "the position is beyond the end of the log"
            raise Unavailable("this process has not folded the log up to the position yet", retry_after_s=1.0)
        pruned = await feed.store.pruned_below()
        if any(offset < pruned.get(tp, 0) for tp, offset in zip(PARTITIONS, position.offsets, strict=True)):
            return PRUNED
        if not await self._recognised(position, pruned):
            return "the position is of another log"
        return ""

    async def _folded(self, position: FeedPosition) -> bool:
        """Waits for it a while."""
        progress, wanted = self._feed.progress, position.needs_folded
        with anyio.move_on_after(self._feed.limits.fold_s_max):
            while True:
                version, folded = progress.version, progress.positions()
                if all(folded.get(tp, 0) >= offset for tp, offset in zip(PARTITIONS, wanted, strict=True)):
                    return True
                await progress.wait_for_progress(version, self._feed.limits.fold_s_max)
        return False

    async def _recognised(self, position: FeedPosition, pruned: Mapping[TopicPartition, int]) -> bool:
        """Whether the last change of the position is in the store, or may have been there."""
        last = position.last
        if last is None or last.offset < pruned.get(PARTITIONS[last.index], 0):
            return True
        after = (last.offset, last.nth - 1)
        found = await self._feed.store.changes(PARTITIONS[last.index], after=after, changes_max=1)
        return [(each.position.offset, each.nth, checksum(each.change.id)) for each in found] == [
            (last.offset, last.nth, last.checksum)
        ]

    # --- from the store

    async def _catch_up(self) -> None:
        """Read until little is left. Returns at once without a position."""
        found = NEAR + 1
        while found > NEAR:
            found = 0
            folded = dict(self._feed.progress.positions())
            for index in self._position.reading_order if self._position else ():
                folded_to = folded.get(PARTITIONS[index], 0)
                if self._position is not None and folded_to > self._position.offsets[index]:
                    found += await self._read(index, self._position, folded_to)

    async def _read_up_to(self, joined: FeedPosition) -> None:
        """Read what the broadcaster had handed out before the subscription joined, and note what it has not yet."""
        self._ahead = {}
        self._position = position = self._position or joined
        for index in range(len(PARTITIONS)):
            mine, its = position.after(index), joined.after(index)
            if mine < its:
                await self._read(index, self._position, joined.offsets[index], last=its)
            elif mine > its:
                self._ahead[index] = mine

    async def _read(self, index: int, position: FeedPosition, folded_to: int, *, last: ChangeId | None = None) -> int:
        """Deliver the changes of a partition after `position`, up to the change `last` or to its end. Returns how many
        there were, inside of the scope or not. Raises `_ChangesPruned`.
        """
        tp, store, count = PARTITIONS[index], self._feed.store, 0
        while True:
            after = position.after(index)
            changes = await store.changes(tp, after=after, changes_max=CHANGES_MAX)
            if (await store.pruned_below()).get(tp, 0) > after[0]:
                raise _ChangesPruned(PRUNED)
            for stored, complete in with_completeness(changes, CHANGES_MAX):
                if last is not None and (stored.position.offset, stored.nth) > last:
                    break
                event = FeedEvent(index, stored, position, self._feed.log_epoch.known, complete=complete)
                if self._scope.contains(stored.change):
                    await self._deliver(event)
                self._position = position = event.position
                count += 1
            else:
                if len(changes) == CHANGES_MAX:
                    continue
            self._position = position.with_offset(index, folded_to)
            return count

    # --- live

    async def _join_at_floor(self) -> tuple[Subscriber, FeedPosition]:
        """Join once the broadcaster has passed what the client had before a resync, so that none of it is repeated."""
        floor, waits_until = self._floor, anyio.current_time() + self._feed.limits.fold_s_max
        while True:
            subscriber, joined = await self._join()
            if floor is None or all(map(ge, joined.offsets, floor.needs_folded)):
                self._floor = None
                return subscriber, joined
            self._leave(subscriber)
            if anyio.current_time() > waits_until:
                raise Unavailable("this process has not folded the log up to the position yet", retry_after_s=1.0)
            await anyio.sleep(FLOOR_POLL_S)

    async def _join(self) -> tuple[Subscriber, FeedPosition]:
        for _ in range(JOIN_ATTEMPTS_MAX):
            subscriber, joined = Subscriber(self._scope, self._feed.limits), None
            try:
                joined = await self._feed.mailbox.address.ask(Join(subscriber), within_s=self._feed.limits.join_s_max)
            except Crashed:
                continue  # the broadcaster restarts
            except TimedOut as error:
                raise Unavailable("the broadcaster does not answer", retry_after_s=1.0) from error
            finally:
                if joined is None:
                    self._leave(subscriber)
            return subscriber, joined
        raise Unavailable("the broadcaster restarts", retry_after_s=1.0)

    def _leave(self, subscriber: Subscriber) -> None:
        if subscriber.live:
            self._feed.mailbox.address.offer(Leave(subscriber))
            subscriber.stop(None)

    async def _follow(self, subscriber: Subscriber) -> None:
        while items := await subscriber.take():
            for item in items:
                if self._ahead:
                    await self._deliver_ahead(item)
                else:
                    await self._deliver(item)
                    self._position = item.position

    async def _deliver_ahead(self, item: FeedItem) -> None:
        """Deliver with its own position what the subscription has not; marks are left out."""
        if self._is_seen(item):
            return
        if not self._ahead:
            own = item
        elif isinstance(item, FeedEvent):
            own = self._with_own_position(item)
        else:
            return
        await self._deliver(own)
        self._position = own.position

    def _is_seen(self, item: FeedItem) -> bool:
        """Whether the subscription has the item already, because it was ahead of the broadcaster when it joined."""
        seen = isinstance(item, FeedEvent) and item.change_id <= self._ahead.get(item.index, NOTHING)
        self._ahead = {index: mine for index, mine in self._ahead.items() if item.position.after(index) < mine}
        return seen

    def _with_own_position(self, event: FeedEvent) -> FeedEvent:
        """While the subscription is ahead in a partition, the broadcaster's position would repeat changes of it."""
        assert self._position is not None
        epoch = self._feed.log_epoch.known
        return FeedEvent(event.index, event.stored, self._position, epoch, complete=event.complete)

    # --- to the client

    async def _mark(self, kind: MarkKind, reason: str) -> None:
        assert self._position is not None
        if kind is MarkKind.RESYNC:
            self._feed.resynced += 1
        if kind is not MarkKind.POSITION:
            await self._deliver(FeedMark(kind, self._position, self._feed.log_epoch.known, reason))

    async def _deliver(self, item: FeedItem) -> None:
        if self._behind_until is not None and anyio.current_time() > self._behind_until:
            raise SlowClient(f"the client did not catch up within {self._feed.limits.behind_s_max:g} s")
        sender = self._sender
        sender.busy = True
        await self._send(item)
        sender.busy = False
        sender.sent += 1

"""The publisher: changes become queue entries. Its position is the queue's, never its own.

It owns partitions by group membership, reads their changes from the store and puts them behind what the
queue has. Every put names the id it follows, so a rival, a zombie or a lost answer is refused; and an
idle publisher keeps asking, so a queue that lost its tail is noticed although nothing new comes. Only
what is delivered or buried is committed: a queue that lost everything starts there, and repeats some
deliveries with their old ids.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import anyio
from msgspec import Struct

from airy import topics
from airy.actors.progress import Progress
from airy.actors.runtime import Context
from airy.actors.webhooks.another_log import AnotherLog, Strange
from airy.actors.webhooks.matching import Matcher
from airy.actors.webhooks.queue import NOTHING, Entry, EntryId, Mark, Shard, Stale, WebhookQueue
from airy.actors.webhooks.subscribers import Subscribers, Webhooks
from airy.bus.api import Bus, Fenced, Subscription
from airy.bus.record import TopicPartition
from airy.errors import Unavailable
from airy.store.api import Published

GROUP = "webhook-publisher"
ROUND_BATCHES = 4  # so many full batches at once, of whatever partitions
TOPICS = topics.TOLD

Forget = Callable[[Mapping[TopicPartition, int]], Awaitable[object]]
Forgotten = Callable[[], Awaitable[Mapping[TopicPartition, int]]]
Rebuild = Callable[[str], None]


class Changes(Webhooks, Protocol):
    """What is asked of a store."""

    async def changes(self, where: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[Published]: ...


class Owned(Struct):
    """A partition that is ours."""

    committed: int  # the next offset, if the queue knows nothing
    after: EntryId | None = None  # the queue's last id; None: ask it
    asked_at: float = 0.0
    drained_to: int | None = None  # folded up to here, and not one change behind `after`


class Batch(Struct):
    """What comes next of a partition."""

    where: TopicPartition
    owned: Owned
    after: EntryId
    changes: Sequence[Published]
    drained_to: int | None  # once it is queued; None: there is more


class Publisher:
    """`forget`, where given, is told what was committed, so that changes nobody needs any more can go.

    `forgotten` says below which offsets changes may be gone. A store that has forgotten more than the group has
    committed (it served while nobody published, or the group was set back) is no source for what is to be queued:
    `rebuild` is asked for, and nothing of the partition is queued until changes are there again.
    """

    def __init__(
        self,
        bus: Bus,
        store: Changes,
        progress: Progress,
        queue: WebhookQueue,
        *,
        forget: Forget | None = None,
        forgotten: Forgotten | None = None,
        rebuild: Rebuild | None = None,
        changes_max: int = 500,
        idle_s: float = 1.0,
        audit_s: float = 2.0,
        commit_s: float = 2.0,
    ) -> None:
        self._bus = bus
        self._store = store
        self._progress = progress
        self._subscribers = Subscribers(bus, store, progress)
        self._queue = queue
        self._forget = forget
        self._forgotten = forgotten
        self._rebuild = rebuild
        self._changes_max = changes_max
        self._idle_s = idle_s
        self._audit_s = audit_s
        self._commit_s = commit_s
        self._another_log = AnotherLog(bus, progress, GROUP, TOPICS)
        self._owned: dict[TopicPartition, Owned] = {}
        self._membership: Subscription | None = None
        self._ctx: Context | None = None
        self._committed_at = 0.0
        self._turn = 0

    async def run(self, ctx: Context) -> None:
        self._ctx = ctx
        async with self._bus.subscribe(TOPICS, group=GROUP, ownership=self) as membership:
            self._membership = membership
            ctx.ready()
            while not ctx.draining.is_set():
                version = self._progress.version
                # rebalances happen here, and only here; when it is unavailable, only a new membership helps: we crash
                await membership.fetch(records_max=0, wait_s=0)
                try:
                    busy = await self._round()
                except Unavailable as error:  # a full queue, too: the log holds what waits
                    ctx.log.warning("publisher.waits", error=str(error))
                    with ctx.waiting():
                        await anyio.sleep(error.retry_after_s or self._idle_s)
                    continue
                ctx.progress()
                if not busy:
                    with ctx.waiting():
                        await self._progress.progressed(version, self._idle_s)
            await self._commit_what_is_ours(list(self._owned))

    # --- membership

    async def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self._another_log.forget(partitions)
        for where, offset in partitions.items():
            self._owned[where] = Owned(offset)

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        going = list(partitions)
        await self._commit_what_is_ours(going)
        for where in going:
            self._owned.pop(where, None)

    async def _commit_what_is_ours(self, partitions: Iterable[TopicPartition]) -> None:
        """As far as possible: what is not committed is read again by the successor."""
        try:
            await self._commit(partitions)
        except Unavailable as error:
            if self._ctx is not None:
                self._ctx.log.info("publisher.left_uncommitted", error=str(error))

    # --- queueing

    async def _round(self) -> bool:
        """One batch of every partition; whether there may be more. One that fails does not keep the others."""
        batches, failures = await self._next_batches()
        if batches:
            try:
                matcher = Matcher(await self._subscribers.current())  # asked after the changes are known: see there
                failures += await self._queue_all(batches, matcher)
            except Unavailable as error:
                failures.append(error)
        if anyio.current_time() >= self._committed_at + self._commit_s:
            self._committed_at = anyio.current_time()
            await self._commit(list(self._owned))
        if failures:
            raise failures[0]
        return self._full(batches) or any(batch.owned.drained_to is None for batch in batches)

    def _full(self, batches: Sequence[Batch]) -> bool:
        return sum(len(each.changes) for each in batches) >= ROUND_BATCHES * self._changes_max

    async def _next_batches(self) -> tuple[list[Batch], list[Unavailable]]:
        """What the store has behind the queue, and what could not be asked. Another partition is first each time."""
        batches: list[Batch] = []
        failures = await self._ask_the_queue()
        self._turn += 1
        turn = self._turn % max(1, len(self._owned))
        names = sorted(self._owned)
        for where in names[turn:] + names[:turn]:
            try:
                batch = await self._next_batch(where, self._owned[where])
            except Unavailable as error:
                failures.append(error)
                continue
            if batch is not None:
                batches.append(batch)
            if self._full(batches):
                break  # the next round begins elsewhere
        return batches, failures

    async def _next_batch(self, where: TopicPartition, owned: Owned) -> Batch | None:
        after = owned.after
        if after is None:
            return None  # the queue did not say
        folded_to = self._progress.positions().get(where, 0)
        if owned.drained_to is not None and folded_to <= owned.drained_to:
            return None  # most partitions, most of the time: nothing to ask the store
        if await self._lacks(where, max(owned.committed, after[0])):
            return None
        changes = await self._store.changes(
            where, after=(owned.committed, -1) if after == NOTHING else after, changes_max=self._changes_max
        )
        if not changes:
            owned.drained_to = folded_to
            return None
        return Batch(where, owned, after, changes, folded_to if len(changes) < self._changes_max else None)

    async def _queue_all(self, batches: Sequence[Batch], matcher: Matcher) -> list[Unavailable]:
        """Side by side: each is a question to the queue, which may be far."""
        failures: list[Unavailable] = []

        async def put(batch: Batch) -> None:
            try:
                await self._put(batch, matcher)
            except Unavailable as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for batch in batches:
                tasks.start_soon(put, batch)
        return failures

    async def _put(self, batch: Batch, matcher: Matcher) -> None:
        owned = batch.owned
        owned.after = owned.drained_to = None  # until we know what became of it
        entries = [_entry(one, matcher) for one in batch.changes]
        try:
            await self._queue.put(Shard(*batch.where), entries, after=batch.after)
        except Stale as stale:
            self._log("publisher.queue_is_elsewhere", batch.where, expected=batch.after, found=stale.last)
        else:
            owned.after, owned.drained_to = entries[-1].id, batch.drained_to

    async def _lacks(self, where: TopicPartition, start: int) -> bool:
        """Whether the store has forgotten changes from `start` on."""
        if self._forgotten is None or self._rebuild is None:
            return False
        below = (await self._forgotten()).get(where, 0)
        if below <= start:
            return False
        self._rebuild(f"changes of {where.topic}/{where.partition} are gone below {below}, and wanted from {start}")
        return True

    async def _ask_the_queue(self) -> list[Unavailable]:
        """Where it is, where that is doubted, in one question; returns why it does not say it of some."""
        now = anyio.current_time()
        doubted = [where for where, owned in self._owned.items() if self._doubted(owned, now)]
        failures: list[Unavailable] = []
        marks = await self._marks(doubted)
        try:
            strange = await self._strange(marks)
        except Unavailable as error:
            return [error]
        except Fenced as error:
            self._fenced(error)
            return []
        for where, mark in marks.items():
            owned = self._owned[where]
            if isinstance(mark, Unavailable):
                failures.append(mark)
                continue
            if where in strange:
                owned.after = owned.drained_to = None
                failures.append(strange[where])
                continue
            if owned.after not in (None, mark.last):
                self._log("publisher.queue_moved", where, expected=owned.after, found=mark.last)
            owned.asked_at = now
            if owned.after != mark.last:
                owned.after, owned.drained_to = mark.last, None
        return failures

    async def _strange(self, marks: Mapping[TopicPartition, Mark | Unavailable]) -> Strange:
        if self._membership is None:
            return {}
        known = {where: mark for where, mark in marks.items() if isinstance(mark, Mark)}
        starts = {where: self._owned[where].committed for where in known}
        return await self._another_log.of(known, starts, self._membership.commit)

    def _doubted(self, owned: Owned, now: float) -> bool:
        """Now and then wherever it is: it may have lost its tail, or all."""
        return owned.after is None or now >= owned.asked_at + self._audit_s

    async def _marks(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Mark | Unavailable]:
        asked = [where for where in sorted(partitions) if where in self._owned]
        if not asked:
            return {}
        try:
            marks = await self._queue.marks([Shard(*where) for where in asked])
        except Unavailable as error:
            return dict.fromkeys(asked, error)
        return dict(zip(asked, marks, strict=True))

    # --- committing

    async def _commit(self, partitions: Iterable[TopicPartition]) -> None:
        """The low-water marks, and nothing above them."""
        offsets: dict[TopicPartition, int] = {}
        for where, mark in (await self._marks(partitions)).items():
            owned = self._owned[where]
            if isinstance(mark, Unavailable) or mark.last != owned.after:
                continue  # it does not say, or has moved since we looked whether it is ours: the next commit asks again
            offset = self._finished(owned, mark)
            if offset > owned.committed:
                offsets[where] = offset
        if not offsets or self._membership is None:
            return
        try:
            await self._membership.commit(offsets)
        except Fenced as error:  # somebody else's by now; `revoked` will say so, and until then acting is harmless
            self._fenced(error)
            return
        for where, offset in offsets.items():
            self._owned[where].committed = offset
        if self._forget is not None:
            await self._forget(offsets)

    def _finished(self, owned: Owned, mark: Mark) -> int:
        """The offset below which everything is delivered, buried, or matters to nobody."""
        nothing_waits = mark.low > mark.last or mark.last == NOTHING
        if nothing_waits and owned.drained_to is not None:
            return max(mark.low[0], owned.drained_to)
        return mark.low[0]

    def _fenced(self, error: Fenced) -> None:
        if self._ctx is not None:
            self._ctx.log.info("publisher.fenced", error=str(error))

    def _log(self, event: str, where: TopicPartition, *, expected: EntryId | None, found: EntryId) -> None:
        if self._ctx is not None:
            self._ctx.log.warning(event, topic=where.topic, partition=where.partition, expected=expected, found=found)


def _entry(published: Published, matcher: Matcher) -> Entry:
    change = published.change
    return Entry(
        id=(published.position.offset, published.nth),
        webhook_ids=matcher.recipients(published),
        lane=change.lane,
        event_id=change.id,
        kind=change.kind.value,
        body=change.body,
        at_ms=change.at_ms,
        position=topics.position_token(published.position),
        trace=published.trace,
    )

"""Tails every folded partition into the store and wakes callers that wait for a position. One per process.

It joins no group: every process with a store folds everything, and group membership only decides which process acts on
what was folded. Stopping it at any await is safe: a batch is one transaction.

A partition with a record that is newer than this process is held at that record: it is not read any further, waits for
it fail, and the process is not ready. The other partitions are folded as before.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import anyio

from airy import topics
from airy.actors.fold_progress import OnRead, OnWork, wait_until_current
from airy.actors.runtime import Context
from airy.bus.api import Bus, Tail
from airy.bus.dead_letter import make_dead_letter
from airy.bus.record import Position, Record, TopicPartition
from airy.bus.record_schema import Hold, PartitionHeld
from airy.bus.topic import Topic
from airy.errors import DiskFull, Unavailable
from airy.recent_times import FoldedBatch, FoldTimes
from airy.store.api import Applied, FoldingStore, WorkKey

DEAD_LETTERS = topics.dead_letters(topics.EVENTS.name)

OUT_OF_RANGE_RETRIES_MAX = 3
OUT_OF_RANGE_RETRY_S = 1.0
DISK_RETRY_S = 1.0


class Projector:
    """The waits may be called from any task of the process, also across restarts of `run`."""

    def __init__(self, bus: Bus, store: FoldingStore, *, records_max: int = 256, idle_s: float = 5.0) -> None:
        self._bus = bus
        self._store = store
        self._records_max = records_max
        self._idle_s = idle_s
        self._next: dict[TopicPartition, int] = {}
        self._held: dict[TopicPartition, Hold] = {}
        self._waiting: dict[TopicPartition, list[tuple[int, int, anyio.Event]]] = {}
        self._ticket = 0
        self._version = 0
        self._advanced = anyio.Event()
        self._catch_up_to: dict[TopicPartition, int] = {}
        self.facts = 0  # accepted since the process started, for metrics
        self.unprocessable = 0  # records that could not be folded
        self._on_work: list[OnWork] = []
        self._touched: frozenset[WorkKey] = frozenset()  # by batches folded since the last `_notify`
        self._on_read: list[OnRead] = []
        self._read: tuple[str, ...] = ()  # conversations, by batches folded since the last `_notify`
        self._rebuild_reason = ""  # why the store has to be folded again from empty
        self.delayed = ""  # why folding waits; empty: it does not
        self.times = FoldTimes()

    @property
    def version(self) -> int:
        """Grows with every batch folded."""
        return self._version

    @property
    def caught_up(self) -> bool:
        """Whether everything the log held when `run` started is folded, except in held partitions."""
        return bool(self._next) and not self._catch_up_to

    @property
    def held(self) -> Mapping[TopicPartition, Hold]:
        """Partitions that are not folded any further. A live view."""
        return MappingProxyType(self._held)

    def positions(self) -> Mapping[TopicPartition, int]:
        """Per partition, the next offset to fold. A live view."""
        return MappingProxyType(self._next)

    async def run(self, ctx: Context) -> None:
        if self._rebuild_reason:
            ctx.log.warning("store.rebuilt", reason=self._rebuild_reason)
            await self._wipe()
            self._rebuild_reason = ""
        await self._store.recover()
        starts, ends, out_of_range = await self._log_ranges()
        for _ in range(OUT_OF_RANGE_RETRIES_MAX):
            if not out_of_range:
                break
            with ctx.waiting():  # a new partition leader may briefly report an older end offset
                await anyio.sleep(OUT_OF_RANGE_RETRY_S)
            starts, ends, out_of_range = await self._log_ranges()
        folded = await self._store.positions()
        if out_of_range:  # another log, or one that lost records: the store cannot continue
            ctx.log.error(
                "store.rebuilt",
                partition=f"{out_of_range[0].topic}/{out_of_range[0].partition}",
                store=folded[out_of_range[0]],
            )
            await self._wipe()
            folded = {}
        start_offsets = {tp: folded.get(tp, start) for tp, start in starts.items()}
        async with self._bus.tail(start_offsets) as tail:
            await self._check_log_identity(ctx, tail, starts)
            tail.pause(self._held)
            self._next = start_offsets
            self._catch_up_to = {tp: end for tp, end in ends.items() if start_offsets[tp] < end}
            self._notify(start_offsets)  # callers may wait for a position the store already holds
            if not self._is_catching_up():
                ctx.ready()
            while not self._rebuild_reason:
                records = await tail.fetch(records_max=self._records_max, wait_s=self._idle_s)
                if records:
                    await self._fold_batch(ctx, tail, records)
                if self._catch_up_to and not self._is_catching_up():
                    ctx.ready()
                self._check_store()
                ctx.progress()
        raise Unavailable(f"the store is rebuilt: {self._rebuild_reason}")

    def _check_store(self) -> None:
        if self._store.damaged:
            raise Unavailable("the store is damaged and is rebuilt from the log")

    def rebuild(self, reason: str) -> None:
        """Make `run` restart with an empty store: what it lacks can only be had by folding the log again."""
        self._rebuild_reason = reason

    async def _log_ranges(self) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int], list[TopicPartition]]:
        """Beginning and end offsets, and the partitions in which the store's position is outside of them."""
        starts, ends = await self._bus.beginning_offsets(topics.FOLDED), await self._bus.end_offsets(topics.FOLDED)
        folded = await self._store.positions()
        return starts, ends, [tp for tp, at in folded.items() if not starts[tp] <= at <= ends[tp]]

    async def _check_log_identity(self, ctx: Context, tail: Tail, starts: Mapping[TopicPartition, int]) -> None:
        """Compare the last folded record with the log, if retention has kept it, before anything else is folded.

        A log that is long enough may still be another one, for example of a recreated cluster. Then the store is
        rebuilt: raises `Unavailable`.
        """
        mark = await self._store.last_applied()
        if mark is None or mark.position.offset < starts[mark.position.topic_partition]:
            return
        tp = mark.position.topic_partition
        others = [each for each in starts if each != tp]
        tail.pause(others)
        tail.seek(tp, mark.position.offset)
        found: Sequence[Record] = ()
        while not found:
            found = await tail.fetch(records_max=1, wait_s=self._idle_s)
            ctx.progress()
        if (found[0].position, found[0].fingerprint) != (mark.position, mark.fingerprint):
            self.rebuild(
                f"{'/'.join(map(str, mark.position))} differs from the record that was folded: this is another log"
            )
            raise Unavailable(f"the store is rebuilt: {self._rebuild_reason}")
        tail.resume(others)

    async def _wipe(self) -> None:
        self._held.clear()
        await self._store.wipe()

    async def _fold_batch(self, ctx: Context, tail: Tail, records: Sequence[Record]) -> None:
        fetched_ms = ctx.clock.now_ms()
        before = {tp: self._next[tp] for tp in {record.topic_partition for record in records}}
        self._hold(ctx, tail, await self._fold(ctx, records))
        for tp in self._next.keys() - self._held.keys():
            self._next[tp] = max(self._next[tp], tail.position(tp))
        ranges = {tp: (first, self._next[tp]) for tp, first in before.items()}
        self.times.add(FoldedBatch(len(records), ranges, fetched_ms, ctx.clock.now_ms()))
        self._notify(before)

    async def _fold(self, ctx: Context, records: Sequence[Record]) -> Mapping[TopicPartition, Hold]:
        """Returns the partitions that are held now."""
        applied = await self._apply(ctx, records)
        self.facts += applied.facts
        self.unprocessable += len(applied.unprocessable)
        self._touched |= applied.touched
        if self.caught_up:
            self._read += applied.read
        if applied.unprocessable:
            await self._bus.publish(
                [make_dead_letter(DEAD_LETTERS, record, reason, 1) for record, reason in applied.unprocessable]
            )
        return applied.held

    async def _apply(self, ctx: Context, records: Sequence[Record]) -> Applied:
        """Waits for space on the disk: a crash would restart the actors that start after the fold, the server too."""
        while True:
            try:
                applied = await self._store.apply(records)
            except DiskFull as error:
                ctx.log.warning("store.disk_full", error=str(error))
                self.delayed = str(error)
                with ctx.waiting():
                    await anyio.sleep(DISK_RETRY_S)
            else:
                self.delayed = ""
                return applied

    def _hold(self, ctx: Context, tail: Tail, held: Mapping[TopicPartition, Hold]) -> None:
        """Stop reading partitions that are held; what is below the record they are held at is folded."""
        for tp, hold in held.items():
            if tp not in self._held:
                ctx.log.error("partition.held", reason=hold.reason)
            self._held[tp], self._next[tp] = hold, hold.position.offset
        tail.pause(held)

    @contextmanager
    def watching_work(self, on_work: OnWork) -> Iterator[None]:
        self._on_work.append(on_work)
        try:
            yield
        finally:
            self._on_work.remove(on_work)

    @contextmanager
    def watching_reads(self, on_read: OnRead) -> Iterator[None]:
        self._on_read.append(on_read)
        try:
            yield
        finally:
            self._on_read.remove(on_read)

    def _is_catching_up(self) -> bool:
        self._catch_up_to = {
            tp: end for tp, end in self._catch_up_to.items() if self._next[tp] < end and tp not in self._held
        }
        return bool(self._catch_up_to)

    def _notify(self, advanced: Iterable[TopicPartition]) -> None:
        for tp in advanced:
            waiting = self._waiting.get(tp)
            while waiting and (waiting[0][0] < self._next[tp] or tp in self._held):
                heapq.heappop(waiting)[2].set()
        self._version += 1
        self._advanced.set()
        self._advanced = anyio.Event()
        touched, self._touched = self._touched, frozenset()
        if touched:
            for on_work in self._on_work:
                on_work(touched)
        read, self._read = self._read, ()
        if read:
            for on_read in self._on_read:
                on_read(read)

    async def wait_for_position(self, position: Position, within_s: float) -> bool:
        """Whether the store has folded the record at `position`, waiting up to `within_s`. Raises `PartitionHeld`."""
        tp = position.topic_partition
        if self._next.get(tp, 0) > position.offset:
            return True
        if tp in self._held:
            raise PartitionHeld(self._held[tp])
        event = anyio.Event()
        self._ticket += 1
        entry = (position.offset, self._ticket, event)
        heapq.heappush(self._waiting.setdefault(tp, []), entry)
        with anyio.move_on_after(within_s):
            await event.wait()
        if not event.is_set():
            self._waiting[tp] = [other for other in self._waiting[tp] if other is not entry]
            heapq.heapify(self._waiting[tp])
        if tp in self._held and self._next[tp] <= position.offset:
            raise PartitionHeld(self._held[tp])
        return event.is_set()

    async def wait_until_current(
        self, topics_: Sequence[Topic[Any]], within_s: float, *, partition: int | None = None
    ) -> bool:
        """See `fold_progress.wait_until_current`."""
        return await wait_until_current(self._bus, self, topics_, within_s, partition=partition)

    async def wait_for_progress(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or the current one after `within_s`."""
        if self._version <= since:
            with anyio.move_on_after(within_s):
                await self._advanced.wait()
        return self._version

"""Tails every folded partition into the store and wakes callers that wait for a position. One per process.

It joins no group: every process with a store folds everything, and group membership only decides which process acts on
what was folded. Stopping it at any await is safe: a batch is one transaction.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import anyio

from airy import topics
from airy.actors.fold_progress import wait_until_current
from airy.actors.runtime import Context
from airy.bus.api import Bus, Tail
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.store.api import Store

OUT_OF_RANGE_RETRIES_MAX = 3
OUT_OF_RANGE_RETRY_S = 1.0


class Projector:
    """The waits may be called from any task of the process, also across restarts of `run`."""

    def __init__(self, bus: Bus, store: Store, *, records_max: int = 256, idle_s: float = 5.0) -> None:
        self._bus = bus
        self._store = store
        self._records_max = records_max
        self._idle_s = idle_s
        self._next: dict[TopicPartition, int] = {}
        self._waiting: dict[TopicPartition, list[tuple[int, int, anyio.Event]]] = {}
        self._ticket = 0
        self._version = 0
        self._advanced = anyio.Event()
        self._catch_up_to: dict[TopicPartition, int] = {}
        self.facts = 0  # accepted since the process started, for metrics
        self.unprocessable = 0  # records that could not be folded
        self._rebuild_reason = ""  # why the store has to be folded again from empty

    @property
    def version(self) -> int:
        """Grows with every batch folded."""
        return self._version

    @property
    def caught_up(self) -> bool:
        """Whether everything the log held when `run` started is folded."""
        return bool(self._next) and not self._catch_up_to

    def positions(self) -> Mapping[TopicPartition, int]:
        """Per partition, the next offset to fold. A live view."""
        return MappingProxyType(self._next)

    async def run(self, ctx: Context) -> None:
        if self._rebuild_reason:
            ctx.log.warning("store.rebuilt", reason=self._rebuild_reason)
            await self._store.wipe()
            self._rebuild_reason = ""
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
            await self._store.wipe()
            folded = {}
        start_offsets = {tp: folded.get(tp, start) for tp, start in starts.items()}
        async with self._bus.tail(start_offsets) as tail:
            await self._check_log_identity(ctx, tail, starts)
            self._next = start_offsets
            self._catch_up_to = {tp: end for tp, end in ends.items() if start_offsets[tp] < end}
            self._notify(start_offsets)  # callers may wait for a position the store already holds
            if not self._catch_up_to:
                ctx.ready()
            while not self._rebuild_reason:
                records = await tail.fetch(records_max=self._records_max, wait_s=self._idle_s)
                if records:
                    await self._fold(records)
                    for tp in self._next:
                        self._next[tp] = max(self._next[tp], tail.position(tp))
                    self._notify({record.topic_partition for record in records})
                if self._catch_up_to and not self._is_catching_up():
                    ctx.ready()
                ctx.progress()
        raise Unavailable(f"the store is rebuilt: {self._rebuild_reason}")

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

    async def _fold(self, records: Sequence[Record]) -> None:
        applied = await self._store.apply(records)
        self.facts += applied.facts
        self.unprocessable += len(applied.unprocessable)
        if applied.unprocessable:
            await self._bus.publish([_dead_letter(record, reason) for record, reason in applied.unprocessable])

    def _is_catching_up(self) -> bool:
        self._catch_up_to = {tp: end for tp, end in self._catch_up_to.items() if self._next[tp] < end}
        return bool(self._catch_up_to)

    def _notify(self, advanced: Iterable[TopicPartition]) -> None:
        for tp in advanced:
            waiting = self._waiting.get(tp)
            while waiting and waiting[0][0] < self._next[tp]:
                heapq.heappop(waiting)[2].set()
        self._version += 1
        self._advanced.set()
        self._advanced = anyio.Event()

    async def wait_for_position(self, position: Position, within_s: float) -> bool:
        """Whether the store has folded the record at `position`, waiting up to `within_s`."""
        tp = position.topic_partition
        if self._next.get(tp, 0) > position.offset:
            return True
        event = anyio.Event()
        self._ticket += 1
        entry = (position.offset, self._ticket, event)
        heapq.heappush(self._waiting.setdefault(tp, []), entry)
        with anyio.move_on_after(within_s):
            await event.wait()
        if not event.is_set():
            self._waiting[tp] = [other for other in self._waiting[tp] if other is not entry]
            heapq.heapify(self._waiting[tp])
        return event.is_set()

    async def wait_until_current(self, topics_: Sequence[Topic[Any]], within_s: float) -> bool:
        """See `fold_progress.wait_until_current`."""
        return await wait_until_current(self._bus, self, topics_, within_s)

    async def wait_for_progress(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or the current one after `within_s`."""
        if self._version <= since:
            with anyio.move_on_after(within_s):
                await self._advanced.wait()
        return self._version


def _dead_letter(record: Record, reason: str) -> ProducerRecord:
    headers = (
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("reason", reason.encode()[:1024]),
        ("attempts", b"1"),
    )
    topic = topics.dead_letters(topics.EVENTS.name)
    return topic.record(record.key.decode("utf-8", "replace"), record.value or b"", headers=headers)

"""The follower: the one fold of a process. It tails every folded partition into the store and tells who waits.

It is not a member of any group: every process with a store folds everything, and group membership only decides who
acts on what was folded. Stopping it at any await is safe: a batch is one transaction.
"""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import anyio

from airy import topics
from airy.actors.progress import current
from airy.actors.runtime import Context
from airy.bus.api import Bus, Tail
from airy.bus.record import Emit, Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.store.api import Store

ASTRAY_LOOKS = 3
ASTRAY_PAUSE_S = 1.0


class Follower:
    """`reached` and `progressed` may be called by anyone in the process, also across restarts of `run`."""

    def __init__(self, bus: Bus, store: Store, *, records_max: int = 256, idle_s: float = 5.0) -> None:
        self._bus = bus
        self._store = store
        self._records_max = records_max
        self._idle_s = idle_s
        self._next: dict[TopicPartition, int] = {}
        self._waiters: dict[TopicPartition, list[tuple[int, int, anyio.Event]]] = {}
        self._ticket = 0
        self._version = 0
        self._advanced = anyio.Event()
        self._behind: dict[TopicPartition, int] = {}
        self.facts = 0  # accepted since start, for metrics
        self.bad = 0  # records that could not be folded
        self._rebuild = ""  # why everything is to be folded again

    @property
    def version(self) -> int:
        """Grows with every batch folded."""
        return self._version

    @property
    def caught_up(self) -> bool:
        """Everything that was in the log when this run started is folded."""
        return bool(self._next) and not self._behind

    def positions(self) -> Mapping[TopicPartition, int]:
        """Per partition, the next offset to fold: a live view."""
        return MappingProxyType(self._next)

    async def run(self, ctx: Context) -> None:
        if self._rebuild:
            ctx.log.warning("store.rebuilt", reason=self._rebuild)
            await self._store.wipe()
            self._rebuild = ""
        starts, ends, astray = await self._compared()
        for _ in range(ASTRAY_LOOKS):
            if not astray:
                break
            with ctx.waiting():  # a new leader of a partition may for a moment know less than the old one has told
                await anyio.sleep(ASTRAY_PAUSE_S)
            starts, ends, astray = await self._compared()
        done = await self._store.positions()
        if astray:  # of another log, or of one that lost records: nothing to go on from
            ctx.log.error("store.rebuilt", partition=f"{astray[0].topic}/{astray[0].partition}", store=done[astray[0]])
            await self._store.wipe()
            done = {}
        begin = {where: done.get(where, start) for where, start in starts.items()}
        async with self._bus.tail(begin) as tail:
            await self._recognise(ctx, tail, starts)
            self._next = begin
            self._behind = {where: end for where, end in ends.items() if begin[where] < end}
            self._announce(begin)  # whoever waits may wait for what the store holds already
            if not self._behind:
                ctx.ready()
            while not self._rebuild:
                records = await tail.fetch(records_max=self._records_max, wait_s=self._idle_s)
                if records:
                    await self._fold(records)
                    for where in self._next:
                        self._next[where] = max(self._next[where], tail.position(where))
                    self._announce({record.where for record in records})
                if self._behind and not self._still_behind():
                    ctx.ready()
                ctx.progress()
        raise Unavailable(f"the store is built again: {self._rebuild}")

    def rebuild(self, reason: str) -> None:
        """Start over with an empty store, soon: it lacks what cannot be had but by folding the log again."""
        self._rebuild = reason

    async def _compared(self) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int], list[TopicPartition]]:
        """Where the log starts and ends, and the partitions in which the store is outside of it."""
        starts, ends = await self._bus.starts(topics.FOLDED), await self._bus.ends(topics.FOLDED)
        done = await self._store.positions()
        return starts, ends, [where for where, at in done.items() if not starts[where] <= at <= ends[where]]

    async def _recognise(self, ctx: Context, tail: Tail, starts: Mapping[TopicPartition, int]) -> None:
        """Read the last fact that was folded once more, if the log still goes back to it, before anything else. A log
        that is long enough may be another one, as after a cluster was made anew. Raises `Unavailable`, and starts over.
        """
        mark = await self._store.landmark()
        if mark is None or mark.position.offset < starts[mark.position.where]:
            return
        where = mark.position.where
        others = [each for each in starts if each != where]
        tail.pause(others)
        tail.seek(where, mark.position.offset)
        found: Sequence[Record] = ()
        while not found:
            found = await tail.fetch(records_max=1, wait_s=self._idle_s)
            ctx.progress()
        if (found[0].position, found[0].fingerprint) != (mark.position, mark.fingerprint):
            self.rebuild(f"{'/'.join(map(str, mark.position))} is not what was folded: this is another log")
            raise Unavailable(f"the store is built again: {self._rebuild}")
        tail.resume(others)

    async def _fold(self, records: Sequence[Record]) -> None:
        applied = await self._store.apply(records)
        self.facts += applied.facts
        self.bad += len(applied.bad)
        if applied.bad:
            await self._bus.publish([_dead_letter(record, reason) for record, reason in applied.bad])

    def _still_behind(self) -> bool:
        self._behind = {where: end for where, end in self._behind.items() if self._next[where] < end}
        return bool(self._behind)

    def _announce(self, advanced: Iterable[TopicPartition]) -> None:
        for where in advanced:
            waiting = self._waiters.get(where)
            while waiting and waiting[0][0] < self._next[where]:
                heapq.heappop(waiting)[2].set()
        self._version += 1
        self._advanced.set()
        self._advanced = anyio.Event()

    async def reached(self, position: Position, within_s: float) -> bool:
        """Whether the store holds the effect of the record at `position`, waiting up to `within_s` for it."""
        where = position.where
        if self._next.get(where, 0) > position.offset:
            return True
        event = anyio.Event()
        self._ticket += 1
        entry = (position.offset, self._ticket, event)
        heapq.heappush(self._waiters.setdefault(where, []), entry)
        with anyio.move_on_after(within_s):
            await event.wait()
        if not event.is_set():
            self._waiters[where] = [other for other in self._waiters[where] if other is not entry]
            heapq.heapify(self._waiters[where])
        return event.is_set()

    async def current(self, topics_: Sequence[Topic[Any]], within_s: float) -> bool:
        """Whether the store holds what was in these topics when this was asked. Raises `Unavailable` for a log that
        cannot say where it ends.
        """
        return await current(self._bus, self, topics_, within_s)

    async def progressed(self, since: int, within_s: float) -> int:
        """The version once it is above `since`, or after `within_s` whatever it is then."""
        if self._version <= since:
            with anyio.move_on_after(within_s):
                await self._advanced.wait()
        return self._version


def _dead_letter(record: Record, reason: str) -> Emit:
    headers = (
        ("topic", record.topic.encode()),
        ("partition", b"%d" % record.partition),
        ("offset", b"%d" % record.offset),
        ("reason", reason.encode()[:1024]),
        ("attempts", b"1"),
    )
    topic = topics.dead_letters(topics.EVENTS.name)
    return topic.emit(record.key.decode("utf-8", "replace"), record.value or b"", headers=headers)

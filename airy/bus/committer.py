"""Group commit: all publishes that wait become one transaction, written in one thread beside the event loop.

Offsets are handed out here, in the order in which publishes came, so the order of the log is the order of the
schedule. Records become readable only once the disk has them: nobody acts on what a power cut could take back.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import anyio

from airy.bus.api import Pulse
from airy.bus.draft import Draft, weigh
from airy.bus.group import Group
from airy.bus.journal import Batch, Journal, Mark
from airy.bus.log import Log
from airy.bus.record import Emit, Position, Record, TopicPartition
from airy.bus.worker import Worker
from airy.clock import Clock
from airy.errors import Unavailable

GROUP_BYTES_MAX: Final = 8_388_608
BATCH_RECORDS_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 1_048_576
WAL_PAGES_MAX: Final = 8_192


class _Write:
    """A publish, or a commit of offsets, on its way to the disk."""

    __slots__ = ("done", "emits", "error", "group", "offsets", "positions", "weight")

    def __init__(
        self,
        emits: Sequence[Emit],
        weight: int,
        *,
        group: Group | None = None,
        offsets: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        self.emits = emits
        self.weight = weight
        self.group = group
        self.offsets = dict(offsets or {})
        self.positions: Sequence[Position] = ()
        self.error: Unavailable | None = None
        self.done = anyio.Event()


class Committer:
    def __init__(
        self,
        journal: Journal,
        logs: Mapping[str, Log],
        *,
        clock: Clock,
        writer: Worker,
        enter: Callable[[Draft], None],
        records_max: int,
        bytes_max: int,
        record_bytes_max: int,
    ) -> None:
        self._journal = journal
        self._logs = logs
        self._clock = clock
        self._writer = writer
        self._enter = enter  # what makes a draft readable
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._record_bytes_max = record_bytes_max
        self._records = 0  # in flight
        self._bytes = 0
        self._waiting: deque[_Write] = deque()
        self._entrance = anyio.Lock(fast_acquire=True)  # first come, first served
        self._room = anyio.Event()
        self._news = anyio.Event()
        self._draining = False
        self._closed: str | None = None
        self.wal_full = anyio.Event()

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        """Waits for room, then for the disk."""
        size = weigh(emits, self._logs, record_bytes_max=self._record_bytes_max)
        return (await self._write(_Write(emits, size))).positions

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        await self._write(_Write((), 0, group=group, offsets=offsets))

    async def run(self, pulse: Pulse) -> None:
        """Until draining, and then until nothing waits."""
        self._draining = False
        self._closed = None
        while self._waiting or not self._draining:
            if self._waiting:
                await self._write_group()
                pulse.progress()
            else:
                self._news = anyio.Event()
                with pulse.waiting():
                    await self._news.wait()
        self._closed = "the bus has drained"

    def drain(self) -> None:
        self._draining = True
        self._news.set()

    # --- how it works

    async def _write(self, write: _Write) -> _Write:
        async with self._entrance:
            while not self._fits(write):
                self._room = anyio.Event()
                await self._room.wait()
            if self._closed is not None:
                raise Unavailable(f"{self._closed}: nothing is written any more")
            self._records += len(write.emits)
            self._bytes += write.weight
            self._waiting.append(write)
            self._news.set()
        await write.done.wait()
        if write.error is not None:
            raise write.error
        return write

    def _fits(self, write: _Write) -> bool:
        """Whatever is alone fits, or it would wait for ever."""
        if not self._records:
            return True
        return self._records + len(write.emits) <= self._records_max and self._bytes + write.weight <= self._bytes_max

    async def _write_group(self) -> None:
        group = list(self._take_group())
        try:
            with anyio.CancelScope(shield=True):  # offsets are taken: what is begun is finished
                await self._store(group)
        except Unavailable as error:
            self._fail(group, error)
        except BaseException as error:
            self._fail((*group, *self._waiting), error)
            self._waiting.clear()
            self._closed = f"the bus has failed ({error})"
            raise
        finally:
            self._records -= sum(len(write.emits) for write in group)
            self._bytes -= sum(write.weight for write in group)
            self._room.set()

    def _fail(self, group: Sequence[_Write], error: BaseException) -> None:
        for write in group:
            write.error = Unavailable(f"these records may or may not be in the log ({error}): publish them again")
            write.done.set()

    def _take_group(self) -> Iterator[_Write]:
        taken = 0
        while self._waiting and taken < GROUP_BYTES_MAX:
            write = self._waiting.popleft()
            taken += write.weight
            yield write

    async def _store(self, group: Sequence[_Write]) -> None:
        draft = Draft(self._logs, now_ms=self._clock.now_ms(), record_bytes_max=self._record_bytes_max)
        for write in group:
            write.positions = draft.add(write.emits)
        batches = [(topic, batch) for topic, records in draft.records.items() for batch in pack(records)]
        marks = {
            (write.group.name, where): Mark(write.group.name, where, offset)
            for write in group
            if write.group is not None
            for where, offset in write.offsets.items()
        }
        await self._writer(self._journal.append, batches, list(marks.values()))
        self._enter(draft)
        for write in group:
            if write.group is not None:
                write.group.committed.update(write.offsets)
            write.done.set()
        if self._journal.wal_pages >= WAL_PAGES_MAX:
            self.wal_full.set()


def pack(records: Sequence[Record]) -> Iterator[Batch]:
    """Records of one topic as batches of a bounded size, so that reading a little never means reading a lot."""
    begin = size = 0
    for index, record in enumerate(records):
        if index > begin and (size >= BATCH_BYTES_MAX or index - begin >= BATCH_RECORDS_MAX):
            yield _batch(records[begin:index])
            begin, size = index, 0
        size += len(record.value or b"")
    yield _batch(records[begin:])


def _batch(records: Sequence[Record]) -> Batch:
    first = records[0].offset
    rows = [(r.offset - first, r.partition, r.key, r.value, r.headers, r.timestamp_ms) for r in records]
    return Batch(first, records[-1].offset, max(row[5] for row in rows), rows)

"""Group commit: all waiting publishes become one transaction, written by one thread beside the event loop.

Offsets are assigned here, in the order in which publishes arrive. Records become readable only once they are on disk,
so no reader acts on a record that a power cut could remove.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import anyio

from airy.bus.memory.group import Group
from airy.bus.memory.journal import CommittedOffset, Journal, RecordBatch
from airy.bus.memory.log import Log
from airy.bus.memory.pending_append import PendingAppend, total_size
from airy.bus.memory.settings import MemoryLimits
from airy.bus.memory.thread_worker import ThreadWorker
from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.clock import Clock
from airy.errors import DiskFull, Unavailable
from airy.lifecycle import Lifecycle

GROUP_BYTES_MAX: Final = 8_388_608
BATCH_RECORDS_MAX: Final = 1_000
BATCH_BYTES_MAX: Final = 1_048_576
WAL_PAGES_MAX: Final = 8_192


class _QueuedWrite:
    """A publish or an offset commit that waits for the disk."""

    __slots__ = ("done", "error", "group", "offsets", "positions", "records", "size")

    def __init__(
        self,
        records: Sequence[ProducerRecord],
        size: int,
        *,
        group: Group | None = None,
        offsets: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        self.records = records
        self.size = size
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
        writer: ThreadWorker,
        on_durable: Callable[[PendingAppend], None],
        limits: MemoryLimits,
    ) -> None:
        self._journal = journal
        self._logs = logs
        self._clock = clock
        self._writer = writer
        self._on_durable = on_durable  # makes a pending append readable
        self._limits = limits
        self._records_in_flight = 0
        self._bytes_in_flight = 0
        self._queue: deque[_QueuedWrite] = deque()
        self._admission = anyio.Lock(fast_acquire=True)  # first in, first out
        self._capacity_freed = anyio.Event()
        self._queued = anyio.Event()
        self._draining = False
        self._closed: str | None = None
        self.wal_full = anyio.Event()

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        """Waits for capacity, then for the disk."""
        size = total_size(records, self._logs, record_bytes_max=self._limits.record_bytes_max)
        return (await self._write(_QueuedWrite(records, size))).positions

    async def commit(self, group: Group, offsets: Mapping[TopicPartition, int]) -> None:
        await self._write(_QueuedWrite((), 0, group=group, offsets=offsets))

    async def run(self, lifecycle: Lifecycle) -> None:
        """Runs until draining, then until the queue is empty."""
        self._draining = False
        self._closed = None
        while self._queue or not self._draining:
            if self._queue:
                await self._write_group()
                lifecycle.progress()
            else:
                self._queued = anyio.Event()
                with lifecycle.waiting():
                    await self._queued.wait()
        self._closed = "the bus has drained"

    def drain(self) -> None:
        self._draining = True
        self._queued.set()

    # --- implementation

    async def _write(self, write: _QueuedWrite) -> _QueuedWrite:
        async with self._admission:
            while not self._fits(write):
                self._capacity_freed = anyio.Event()
                await self._capacity_freed.wait()
            if self._closed is not None:
                raise Unavailable(f"{self._closed}: nothing is written any more")
            self._records_in_flight += len(write.records)
            self._bytes_in_flight += write.size
            self._queue.append(write)
            self._queued.set()
        await write.done.wait()
        if write.error is not None:
            raise write.error
        return write

    def _fits(self, write: _QueuedWrite) -> bool:
        """A write larger than the limits fits when it is alone, or it would wait for ever."""
        if not self._records_in_flight:
            return True
        limits = self._limits
        return (
            self._records_in_flight + len(write.records) <= limits.publish_records_max
            and self._bytes_in_flight + write.size <= limits.publish_bytes_max
        )

    async def _write_group(self) -> None:
        group = list(self._take_group())
        try:
            with anyio.CancelScope(shield=True):  # offsets are assigned: the write must complete
                await self._store(group)
        except Unavailable as error:
            self._fail(group, error)
        except BaseException as error:
            self._fail((*group, *self._queue), error)
            self._queue.clear()
            self._closed = f"the bus has failed ({error})"
            raise
        finally:
            self._records_in_flight -= sum(len(write.records) for write in group)
            self._bytes_in_flight -= sum(write.size for write in group)
            self._capacity_freed.set()

    def _fail(self, group: Sequence[_QueuedWrite], error: BaseException) -> None:
        unknown = Unavailable(f"these records may or may not be in the log ({error}): publish them again")
        for write in group:
            write.error = error if isinstance(error, DiskFull) else unknown
            write.done.set()

    def _take_group(self) -> Iterator[_QueuedWrite]:
        taken = 0
        while self._queue and taken < GROUP_BYTES_MAX:
            write = self._queue.popleft()
            taken += write.size
            yield write

    async def _store(self, group: Sequence[_QueuedWrite]) -> None:
        pending = PendingAppend(self._logs, now_ms=self._clock.now_ms(), record_bytes_max=self._limits.record_bytes_max)
        for write in group:
            write.positions = pending.add(write.records)
        batches = [(topic, batch) for topic, records in pending.records.items() for batch in batches_of(records)]
        commits = {
            (write.group.name, tp): CommittedOffset(write.group.name, tp, offset)
            for write in group
            if write.group is not None
            for tp, offset in write.offsets.items()
        }
        await self._writer(self._journal.append, batches, list(commits.values()))
        self._on_durable(pending)
        for write in group:
            if write.group is not None:
                write.group.committed.update(write.offsets)
            write.done.set()
        if self._journal.wal_pages >= WAL_PAGES_MAX:
            self.wal_full.set()


def batches_of(records: Sequence[Record]) -> Iterator[RecordBatch]:
    """Records of one topic in batches of bounded size, so that a small read never loads a large row."""
    begin = size = 0
    for index, record in enumerate(records):
        if index > begin and (size >= BATCH_BYTES_MAX or index - begin >= BATCH_RECORDS_MAX):
            yield _batch(records[begin:index])
            begin, size = index, 0
        size += len(record.value or b"")
    yield _batch(records[begin:])


def _batch(records: Sequence[Record]) -> RecordBatch:
    first = records[0].offset
    rows = [(r.offset - first, r.partition, r.key, r.value, r.headers, r.timestamp_ms) for r in records]
    return RecordBatch(first, records[-1].offset, max(row[5] for row in rows), rows)

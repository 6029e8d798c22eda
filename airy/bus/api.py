"""The bus: a partitioned log that knows nothing about messages. Protocols, with the promises every backend keeps.

B-1  Records of one partition are read in the order they were written; a key always lands in the same partition.
B-2  Offsets grow; gaps are normal. A committed offset is the next one to read, an end offset the next to be written.
B-3  `publish` returns only when all its records are durable, in the order given per partition. When it raises, each
     record may or may not be in the log: publishing again with the same ids must be harmless.
B-4  Within a group a partition has one owner at a time; after a crash its successor reads from the committed offset.
B-5  A member that lost its partitions cannot commit them: `Fenced`.
B-6  On a rebalance, `on_revoked` of the old owner has returned (or its time limit has passed) before `on_assigned` of
     the new owner is called.
B-7  Fetches are bounded in records and bytes; in-flight publishes are bounded: beyond that `publish` waits.
B-8  Compaction keeps at least the latest record of each key; a tombstone deletes its key.
B-9  `seek`, `pause` and `resume` apply to the very next fetch. Reading outside the log raises `OffsetOutOfRange`.
B-10 A tail has no group: it reads given partitions from given offsets and commits nothing.
B-11 A time has an offset in each partition, from which reading misses no record that is as new.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from airy.bus.record import Position, ProducerRecord, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import AiryError, Refused
from airy.lifecycle import Lifecycle


class Fenced(AiryError):
    """A member tried to commit a partition it no longer owns. It must stop acting on that partition."""


class OffsetOutOfRange(AiryError):
    """The log does not hold the requested offset. Never skipped silently: rebuild, or seek on purpose."""


class RecordTooLarge(Refused):
    """A record exceeds the backend's limit. Nothing of the batch was written."""


class Reader(Protocol):
    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        """The records available now, within both limits. Waits up to `wait_s` for the first, then returns []."""
        ...

    def seek(self, tp: TopicPartition, offset: int) -> None: ...
    def pause(self, partitions: Iterable[TopicPartition]) -> None: ...
    def resume(self, partitions: Iterable[TopicPartition]) -> None: ...
    def position(self, tp: TopicPartition) -> int:
        """The next offset `fetch` returns from this partition. Raises `LookupError` for one that is not read."""
        ...


class Tail(Reader, Protocol):
    """A reader of given partitions with its own offsets and no group."""


class RebalanceListener(Protocol):
    """Called about rebalances from inside `fetch`, one call at a time. Must not raise."""

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """The member owns these now. Values are committed offsets, or the beginning of the log without one."""
        ...

    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """The member is about to lose these: finish or drop work in progress, and commit what is finished."""
        ...


class NoRebalanceListener:
    """The listener of a subscription that was given none."""

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None: ...
    async def on_revoked(self, partitions: Iterable[TopicPartition]) -> None: ...


class Subscription(Reader, Protocol):
    """Membership of a group. `fetch` with `records_max=0` only keeps the membership alive and reads nothing."""

    @property
    def assignment(self) -> frozenset[TopicPartition]: ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """The next offset to read, per partition. Raises `Fenced`, `Unavailable`."""
        ...


class Bus(Protocol):
    async def run(self, lifecycle: Lifecycle) -> None:
        """Serve until draining. Calls of the other methods wait until the backend is ready."""
        ...

    async def publish(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        """B-3. One position per record, in the order given. Raises `Unavailable`, `RecordTooLarge`."""
        ...

    def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        listener: RebalanceListener | None = None,
    ) -> AbstractAsyncContextManager[Subscription]: ...

    def tail(self, start: Mapping[TopicPartition, int]) -> AbstractAsyncContextManager[Tail]: ...

    async def beginning_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        """The first offset each partition still holds."""
        ...

    async def end_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        """The next offset to be written in each partition."""
        ...

    async def offsets_at(self, topics: Sequence[Topic[Any]], at_ms: int) -> dict[TopicPartition, int]:
        """B-11. Where each partition continues with the records of this time: reading from there misses none that is
        as new, and returns older ones only where times are out of order. The end offset, if there is none.
        """
        ...

    async def counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[str, int]:
        """At most how many records each topic has in these partitions, from these offsets on. Exact from the beginning
        of all partitions of a topic without compaction.
        """
        ...

    async def partition_counts_from(self, starts: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Of each partition, at most how many records it has from its offset on. Partitions whose records would have to
        be read for that are left out: only where offsets do not tell, and only far from the end.
        """
        ...

    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        """Committed offsets; partitions without one are left out."""
        ...

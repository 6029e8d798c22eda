"""The bus: a partitioned log that knows nothing about messages. Protocols, with the promises every backend keeps.

B-1  Records of one partition are read in the order they were written; a key always lands in the same partition.
B-2  Offsets grow; gaps are normal. `committed` and `ends` mean "the next offset to read / to be written".
B-3  `publish` returns only when all its records are durable, in the order given per partition. When it raises, each
     record may or may not be in the log: publishing again with the same ids must be harmless.
B-4  Within a group a partition has one owner at a time; after a crash its successor reads from the committed offset.
B-5  A member that lost its partitions cannot commit them: `Fenced`.
B-6  On a rebalance, `revoked` of the old owner has ended (or its budget has) before the new owner's `assigned`.
B-7  Fetches are bounded in records and bytes; in-flight publishes are bounded: beyond that `publish` waits.
B-8  Compaction keeps at least the latest record of each key; a tombstone deletes its key.
B-9  `seek`, `pause` and `resume` act on the very next fetch. A read below the start of the log raises `Truncated`.
B-10 A tail has no group: it reads given partitions from given offsets and commits nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Protocol

import anyio

from airy.bus.record import Emit, Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import AiryError, Refused


class Fenced(AiryError):
    """A member tried to commit a partition it no longer owns. Stop acting on it."""


class Truncated(AiryError):
    """The log no longer holds the offset asked for. Never skipped silently: rebuild, or seek on purpose."""


class RecordTooLarge(Refused):
    """A record is over the backend's limit. Nothing of the batch was written."""


class Pulse(Protocol):
    """What a loop needs from whoever runs it; an actor's context fits without either knowing the other."""

    @property
    def draining(self) -> anyio.Event: ...
    def ready(self) -> None: ...
    def progress(self) -> None: ...
    def waiting(self) -> AbstractContextManager[None]: ...


class Reader(Protocol):
    async def fetch(self, *, records_max: int, bytes_max: int = 4_194_304, wait_s: float) -> list[Record]:
        """What is there, at most so much; waits up to `wait_s` for the first record, then returns an empty list."""
        ...

    def seek(self, where: TopicPartition, offset: int) -> None: ...
    def pause(self, where: Iterable[TopicPartition]) -> None: ...
    def resume(self, where: Iterable[TopicPartition]) -> None: ...
    def position(self, where: TopicPartition) -> int:
        """The next offset `fetch` returns from this partition."""
        ...


class Tail(Reader, Protocol):
    """Given partitions, own offsets, no group."""


class Ownership(Protocol):
    """Told about rebalances, inside `fetch`, one at a time. Must not raise."""

    async def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        """These are ours now; each with its committed offset (the start of the log if there was none)."""
        ...

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """These are going: finish or drop what is under way, commit what is finished."""
        ...


class Subscription(Reader, Protocol):
    """Membership of a group. With `records_max=0`, `fetch` only keeps membership alive: for those who act elsewhere."""

    @property
    def assignment(self) -> frozenset[TopicPartition]: ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """The next offset to read, per partition. Raises `Fenced`, `Unavailable`."""
        ...


class Bus(Protocol):
    async def run(self, pulse: Pulse) -> None:
        """Keep the backend alive until draining. Calls to the other methods wait until it is ready."""
        ...

    async def publish(self, emits: Sequence[Emit]) -> Sequence[Position]:
        """B-3. One position for each, in the order given. Raises `Unavailable`, `RecordTooLarge`."""
        ...

    def subscribe(
        self,
        topics: Sequence[Topic[Any]],
        *,
        group: str,
        ownership: Ownership | None = None,
    ) -> AbstractAsyncContextManager[Subscription]: ...

    def tail(self, start: Mapping[TopicPartition, int]) -> AbstractAsyncContextManager[Tail]: ...

    async def starts(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]: ...
    async def ends(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]: ...
    async def committed(self, group: str, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        """Only partitions that have a committed offset."""
        ...

"""Folds a log or an archive into a digest: equal digests mean the same conversations and the same change ids."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from anyio.lowlevel import checkpoint
from msgspec import Struct

from airy import topics
from airy.app.log_transfer.read_partitions import read_partitions
from airy.app.progress import OnProgress, no_progress
from airy.bus.api import Bus
from airy.bus.log_archive import ByteSource, RecordBlock, read_archive
from airy.bus.record import Record
from airy.bus.record_schema import PartitionHeld
from airy.store.api import Store
from airy.store.factory import create_store

WAL_PAGES_MAX = 16_384  # 64 MiB
_FOLDED = {topic.name for topic in topics.FOLDED}


class FoldDigest(Struct, frozen=True):
    digest: str
    conversations: int
    messages: int
    changes: int
    unreadable: int  # records the fold rejected


async def fold_log(bus: Bus, *, on_progress: OnProgress = no_progress) -> FoldDigest:
    """From the first record to the present end. Writes nothing, not even dead letters. Raises `PartitionHeld`."""
    starts, ends = await bus.beginning_offsets(topics.FOLDED), await bus.end_offsets(topics.FOLDED)
    async with _temporary_fold() as fold, aclosing(read_partitions(bus, starts, ends)) as batches:
        async for records in batches:
            await fold.add(records, on_progress)
        return await fold.result()


async def fold_archive(source: ByteSource, *, on_progress: OnProgress = no_progress) -> FoldDigest:
    async with _temporary_fold() as fold:
        for part in read_archive(source):
            if isinstance(part, RecordBlock) and part.topic_partition.topic in _FOLDED:
                await fold.add(_records(part), on_progress)
            await checkpoint()
        return await fold.result()


def _records(block: RecordBlock) -> list[Record]:
    """With ordinals as offsets."""
    return [
        Record(*block.topic_partition, ordinal, entry.key, entry.value, entry.headers, entry.timestamp_ms)
        for ordinal, entry in enumerate(block.entries, block.first)
    ]


class _TemporaryFold:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._unreadable = 0

    async def add(self, records: list[Record], on_progress: OnProgress) -> None:
        if records:
            applied = await self._store.apply(records)
            if applied.held:  # the digest would leave out everything from here on
                raise PartitionHeld(next(iter(applied.held.values())))
            self._unreadable += len(applied.unprocessable)
            on_progress(records[-1].topic, len(records))
            checkpoints = self._store.checkpoints
            if checkpoints is not None and checkpoints.wal_pages >= WAL_PAGES_MAX:
                await checkpoints.checkpoint()

    async def result(self) -> FoldDigest:
        counts = await self._store.counts()
        digest = await self._store.digest(changes=True)
        return FoldDigest(digest, counts["conversations"], counts["messages"], counts["changes"], self._unreadable)


@asynccontextmanager
async def _temporary_fold() -> AsyncIterator[_TemporaryFold]:
    with tempfile.TemporaryDirectory(prefix="airy-fold-") as directory:
        store = create_store(Path(directory) / "store.db")
        await store.open()
        try:
            yield _TemporaryFold(store)
        finally:
            await store.close()

"""The fold of a log, or of an archive of it, in one line: two that are the same hold the same conversations, and tell
subscribers of the same changes under the same ids.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from anyio.lowlevel import checkpoint
from msgspec import Struct

from airy import topics
from airy.app.moving.reading import read
from airy.app.moving.watch import Watch, unwatched
from airy.bus.api import Bus
from airy.bus.archive import Block, Source, read_archive
from airy.bus.record import Record, TopicPartition
from airy.store.sqlite import SqliteStore

WAL_PAGES_MAX = 16_384  # 64 MiB
_FOLDED = {topic.name for topic in topics.FOLDED}


class Fold(Struct, frozen=True):
    digest: str
    conversations: int
    messages: int
    changes: int
    unreadable: int  # records that say nothing


async def fold_log(bus: Bus, *, watch: Watch = unwatched) -> Fold:
    """From the first record to the last there is now. Nothing is written, not even dead letters."""
    starts, ends = await bus.starts(topics.FOLDED), await bus.ends(topics.FOLDED)
    async with _fresh() as folding, aclosing(read(bus, starts, ends)) as batches:
        async for records in batches:
            await folding.add(records, watch)
        return await folding.result()


async def fold_archive(source: Source, *, watch: Watch = unwatched) -> Fold:
    async with _fresh() as folding:
        for part in read_archive(source):
            if isinstance(part, Block) and part.where.topic in _FOLDED:
                await folding.add(list(_records(part.where, part)), watch)
            await checkpoint()
        return await folding.result()


def _records(where: TopicPartition, block: Block) -> list[Record]:
    return [
        Record(*where, ordinal, entry.key, entry.value, entry.headers, entry.timestamp_ms)
        for ordinal, entry in enumerate(block.entries, block.first)
    ]


class _Folding:
    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._unreadable = 0

    async def add(self, records: list[Record], watch: Watch) -> None:
        if records:
            self._unreadable += len((await self._store.apply(records)).bad)
            watch(records[-1].topic, len(records))
            if self._store.wal_pages >= WAL_PAGES_MAX:
                await self._store.checkpoint()

    async def result(self) -> Fold:
        counts = await self._store.counts()
        digest = await self._store.digest(changes=True)
        return Fold(digest, counts["conversations"], counts["messages"], counts["changes"], self._unreadable)


@asynccontextmanager
async def _fresh() -> AsyncIterator[_Folding]:
    with tempfile.TemporaryDirectory(prefix="airy-fold-") as directory:
        store = SqliteStore(Path(directory) / "store.db")
        await store.open()
        try:
            yield _Folding(store)
        finally:
            await store.close()

"""The store on SQLite: one file, one process, the whole read model. See `airy.store.api` for what it promises."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

import anyio
import anyio.lowlevel
import anyio.to_thread
import apsw

from airy import topics
from airy.bus.record import Record, TopicPartition
from airy.errors import Unavailable
from airy.model.conversation import Message
from airy.model.entity import Channel, Tag, Template, Webhook
from airy.store import cursors
from airy.store.api import Applied, ConversationView, Page, Published, Work, WorkKind
from airy.store.filters import parse
from airy.store.sqlite import listing, outbox, queries
from airy.store.sqlite.audit import digest_of
from airy.store.sqlite.file import StoreFile
from airy.store.sqlite.filters import compile_filters
from airy.store.sqlite.project import Projection

FORGET_GROUPS_MAX = 200  # per transaction
_IN_MEMORY = ":memory:"


class SqliteStore:
    """`path`: a file, made if it is missing; or ":memory:"."""

    def __init__(self, path: Path | str) -> None:
        self._file = StoreFile(None if str(path) == _IN_MEMORY else Path(path))
        self._projection: Projection | None = None
        self._writing = anyio.Lock(fast_acquire=True)
        self._looking = anyio.Lock(fast_acquire=True)  # the snapshot holds one long query at a time

    async def open(self) -> None:
        with _translated:
            self._file.open()
            self._projection = Projection(self._file.write)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._looking, self._writing:
                self._projection = None
                self._file.close()

    @property
    def _fold(self) -> Projection:
        if self._projection is None:
            raise Unavailable("the store is not open")
        return self._projection

    # --- folding

    async def positions(self) -> dict[TopicPartition, int]:
        return self._fold.positions

    async def apply(self, records: Sequence[Record]) -> Applied:
        async with self._writing:
            with _translated:
                applied = self._fold.apply(records)
                self._file.relieve()
        return applied

    async def wipe(self) -> None:
        async with self._looking, self._writing:
            with _translated:
                self._projection = None
                self._file.start_over()
                self._projection = Projection(self._file.write)

    async def digest(self, *, changes: bool = False) -> str:
        """`changes` too: their ids and bodies. Those that were forgotten are missing then."""
        async with self._snapshot() as connection:
            return await digest_of(connection, changes=changes)

    async def checkpoint(self) -> None:
        """Bring what was committed from the log file into the database, in a worker thread.

        First beside the writer, then, for the little that came meanwhile, instead of it: only a log that was copied
        to its end starts over.
        """
        if self._file.path is None:
            return
        with _translated:
            await anyio.to_thread.run_sync(self._file.checkpoint)
            async with self._writing:
                await anyio.to_thread.run_sync(self._file.checkpoint)

    # --- acting

    async def changes(self, where: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[Published]:
        return outbox.read(self._reading, where, after, changes_max)

    async def forget_changes(self, below: Mapping[TopicPartition, int]) -> int:
        gone = 0
        for where, offset in below.items():
            more = True
            while more:
                async with self._writing:
                    with _translated:
                        count, more = self._fold.forget(where, offset, FORGET_GROUPS_MAX)
                gone += count
                await anyio.lowlevel.checkpoint()
        return gone

    async def work(
        self, kind: WorkKind, source: str, *, partitions: Sequence[int], due_until_ms: int, work_max: int,
    ) -> list[Work]:  # fmt: skip
        return queries.work(self._reading, kind, source, partitions, due_until_ms, work_max)

    async def accepted(self, conversation_id: str, fact_id: str) -> bool:
        return queries.accepted(self._reading, conversation_id, fact_id)

    # --- asking

    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]:
        return queries.entities(self._reading, topics.CHANNELS, source=source, connected_only=connected_only)

    async def channel(self, channel_id: str) -> Channel | None:
        return queries.entity(self._reading, topics.CHANNELS, channel_id)

    async def conversation(self, conversation_id: str) -> ConversationView | None:
        return queries.Views(self._reading).by_id(conversation_id)

    async def conversations(self, *, filters: str | None, cursor: str | None, page_size: int | None) -> Page:
        size, start = cursors.page_size(page_size), cursors.read(cursor)
        if filters is None and not isinstance(start, int):
            return await self._page(self._reading, listing.ALL, start, size, self._fold.counts["conversations"])
        condition = None if filters is None else parse(filters)
        async with self._snapshot() as connection:
            query = listing.ALL if condition is None else compile_filters(condition, connection)
            total = self._fold.counts["conversations"] if condition is None else None
            return await self._page(connection, query, start, size, total)

    async def _page(
        self, connection: apsw.Connection, query: listing.Query, start: cursors.Place | int | None, size: int, total: int | None
    ) -> Page:
        found = await listing.listed(connection, query, start, size, total)
        items: list[object] = [*queries.Views(connection).by_numbers(found.numbers)]
        return Page(items, found.previous_cursor, found.next_cursor, found.total, found.complete)

    async def message(self, message_id: str) -> Message | None:
        return queries.message(self._reading, message_id)

    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int | None) -> Page:
        return queries.messages(self._reading, conversation_id, cursor, cursors.page_size(page_size))

    async def tags(self) -> list[Tag]:
        return queries.entities(self._reading, topics.TAGS)

    async def tag(self, tag_id: str) -> Tag | None:
        return queries.entity(self._reading, topics.TAGS, tag_id)

    async def templates(self, source: str) -> list[Template]:
        return queries.entities(self._reading, topics.TEMPLATES, source=source)

    async def template(self, template_id: str) -> Template | None:
        return queries.entity(self._reading, topics.TEMPLATES, template_id)

    async def webhooks(self) -> list[Webhook]:
        return queries.entities(self._reading, topics.WEBHOOKS)

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return queries.entity(self._reading, topics.WEBHOOKS, webhook_id)

    async def counts(self) -> dict[str, int]:
        return self._fold.counts

    # --- connections

    @property
    def _reading(self) -> apsw.Connection:
        if self._projection is None:
            raise Unavailable("the store is not open")
        return self._file.read

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[apsw.Connection]:
        """A view that stays the same while a long query lets others run. In memory, writers wait for it."""
        async with self._looking:
            if self._file.path is None:
                async with self._writing:
                    yield self._reading
                return
            connection = self._file.snapshot if self._projection else self._reading
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")


class _Translated:
    """What the engine cannot do now is `Unavailable`; what it says about itself otherwise is a crash."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, _TRANSIENT):
            message = f"the store's database cannot serve: {error}"
            raise Unavailable(message) from error


_TRANSIENT = (
    apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.NoMemError,
)  # fmt: skip
_translated = _Translated()

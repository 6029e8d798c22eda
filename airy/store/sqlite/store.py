"""The store on SQLite: one file, one process, the whole read model. `airy.store.api` says what it promises.

A batch is folded and a page is read without letting others run. What could take long is cut into steps (filters,
digests) or done by a worker thread (checkpoints).
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import apsw

from airy import topics
from airy.bus.record import Record, TopicPartition
from airy.errors import Refused, Unavailable
from airy.model.conversation import Message
from airy.model.dead import DeadDelivery
from airy.model.entity import Channel, Tag, Template, Webhook
from airy.store import cursors
from airy.store.api import Applied, ConversationView, Landmark, Page, Published, Work, WorkKind
from airy.store.filters import parse
from airy.store.sqlite import audit, dead, listing, outbox, queries
from airy.store.sqlite.file import StoreFile
from airy.store.sqlite.filters import Query, compile_filters
from airy.store.sqlite.guard import DAMAGED, Guard
from airy.store.sqlite.project import Projection

P = ParamSpec("P")
R = TypeVar("R")

FORGET_GROUPS_MAX = 200  # per transaction
IN_MEMORY = ":memory:"


class SqliteStore:
    """`path`: a file, made if it is missing; or ":memory:"."""

    def __init__(self, path: Path | str) -> None:
        self._file = StoreFile(None if str(path) == IN_MEMORY else Path(path))
        self._guard = Guard()
        self._projection: Projection | None = None
        self._writing = anyio.Lock(fast_acquire=True)
        self._looking = anyio.Lock(fast_acquire=True)  # the snapshot holds one long query at a time
        self._checkpointing = anyio.Lock(fast_acquire=True)

    async def open(self) -> None:
        """Raises `Refused` if the file is somebody else's."""
        try:
            with self._guard:
                self._file.open()
                self._start()
        except BaseException:
            self._file.close()
            raise

    def _start(self) -> None:
        try:
            self._projection = Projection(self._file.write)
        except DAMAGED as error:
            self._file.start_over(f"it is damaged: {error}")
            self._projection = Projection(self._file.write)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._looking, self._checkpointing, self._writing:
                self._projection = None
                self._file.close()

    # --- folding

    async def positions(self) -> dict[TopicPartition, int]:
        if self._guard.damaged:
            await self.wipe()
        return self._open_projection.positions

    async def landmark(self) -> Landmark | None:
        return self._open_projection.landmark

    async def apply(self, records: Sequence[Record]) -> Applied:
        if self._guard.damaged:
            await self.wipe()
            raise Unavailable("the store's file was damaged and is built anew: read from the start of the log")
        async with self._writing:
            with self._guard:
                applied = self._open_projection.apply(records)
                self._file.relieve()
        return applied

    async def wipe(self) -> None:
        async with self._looking, self._checkpointing, self._writing:
            with self._guard:
                self._projection = None
                self._file.start_over("it was asked for" if not self._guard.damaged else "it is damaged")
                self._projection = Projection(self._file.write)
            self._guard.damaged = False

    async def digest(self, *, changes: bool = False) -> str:
        async with self._snapshot() as connection:
            return await audit.digest_of(connection, changes=changes)

    async def checkpoint(self) -> None:
        """Bring what was committed from the log file into the database, in a worker thread.

        First beside the writer, then, for the little that came meanwhile, instead of it: only a log file that was
        copied to its end starts over.
        """
        if self._file.path is None:
            return
        async with self._checkpointing:
            with self._guard:
                await anyio.to_thread.run_sync(self._file.checkpoint)
                async with self._writing:
                    await anyio.to_thread.run_sync(self._file.checkpoint)

    @property
    def wal_pages(self) -> int:
        """How many pages of the log file a checkpoint would copy."""
        return self._file.wal_pages

    # --- acting

    async def changes(self, where: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[Published]:
        return self._ask(outbox.read, where, after, changes_max)

    async def forget_changes(self, below: Mapping[TopicPartition, int]) -> int:
        gone = 0
        for where, offset in below.items():
            more = True
            while more:
                async with self._writing:
                    with self._guard:
                        count, more = self._open_projection.forget(where, offset, FORGET_GROUPS_MAX)
                gone += count
                await anyio.lowlevel.checkpoint()
        return gone

    async def forgotten(self) -> dict[TopicPartition, int]:
        return self._open_projection.forgotten

    async def work(
        self,
        kind: WorkKind,
        source: str,
        *,
        partitions: Sequence[int],
        due_until_ms: int,
        work_max: int,
        channel_max: int | None = None,
        not_channels: Collection[str] = (),
    ) -> list[Work]:
        if kind == "profile":
            return self._ask(queries.profiles, source, partitions, work_max)
        return self._ask(
            queries.sends,
            source,
            partitions,
            due_until_ms=due_until_ms,
            work_max=work_max,
            channel_max=work_max if channel_max is None else channel_max,
            not_channels=frozenset(not_channels),
        )

    async def accepted(self, conversation_id: str, fact_id: str) -> bool:
        return self._ask(queries.accepted, conversation_id, fact_id)

    # --- asking

    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]:
        return self._ask(queries.entities, topics.CHANNELS, source=source, connected_only=connected_only)

    async def channel(self, channel_id: str) -> Channel | None:
        return self._ask(queries.entity, topics.CHANNELS, channel_id)

    async def conversation(self, conversation_id: str) -> ConversationView | None:
        return self._ask(queries.conversation, conversation_id)

    async def conversations(self, *, filters: str | None, cursor: str | None, page_size: int | None) -> Page:
        size, start = cursors.page_size(page_size), cursors.read(cursor)
        if filters is None and not isinstance(start, int):
            with self._guard:
                return await self._page(self._reading, listing.ALL, start, size)
        condition = None if filters is None else parse(filters)
        async with self._snapshot() as connection:
            query = listing.ALL if condition is None else compile_filters(condition, connection)
            return await self._page(connection, query, start, size)

    async def _page(
        self, connection: apsw.Connection, query: Query, start: cursors.Place | int | None, size: int
    ) -> Page:
        total = self._open_projection.counts["conversations"] if query is listing.ALL else None
        found = await listing.listed(connection, query, start, size, total)
        items: list[object] = [*queries.Views(connection).by_numbers(found.numbers)]
        return Page(items, found.previous_cursor, found.next_cursor, found.total, found.complete)

    async def message(self, message_id: str) -> Message | None:
        return self._ask(queries.message, message_id)

    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int | None) -> Page:
        return self._ask(queries.messages, conversation_id, cursor, cursors.page_size(page_size))

    async def tags(self) -> list[Tag]:
        return self._ask(queries.entities, topics.TAGS)

    async def tag(self, tag_id: str) -> Tag | None:
        return self._ask(queries.entity, topics.TAGS, tag_id)

    async def templates(self, source: str) -> list[Template]:
        return self._ask(queries.entities, topics.TEMPLATES, source=source)

    async def template(self, template_id: str) -> Template | None:
        return self._ask(queries.entity, topics.TEMPLATES, template_id)

    async def webhooks(self) -> list[Webhook]:
        return self._ask(queries.entities, topics.WEBHOOKS)

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return self._ask(queries.entity, topics.WEBHOOKS, webhook_id)

    async def dead_deliveries(
        self, *, webhook_id: str | None = None, cursor: str | None, page_size: int | None
    ) -> Page:
        start = cursors.read(cursor)
        if isinstance(start, int):
            raise Refused(f"not a cursor: {start}; pass back what the last page gave you", field="cursor")
        return self._ask(dead.listed, webhook_id, start, cursors.page_size(page_size))

    async def burials(self, delivery_id: str) -> list[DeadDelivery]:
        return self._ask(dead.burials, delivery_id)

    async def replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        return self._ask(dead.replays, after, replays_max)

    async def old_burials(self, *, keep_max: int, before_ms: int, burials_max: int) -> list[str]:
        return self._ask(dead.old, keep_max, before_ms, burials_max)

    async def counts(self) -> dict[str, int]:
        return self._open_projection.counts

    # --- connections

    @property
    def _open_projection(self) -> Projection:
        if self._projection is None:
            raise Unavailable("the store is not open")
        return self._projection

    @property
    def _reading(self) -> apsw.Connection:
        if self._projection is None:
            raise Unavailable("the store is not open")
        return self._file.read

    def _ask(self, query: Callable[Concatenate[apsw.Connection, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        with self._guard:
            return query(self._reading, *arguments, **named)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[apsw.Connection]:
        """A view that stays the same while a long query lets others run. In memory, writers wait for it."""
        async with self._looking:
            connection = self._reading
            if self._file.path is None:
                async with self._writing:
                    with self._guard:
                        yield connection
                return
            connection = self._file.snapshot
            with self._guard:
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")

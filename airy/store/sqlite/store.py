"""The store on SQLite: one file, one process, the whole read model. Implements `airy.store.api.Store`.

Folding a batch and reading a page do not yield to other tasks. Long operations are cut into steps (filters, digests) or
run in a worker thread (checkpoints).
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import apsw

from airy import topics
from airy.bus.record import Record, TopicPartition
from airy.bus.record_schema import RecordSchema
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable
from airy.model.contact_view import ContactView
from airy.model.conversation import Message
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.identity import IdentityKey
from airy.store import cursors
from airy.store.api import (
    Applied,
    ChannelActivity,
    Checkpoints,
    ConversationView,
    FoldedMessage,
    LastApplied,
    Page,
    StoredChange,
    Work,
    WorkKind,
)
from airy.store.filters import parse, searches_texts
from airy.store.sqlite import (
    alias_rows,
    channel_activity,
    contact_list,
    conversation_list,
    dead_deliveries,
    entities,
    folded_messages,
    outbox,
    queries,
    table_digest,
)
from airy.store.sqlite.candidates import FrequentQueries
from airy.store.sqlite.error_translation import DAMAGED, ErrorTranslation
from airy.store.sqlite.filter_sql import CompiledFilter, compile_filters
from airy.store.sqlite.projection import Projection
from airy.store.sqlite.store_file import StoreFile

P = ParamSpec("P")
R = TypeVar("R")

PRUNE_GROUPS_MAX = 200  # per transaction
IN_MEMORY = ":memory:"


class SqliteStore:
    """`path`: a file, created if it is missing; or ":memory:". `schemas`: the kinds and versions of records to read."""

    def __init__(self, path: Path | str, *, schemas: Mapping[str, RecordSchema] = topics.SCHEMAS) -> None:
        self._schemas = schemas
        self._file = StoreFile(None if str(path) == IN_MEMORY else Path(path))
        self._errors = ErrorTranslation()
        self._projection: Projection | None = None
        self._frequent = FrequentQueries()
        self._write_lock = anyio.Lock(fast_acquire=True)
        self._snapshot_lock = anyio.Lock(fast_acquire=True)  # one long query at a time
        self._checkpoint_lock = anyio.Lock(fast_acquire=True)

    async def open(self) -> None:
        """Raises `Refused` if the file belongs to another application."""
        try:
            with self._errors:
                self._file.open()
                self._start()
        except BaseException:
            self._file.close()
            raise

    def _start(self) -> None:
        try:
            self._projection = Projection(self._file.write, self._schemas)
        except DAMAGED as error:
            self._file.rebuild(f"the file is damaged: {error}")
            self._projection = Projection(self._file.write, self._schemas)

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._snapshot_lock, self._checkpoint_lock, self._write_lock:
                self._projection = None
                self._file.close()

    # --- folding

    @property
    def damaged(self) -> bool:
        return self._errors.damaged

    async def recover(self) -> None:
        if self._errors.damaged:
            await self.wipe()

    async def positions(self) -> dict[TopicPartition, int]:
        return self._open_projection.positions

    async def last_applied(self) -> LastApplied | None:
        return self._open_projection.last_applied

    async def apply(self, records: Sequence[Record]) -> Applied:
        if self._errors.damaged:  # what is missing lies before these records
            raise Unavailable("the store's file is damaged and is rebuilt: read the log from the start")
        async with self._write_lock:
            with self._errors:
                applied = self._open_projection.apply(records)
                self._file.checkpoint_if_needed()
        return applied

    async def wipe(self) -> None:
        async with self._snapshot_lock, self._checkpoint_lock, self._write_lock:
            with self._errors:
                self._projection = None
                self._file.rebuild("the file is damaged" if self._errors.damaged else "requested")
                self._projection = Projection(self._file.write, self._schemas)
            self._errors.damaged = False

    async def digest(self, *, changes: bool = False) -> str:
        async with self._snapshot() as connection:
            return await table_digest.digest_of(connection, changes=changes)

    async def checkpoint(self) -> None:
        """Copy committed pages from the WAL into the database, in a worker thread.

        The first pass runs beside the writer, the second, for the few pages written meanwhile, blocks it: only a WAL
        that was copied to its end restarts.
        """
        if self._file.path is None:
            return
        async with self._checkpoint_lock:
            with self._errors:
                await anyio.to_thread.run_sync(self._file.checkpoint)
                async with self._write_lock:
                    await anyio.to_thread.run_sync(self._file.checkpoint)

    @property
    def checkpoints(self) -> Checkpoints | None:
        return None if self._file.path is None else self

    @property
    def wal_pages(self) -> int:
        return self._file.wal_pages

    # --- changes and pending work

    async def changes(self, tp: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[StoredChange]:
        return self._query(outbox.read, tp, after, changes_max)

    async def prune_changes(self, below: Mapping[TopicPartition, int]) -> int:
        pruned = 0
        for tp, offset in below.items():
            more = True
            while more:
                async with self._write_lock:
                    with self._errors:
                        count, more = self._open_projection.prune(tp, offset, PRUNE_GROUPS_MAX)
                pruned += count
                await anyio.lowlevel.checkpoint()
        return pruned

    async def pruned_below(self) -> dict[TopicPartition, int]:
        return self._open_projection.pruned_below

    async def work(
        self,
        kind: WorkKind,
        source: str,
        *,
        partitions: Sequence[int],
        due_until_ms: int,
        work_max: int,
        per_channel_max: int | None = None,
        excluded_channels: Collection[str] = (),
        after: Work | None = None,
    ) -> list[Work]:
        if kind == "profile":
            return self._query(
                queries.profiles, source, partitions, work_max=work_max, excluded_channels=excluded_channels
            )
        return self._query(
            queries.sends,
            source,
            partitions,
            due_until_ms=due_until_ms,
            work_max=work_max,
            per_channel_max=work_max if per_channel_max is None else per_channel_max,
            excluded_channels=frozenset(excluded_channels),
            after=after,
        )

    async def accepted(self, conversation_id: str, fact_id: str) -> bool:
        return self._query(queries.accepted, conversation_id, fact_id)

    async def entity_accepted(self, topic: Topic[Any], entity_id: str, write_id: str) -> bool:
        return self._query(entities.accepted, topic, entity_id, write_id)

    # --- queries

    async def channels(self, *, source: str | None = None, connected_only: bool = True) -> list[Channel]:
        return self._query(entities.listed, topics.CHANNELS, source=source, connected_only=connected_only)

    async def channel(self, channel_id: str) -> Channel | None:
        return self._query(entities.one, topics.CHANNELS, channel_id)

    async def channel_activity(self, channel_ids: Collection[str]) -> dict[str, ChannelActivity]:
        return self._query(channel_activity.of, channel_ids)

    async def conversation(self, conversation_id: str) -> ConversationView | None:
        return self._query(queries.conversation, conversation_id)

    async def conversations(
        self, *, filters: str | None, cursor: str | None, page_size: int | None
    ) -> Page[ConversationView]:
        size, start = cursors.page_size(page_size), cursors.decode(cursor)
        if filters is None and not isinstance(start, int):
            with self._errors:
                return await self._page(self._reading, conversation_list.ALL, start, size)
        condition = None if filters is None else parse(filters)
        if condition is not None and searches_texts(condition):
            async with self._write_lock:
                with self._errors:
                    self._open_projection.index_texts()
        async with self._snapshot() as connection:
            query = (
                conversation_list.ALL if condition is None else compile_filters(condition, connection, self._frequent)
            )
            return await self._page(connection, query, start, size)

    async def _page(
        self, connection: apsw.Connection, query: CompiledFilter, start: cursors.CursorKey | int | None, size: int
    ) -> Page[ConversationView]:
        total = self._open_projection.counts["conversations"] if query is conversation_list.ALL else None
        found = await conversation_list.listed(connection, query, start, size, total)
        items = queries.ViewReader(connection).by_numbers(found.numbers)
        return Page(items, found.previous_cursor, found.next_cursor, found.total, found.complete)

    async def message(self, message_id: str) -> Message | None:
        return self._query(queries.message, message_id)

    async def messages(self, conversation_id: str, *, cursor: str | None, page_size: int | None) -> Page[Message]:
        return self._query(queries.messages, conversation_id, cursor, cursors.page_size(page_size))

    async def folded_messages(self, message_ids: Collection[str]) -> list[FoldedMessage]:
        return self._query(folded_messages.of_ids, message_ids)

    async def named_by_provider(self, provider_id: str) -> list[str]:
        return self._query(folded_messages.named_by_provider, provider_id)

    async def conversations_of(self, keys: Collection[IdentityKey]) -> dict[IdentityKey, tuple[str, ...]]:
        return self._query(alias_rows.conversations_of, keys)

    async def tags(self) -> list[Tag]:
        return self._query(entities.listed, topics.TAGS)

    async def tag(self, tag_id: str) -> Tag | None:
        return self._query(entities.one, topics.TAGS, tag_id)

    async def templates(self, source: str) -> list[Template]:
        return self._query(entities.listed, topics.TEMPLATES, source=source)

    async def template(self, template_id: str) -> Template | None:
        return self._query(entities.one, topics.TEMPLATES, template_id)

    async def webhooks(self) -> list[Webhook]:
        return self._query(entities.listed, topics.WEBHOOKS)

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return self._query(entities.one, topics.WEBHOOKS, webhook_id)

    async def api_tokens(self) -> list[ApiToken]:
        return self._query(entities.listed, topics.API_TOKENS)

    async def api_token(self, token_id: str) -> ApiToken | None:
        return self._query(entities.one, topics.API_TOKENS, token_id)

    async def custom_sources(self) -> list[CustomSource]:
        return self._query(entities.listed, topics.CUSTOM_SOURCES)

    async def custom_source(self, source_id: str) -> CustomSource | None:
        return self._query(entities.one, topics.CUSTOM_SOURCES, source_id)

    async def users(self, *, cursor: str | None, page_size: int | None) -> Page[User]:
        return self._query(entities.page, topics.USERS, cursor, cursors.page_size(page_size))

    async def user(self, user_id: str) -> User | None:
        return self._query(entities.one, topics.USERS, user_id)

    async def contact(self, contact_id: str) -> ContactView | None:
        return self._query(contact_list.one, contact_id)

    async def contact_of(self, conversation_id: str) -> ContactView | None:
        return self._query(contact_list.of_conversation, conversation_id)

    async def contact_version(self, contact_id: str) -> int:
        return self._query(contact_list.version, contact_id)

    async def contacts(self, *, cursor: str | None, page_size: int | None) -> Page[ContactView]:
        start, size = cursors.decode_contact(cursor), cursors.page_size(page_size)
        return self._query(contact_list.listed, start, size, self._open_projection.counts["contacts"])

    async def dead_deliveries(
        self, *, webhook_id: str | None = None, cursor: str | None, page_size: int | None
    ) -> Page[DeadDelivery]:
        start = cursors.decode(cursor)
        if isinstance(start, int):
            raise Refused(f"not a cursor: {start}; pass a cursor of the previous response", field="cursor")
        return self._query(dead_deliveries.listed, webhook_id, start, cursors.page_size(page_size))

    async def dead_deliveries_of(self, delivery_id: str) -> list[DeadDelivery]:
        return self._query(dead_deliveries.of_delivery, delivery_id)

    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        return self._query(dead_deliveries.pending_replays, after, replays_max)

    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
        return self._query(dead_deliveries.expired, keep_max, before_ms, deliveries_max)

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

    def _query(self, query: Callable[Concatenate[apsw.Connection, P], R], *arguments: P.args, **named: P.kwargs) -> R:
        with self._errors:
            return query(self._reading, *arguments, **named)

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[apsw.Connection]:
        """A connection whose data does not change while a long query yields. In memory, writers wait for it."""
        async with self._snapshot_lock:
            connection = self._reading
            if self._file.path is None:
                async with self._write_lock:
                    with self._errors:
                        yield connection
                return
            connection = self._file.snapshot
            with self._errors:
                connection.execute("BEGIN")
                try:
                    yield connection
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")

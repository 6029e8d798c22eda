"""The projection: applies the fold to records and writes rows. One call is one transaction (R-1) without an await.

A batch is folded with its rows in memory and written once. After an unexpected error the batch is rolled back and
folded again record by record, each in a savepoint, so that the failing record is reported and the rest is applied
(G11). Only an error of the database itself (full, damaged, locked) stops the projection.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec
import structlog
from msgspec.structs import replace

from airy import topics
from airy.bug_fields import bug_fields
from airy.bus.record import Position, Record, TopicPartition
from airy.bus.record_schema import RecordSchema
from airy.errors import Refused
from airy.model.change import Change, ChangeKind
from airy.model.change_builder import entity_change
from airy.model.contact import KEY as CONTACTS_KEY
from airy.model.contact import ContactsWritten
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import Channel, Tag
from airy.model.fact import ConversationRead
from airy.model.fold import fold
from airy.model.fold_entity import BASE_HEADER, read_base
from airy.sources.catalogue import kind_name
from airy.store.api import Applied, LastApplied, WorkKey
from airy.store.holds import PartitionHolds
from airy.store.sqlite import conversation_counts, dead_deliveries, entities, error_translation, outbox
from airy.store.sqlite.contact_rows import ContactRows
from airy.store.sqlite.id_encoding import encode_id
from airy.store.sqlite.schema import COUNTERS, LISTED, NO_CHANNEL, TOPIC_INDEX
from airy.store.sqlite.text_indexing import TextIndexing
from airy.store.sqlite.write_batch import Counters, WriteBatch
from airy.trace import HEADER, trace_id_of

Unprocessable = list[tuple[Record, str]]

TRACE_BYTES_MAX = 55  # length of a version 00 `traceparent`

_log = structlog.get_logger("airy.store")

_encode = msgspec.json.Encoder().encode

_PUT_OFFSET = 'INSERT INTO offsets VALUES(?, ?, ?) ON CONFLICT(topic, "partition") DO UPDATE SET next = excluded.next'
_PUT_LAST_APPLIED = "INSERT OR REPLACE INTO last_applied VALUES(1, ?, ?, ?)"
_PUT_PRUNED_BELOW = """
INSERT INTO pruned_below VALUES(?, ?, ?) ON CONFLICT(topic, "partition") DO UPDATE SET below = excluded.below"""
_PUT_COUNTER = "UPDATE counters SET value = ? WHERE name = ?"
_LIST = f"UPDATE conversations SET visible = {LISTED} WHERE channel = ? AND visible = {NO_CHANNEL}"
# A full scan: it is rare, and the table is small.
_SET_CONNECTED = "UPDATE profiles SET connected = ? WHERE channel_id = ? AND connected <> ?"
_HIDE = f"UPDATE conversations SET visible = {NO_CHANNEL} WHERE channel = ? AND visible = {LISTED}"

_EVENTS = topics.EVENTS.name
_CHANNELS = topics.CHANNELS.name
_CONTACTS = topics.CONTACTS.name
_DEAD_DELIVERIES = topics.DEAD_DELIVERIES.name
_ENTITIES = {topic.name: topic for topic in topics.FOLDED if topic.name != _EVENTS}
_CHANGE_KINDS = {topics.CHANNELS.name: ChangeKind.CHANNEL_UPDATED, topics.TAGS.name: ChangeKind.TAG_UPDATED}


class _BatchFold:
    """Folds the records of one batch and collects the result until it is committed."""

    def __init__(self, connection: apsw.Connection, counters: Counters) -> None:
        self.connection = connection
        self.counters = counters
        self.batch = WriteBatch(connection, counters)
        self._changes: outbox.Changes = {}
        self.unprocessable: Unprocessable = []
        self.facts = 0
        self.change_count = 0
        self.read: list[str] = []

    def add(self, record: Record) -> None:
        self.batch.trace, self.batch.offset = _trace(record), record.offset
        if record.topic != _EVENTS:
            self._entity(record)
            return
        try:
            fact = topics.EVENTS.decode(record)
        except Refused as error:
            self.unprocessable.append((record, str(error)))
            return
        if fact is None:
            self.unprocessable.append((record, "a tombstone is not a fact"))
            return
        folded = fold(self.batch.state(fact.conversation_id), fact)
        if folded.accepted:
            self.facts += 1
            if isinstance(fact, ConversationRead):
                self.read.append(fact.conversation_id)
            if folded.changes:
                self._add_changes(record, folded.changes)

    def _add_changes(self, record: Record, changes: tuple[Change, ...]) -> None:
        self._changes.setdefault(record.topic_partition, []).append((record.offset, changes, self.batch.trace))
        self.change_count += len(changes)

    def flush(self) -> None:
        self.batch.flush()
        self.connection.executemany(outbox.INSERT, outbox.rows(self._changes))
        self.counters.counts["changes"] += self.change_count

    # --- entities

    def _entity(self, record: Record) -> None:
        topic = _ENTITIES[record.topic]
        try:
            id_ = record.key.decode()
            entity = topic.decode(record)
            base = read_base(record.header(BASE_HEADER))
        except (Refused, UnicodeDecodeError) as error:
            self.unprocessable.append((record, str(error)))
            return
        if record.topic == _CONTACTS:
            self._contacts(record, entity)
            return
        if entity is not None and entity.id != id_:
            self.unprocessable.append((record, f"the key {id_!r} differs from the id of the value"))
            return
        if record.topic == _DEAD_DELIVERIES:
            self._dead_delivery(id_, entity)
            return
        write_id = record.header("id")
        folded = entities.fold(
            self.connection, record.topic, id_, entity, base=base, record_ms=record.timestamp_ms, write_id=write_id
        )
        if not folded.accepted:
            return
        if record.topic == _CHANNELS:
            self._channel(id_, exists=entity is not None, connected=entity is not None and entity.connected)
            if isinstance(entity, Channel):
                self.batch.touched.add(WorkKey("profile", kind_name(entity.source)))
        kind = _CHANGE_KINDS.get(record.topic)
        if kind is not None and isinstance(entity, Channel | Tag) and not folded.unchanged:
            change = entity_change(kind, entity, at_ms=record.timestamp_ms, write_id=write_id, version=folded.version)
            self._add_changes(record, (change,))

    def _contacts(self, record: Record, written: ContactsWritten | None) -> None:
        if written is None or record.key != CONTACTS_KEY.encode():
            self.unprocessable.append((record, f"not a write of contacts under the key {CONTACTS_KEY!r}"))
            return
        self.batch.flush()
        ContactRows(self.connection, self.counters.counts).fold(written)

    def _dead_delivery(self, id_: str, delivery: DeadDelivery | None) -> None:
        if delivery is None:
            growth = dead_deliveries.delete(self.connection, id_)
        else:
            growth = dead_deliveries.put(self.connection, delivery, _encode(delivery))
        self.counters.counts[dead_deliveries.COUNTER] += growth

    def _channel(self, id_: str, *, exists: bool, connected: bool) -> None:
        """Conversations are listed once their channel has a record, and hidden when it is removed.

        Removing a channel costs a write per conversation. It is rare: channels are disconnected instead.
        """
        self.batch.flush()
        self.connection.execute(_SET_CONNECTED, (connected, id_, connected))
        self.connection.execute(_LIST if exists else _HIDE, (encode_id(id_),))
        changed = self.connection.changes()
        if changed:
            conversation_counts.recount(self.connection, encode_id(id_))
        self.counters.counts["conversations"] += changed if exists else -changed
        existing = self.connection.execute("SELECT count(*) FROM entities WHERE topic = ?", (TOPIC_INDEX[_CHANNELS],))
        self.counters.counts["channels"] = existing.get


def _trace(record: Record) -> str:
    """The record's `traceparent`, not validated: the reader of the change validates it."""
    for name, value in record.headers:
        if name == HEADER and len(value) <= TRACE_BYTES_MAX:
            return value.decode("ascii", "replace")
    return ""


def read_last_applied(connection: apsw.Connection) -> LastApplied | None:
    for partition, offset, fingerprint in connection.execute(
        'SELECT "partition", "offset", fingerprint FROM last_applied'
    ):
        return LastApplied(Position(_EVENTS, partition, offset), fingerprint)
    return None


FoldResult = tuple[Counters, Applied]
FoldStrategy = Callable[[apsw.Connection, Counters, Sequence[Record]], FoldResult]


def _fold_batch(connection: apsw.Connection, counters: Counters, records: Sequence[Record]) -> FoldResult:
    batch_fold = _BatchFold(connection, counters)
    for record in records:
        batch_fold.add(record)
    batch_fold.flush()
    return counters, Applied(
        batch_fold.facts,
        batch_fold.change_count,
        batch_fold.unprocessable,
        touched=frozenset(batch_fold.batch.touched),
        read=tuple(batch_fold.read),
    )


def _fold_each(connection: apsw.Connection, counters: Counters, records: Sequence[Record]) -> FoldResult:
    facts = changes = 0
    unprocessable: Unprocessable = []
    touched: set[WorkKey] = set()
    read: list[str] = []
    for record in records:
        batch_fold = _BatchFold(connection, counters.copy())
        connection.execute("SAVEPOINT record")
        try:
            batch_fold.add(record)
            batch_fold.flush()
        except error_translation.ENGINE:
            raise
        except Exception as error:  # noqa: BLE001 - any failure while folding one record is attributed to it
            connection.execute("ROLLBACK TO record")
            unprocessable.append((record, f"folding it failed: {type(error).__name__}: {error}"))
            at = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            _log.error("record.failed", **at, trace_id=trace_id_of(_trace(record)), **bug_fields(error))
        else:
            counters = batch_fold.counters
            facts += batch_fold.facts
            changes += batch_fold.change_count
            unprocessable += batch_fold.unprocessable
            touched |= batch_fold.batch.touched
            read += batch_fold.read
        connection.execute("RELEASE record")
    return counters, Applied(facts, changes, unprocessable, touched=frozenset(touched), read=tuple(read))


class Projection:
    """Owns the writing connection. Its properties are as of the last commit."""

    def __init__(self, connection: apsw.Connection, schemas: Mapping[str, RecordSchema]) -> None:
        self._connection = connection
        self._holds = PartitionHolds(schemas)
        self._positions = {
            TopicPartition(topics.FOLDED[topic].name, partition): offset
            for topic, partition, offset in connection.execute('SELECT topic, "partition", next FROM offsets')
        }
        self._last_applied = read_last_applied(connection)
        self._pruned_below = {
            TopicPartition(topics.FOLDED[topic].name, partition): offset
            for topic, partition, offset in connection.execute('SELECT topic, "partition", below FROM pruned_below')
        }
        counters: list[Any] = connection.execute("SELECT name, value FROM counters").fetchall()
        self._counters = Counters(
            connection.execute("SELECT ifnull(max(n), 0) FROM conversations").get,
            connection.execute("SELECT ifnull(max(n), 0) FROM messages").get,
            dict.fromkeys(COUNTERS, 0) | dict(counters),
        )
        self._text_indexing = TextIndexing(connection)

    @property
    def positions(self) -> dict[TopicPartition, int]:
        return dict(self._positions)

    @property
    def last_applied(self) -> LastApplied | None:
        return self._last_applied

    @property
    def pruned_below(self) -> dict[TopicPartition, int]:
        """Per partition, the offset below which changes may be deleted."""
        return dict(self._pruned_below)

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._counters.counts)

    def apply(self, records: Sequence[Record]) -> Applied:
        if self._text_indexing.is_due:
            self._text_indexing.index()
        unapplied, offsets = self._unapplied(records)
        applied = self._fold(unapplied, offsets) if unapplied else Applied(0, 0, [])
        held = self._holds.current()
        return replace(applied, held=held) if held else applied

    def _fold(self, records: list[Record], offsets: dict[TopicPartition, int]) -> Applied:
        try:
            return self._transaction(records, offsets, _fold_batch)
        except error_translation.ENGINE:
            raise
        except Exception:  # noqa: BLE001 - folding record by record finds the one that fails
            return self._transaction(records, offsets, _fold_each)

    def index_texts(self) -> None:
        """After this, searches in texts find everything that was applied."""
        self._text_indexing.index()

    def prune(self, tp: TopicPartition, below: int, groups_max: int) -> tuple[int, bool]:
        """Delete changes of facts below `below`; returns how many, and whether there may be more."""
        counters = self._counters.copy()
        with self._writing():
            pruned, more = outbox.prune(self._connection, tp, below, groups_max)
            counters.counts["changes"] -= pruned
            self._write_counts(counters)
            floor = max(self._pruned_below.get(tp, 0), min(below, self._positions.get(tp, 0)))
            if floor > self._pruned_below.get(tp, 0):
                self._connection.execute(_PUT_PRUNED_BELOW, (TOPIC_INDEX[tp.topic], tp.partition, floor))
        self._counters = counters
        if floor:
            self._pruned_below[tp] = floor
        return pruned, more

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _unapplied(self, records: Sequence[Record]) -> tuple[list[Record], dict[TopicPartition, int]]:
        offsets: dict[TopicPartition, int] = {}
        unapplied = []
        for record in records:
            tp = record.topic_partition
            known = offsets.get(tp)
            if known is None:
                if record.topic not in TOPIC_INDEX:
                    message = f"{record.topic} is not a folded topic; they are {', '.join(TOPIC_INDEX)}"
                    raise ValueError(message)
                known = self._positions.get(tp, 0)
            if record.offset >= known and self._holds.passes(record):
                unapplied.append(record)
                offsets[tp] = record.offset + 1
        return unapplied, offsets

    def _transaction(
        self, records: list[Record], offsets: dict[TopicPartition, int], strategy: FoldStrategy
    ) -> Applied:
        connection = self._connection
        with self._writing():
            counters, applied = strategy(connection, self._counters.copy(), records)
            connection.executemany(
                _PUT_OFFSET, [(TOPIC_INDEX[tp.topic], tp.partition, offset) for tp, offset in offsets.items()]
            )
            self._write_counts(counters)
            last_applied = self._put_last_applied(records)
        self._text_indexing.added(counters.unindexed)
        counters.unindexed = 0
        self._counters = counters
        self._last_applied = last_applied
        self._positions.update(offsets)
        return applied

    def _put_last_applied(self, records: Sequence[Record]) -> LastApplied | None:
        last = next((record for record in reversed(records) if record.topic == _EVENTS), None)
        if last is None:
            return self._last_applied
        self._connection.execute(_PUT_LAST_APPLIED, (last.partition, last.offset, last.fingerprint))
        return LastApplied(last.position, last.fingerprint)

    def _write_counts(self, counters: Counters) -> None:
        before = self._counters.counts
        changed = [(value, name) for name, value in counters.counts.items() if value != before[name]]
        self._connection.executemany(_PUT_COUNTER, changed)

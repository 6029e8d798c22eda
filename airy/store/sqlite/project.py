"""Records in, rows out: the fold over SQLite. One call is one transaction (R-1), and it never waits in between.

A batch is folded with its rows in memory and written once. If anything in it fails unexpectedly, the batch is undone
and folded again record by record, each in a savepoint, so that the one that fails is named and the rest goes on (G11).
Only what the database itself refuses (full, broken, locked) stops everything.
"""

# ruff: noqa: S608 - only names and placeholders of our own are put into SQL; values are bound

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec
import structlog

from airy import topics
from airy.bus.record import Position, Record, TopicPartition
from airy.errors import Refused
from airy.model.announce import entity_change
from airy.model.change import Change, ChangeKind
from airy.model.dead import DeadDelivery
from airy.model.entity import Channel, Tag
from airy.model.fold import fold
from airy.store.api import Applied, Landmark
from airy.store.sqlite import dead, guard, outbox
from airy.store.sqlite.batch import Batch, Tally
from airy.store.sqlite.key import key
from airy.store.sqlite.schema import COUNTERS, SHOWN, TOPIC_INDEX, WAITING
from airy.trace import HEADER, trace_id_of

Bad = list[tuple[Record, str]]

TRACE_BYTES_MAX = 55  # as we write them

_log = structlog.get_logger("airy.store")

_encode = msgspec.json.Encoder().encode

_PUT_OFFSET = 'INSERT INTO offsets VALUES(?, ?, ?) ON CONFLICT(topic, "partition") DO UPDATE SET next = excluded.next'
_PUT_LANDMARK = "INSERT OR REPLACE INTO landmark VALUES(1, ?, ?, ?)"
_PUT_FORGOTTEN = """
INSERT INTO forgotten VALUES(?, ?, ?) ON CONFLICT(topic, "partition") DO UPDATE SET below = excluded.below"""
_PUT_COUNTER = "UPDATE counters SET value = ? WHERE name = ?"
_PUT_ENTITY = "INSERT OR REPLACE INTO entities VALUES(?, ?, ?, ?, ?)"
_ENTITY = "SELECT body FROM entities WHERE topic = ? AND id = ?"
_DROP_ENTITY = "DELETE FROM entities WHERE topic = ? AND id = ?"
_SHOW = f"UPDATE conversations SET visible = {SHOWN} WHERE channel = ? AND visible = {WAITING}"
_LIVE = "UPDATE profiles SET live = ? WHERE channel_id = ? AND live <> ?"  # rare, and there are never many of them
_HIDE = f"UPDATE conversations SET visible = {WAITING} WHERE channel = ? AND visible = {SHOWN}"

_EVENTS = topics.EVENTS.name
_CHANNELS = topics.CHANNELS.name
_DEAD = topics.DEAD_DELIVERIES.name
_ENTITIES = {topic.name: topic for topic in topics.FOLDED if topic.name != _EVENTS}
_ANNOUNCED = {topics.CHANNELS.name: ChangeKind.CHANNEL_UPDATED, topics.TAGS.name: ChangeKind.TAG_UPDATED}


class _Run:
    """What a batch found, until it is committed."""

    def __init__(self, connection: apsw.Connection, tally: Tally) -> None:
        self.connection = connection
        self.tally = tally
        self.batch = Batch(connection, tally)
        self._changes: outbox.Changes = {}
        self.bad: Bad = []
        self.facts = 0
        self.change_count = 0

    def add(self, record: Record) -> None:
        self.batch.trace = _trace(record)
        if record.topic != _EVENTS:
            self._entity(record)
            return
        try:
            fact = topics.EVENTS.decode(record)
        except Refused as error:
            self.bad.append((record, str(error)))
            return
        if fact is None:
            self.bad.append((record, "a tombstone is not a fact"))
            return
        folded = fold(self.batch.state(fact.conversation_id), fact)
        if folded.accepted:
            self.facts += 1
            if folded.changes:
                self._announce(record, folded.changes)

    def _announce(self, record: Record, changes: tuple[Change, ...]) -> None:
        self._changes.setdefault(record.where, []).append((record.offset, changes, self.batch.trace))
        self.change_count += len(changes)

    def flush(self) -> None:
        self.batch.flush()
        self.connection.executemany(outbox.INSERT, outbox.rows(self._changes))
        self.tally.counts["changes"] += self.change_count

    # --- entities

    def _entity(self, record: Record) -> None:
        topic = _ENTITIES[record.topic]
        try:
            id_ = record.key.decode()
            entity = topic.decode(record)
        except (Refused, UnicodeDecodeError) as error:
            self.bad.append((record, str(error)))
            return
        if entity is not None and entity.id != id_:
            self.bad.append((record, f"its key is {id_!r}, its id is another"))
            return
        if record.topic == _DEAD:
            self._dead(id_, entity)
            return
        index = TOPIC_INDEX[record.topic]
        connected = not isinstance(entity, Channel) or entity.connected
        body = None if entity is None else _encode(entity)
        told = body is not None and self.connection.execute(_ENTITY, (index, key(id_))).get == body
        if entity is None:
            self.connection.execute(_DROP_ENTITY, (index, key(id_)))
        else:
            source = getattr(entity, "source", None)
            self.connection.execute(_PUT_ENTITY, (index, key(id_), source, connected, body))
        if record.topic == _CHANNELS:
            self._channel(id_, exists=entity is not None, live=entity is not None and connected)
        kind = _ANNOUNCED.get(record.topic)
        if kind is not None and isinstance(entity, Channel | Tag) and not told:
            change = entity_change(kind, entity, at_ms=record.timestamp_ms, write_id=record.header("id"))
            self._announce(record, (change,))

    def _dead(self, id_: str, one: DeadDelivery | None) -> None:
        more = dead.drop(self.connection, id_) if one is None else dead.put(self.connection, one, _encode(one))
        self.tally.counts[dead.COUNTER] += more

    def _channel(self, id_: str, *, exists: bool, live: bool) -> None:
        """Conversations appear with the record of their channel, and go with it.

        A removed channel costs a write per conversation it has: nobody removes one, they are disconnected.
        """
        self.batch.flush()
        self.connection.execute(_LIVE, (live, id_, live))
        self.connection.execute(_SHOW if exists else _HIDE, (key(id_),))
        moved = self.connection.changes()
        self.tally.counts["conversations"] += moved if exists else -moved
        existing = self.connection.execute("SELECT count(*) FROM entities WHERE topic = ?", (TOPIC_INDEX[_CHANNELS],))
        self.tally.counts["channels"] = existing.get


def _trace(record: Record) -> str:
    """Its `traceparent`, unread: whoever acts on it looks at it closely."""
    for name, value in record.headers:
        if name == HEADER and len(value) <= TRACE_BYTES_MAX:
            return value.decode("ascii", "replace")
    return ""


def _landmark(connection: apsw.Connection) -> Landmark | None:
    for partition, offset, fingerprint in connection.execute('SELECT "partition", "offset", fingerprint FROM landmark'):
        return Landmark(Position(_EVENTS, partition, offset), fingerprint)
    return None


Folded = tuple[Tally, Applied]
Way = Callable[[apsw.Connection, Tally, Sequence[Record]], Folded]


def _together(connection: apsw.Connection, tally: Tally, records: Sequence[Record]) -> Folded:
    run = _Run(connection, tally)
    for record in records:
        run.add(record)
    run.flush()
    return tally, Applied(run.facts, run.change_count, run.bad)


def _one_by_one(connection: apsw.Connection, tally: Tally, records: Sequence[Record]) -> Folded:
    facts = changes = 0
    bad: Bad = []
    for record in records:
        run = _Run(connection, tally.copy())
        connection.execute("SAVEPOINT record")
        try:
            run.add(record)
            run.flush()
        except guard.ENGINE:
            raise
        except Exception as error:  # noqa: BLE001 - any failure of one record is that record's, and is reported
            connection.execute("ROLLBACK TO record")
            bad.append((record, f"folding it failed: {type(error).__name__}: {error}"))
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            _log.error("record.failed", **where, trace_id=trace_id_of(_trace(record)), exc_info=error)
        else:
            tally = run.tally
            facts += run.facts
            changes += run.change_count
            bad += run.bad
        connection.execute("RELEASE record")
    return tally, Applied(facts, changes, bad)


class Projection:
    """Owns the writing connection. `positions` and `counts` are what the last commit says."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._positions = {
            TopicPartition(topics.FOLDED[topic].name, partition): offset
            for topic, partition, offset in connection.execute('SELECT topic, "partition", next FROM offsets')
        }
        self._landmark = _landmark(connection)
        self._forgotten = {
            TopicPartition(topics.FOLDED[topic].name, partition): offset
            for topic, partition, offset in connection.execute('SELECT topic, "partition", below FROM forgotten')
        }
        counters: list[Any] = connection.execute("SELECT name, value FROM counters").fetchall()
        self._tally = Tally(
            connection.execute("SELECT ifnull(max(n), 0) FROM conversations").get,
            connection.execute("SELECT ifnull(max(n), 0) FROM messages").get,
            dict.fromkeys(COUNTERS, 0) | dict(counters),
        )

    @property
    def positions(self) -> dict[TopicPartition, int]:
        return dict(self._positions)

    @property
    def landmark(self) -> Landmark | None:
        return self._landmark

    @property
    def forgotten(self) -> dict[TopicPartition, int]:
        """Below which offset changes may be gone."""
        return dict(self._forgotten)

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._tally.counts)

    def apply(self, records: Sequence[Record]) -> Applied:
        fresh, offsets = self._fresh(records)
        if not fresh:
            return Applied(0, 0, [])
        try:
            return self._transaction(fresh, offsets, _together)
        except guard.ENGINE:
            raise
        except Exception:  # noqa: BLE001 - whatever it was, the next line finds the record and reports it
            return self._transaction(fresh, offsets, _one_by_one)

    def forget(self, where: TopicPartition, below: int, groups_max: int) -> tuple[int, bool]:
        """Drop changes of facts before `below`; returns how many, and whether there may be more."""
        tally = self._tally.copy()
        with self._writing():
            gone, more = outbox.forget(self._connection, where, below, groups_max)
            tally.counts["changes"] -= gone
            self._write_counts(tally)
            floor = max(self._forgotten.get(where, 0), min(below, self._positions.get(where, 0)))
            if floor > self._forgotten.get(where, 0):
                self._connection.execute(_PUT_FORGOTTEN, (TOPIC_INDEX[where.topic], where.partition, floor))
        self._tally = tally
        if floor:
            self._forgotten[where] = floor
        return gone, more

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

    def _fresh(self, records: Sequence[Record]) -> tuple[list[Record], dict[TopicPartition, int]]:
        offsets: dict[TopicPartition, int] = {}
        fresh = []
        for record in records:
            where = record.where
            known = offsets.get(where)
            if known is None:
                if record.topic not in TOPIC_INDEX:
                    message = f"{record.topic} is not folded; tail {', '.join(TOPIC_INDEX)}"
                    raise ValueError(message)
                known = self._positions.get(where, 0)
            if record.offset >= known:
                fresh.append(record)
                offsets[where] = record.offset + 1
        return fresh, offsets

    def _transaction(self, records: list[Record], offsets: dict[TopicPartition, int], way: Way) -> Applied:
        connection = self._connection
        with self._writing():
            tally, applied = way(connection, self._tally.copy(), records)
            connection.executemany(
                _PUT_OFFSET, [(TOPIC_INDEX[where.topic], where.partition, offset) for where, offset in offsets.items()]
            )
            self._write_counts(tally)
            landmark = self._put_landmark(records)
        self._tally = tally
        self._landmark = landmark
        self._positions.update(offsets)
        return applied

    def _put_landmark(self, records: Sequence[Record]) -> Landmark | None:
        last = next((record for record in reversed(records) if record.topic == _EVENTS), None)
        if last is None:
            return self._landmark
        self._connection.execute(_PUT_LANDMARK, (last.partition, last.offset, last.fingerprint))
        return Landmark(last.position, last.fingerprint)

    def _write_counts(self, tally: Tally) -> None:
        before = self._tally.counts
        changed = [(value, name) for name, value in tally.counts.items() if value != before[name]]
        self._connection.executemany(_PUT_COUNTER, changed)

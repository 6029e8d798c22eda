"""The log on local disk: SQLite with one append-only table per topic, fsynced before anything is acknowledged.

Everything here blocks; the committer calls it off the event loop. A row holds a whole batch of records, because a
row per record costs half of the throughput; its rowid is the offset of its first record. Not a cluster: one process
at a time, guarded by a lock. An I/O error is the end of the process, since after a failed fsync nobody knows what
is on disk.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw
import msgspec

from airy.bus.lock import FileLock
from airy.bus.log import Compacted, Found, Span, fit
from airy.bus.record import Headers, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Refused, Unavailable

VERSION: Final = 1
APPLICATION: Final = 0x41697279  # "Airy", so that `file` knows what it looks at
SCAN_BYTES_MAX: Final = 8_388_608

Row = tuple[int, int, bytes, bytes | None, Headers, int]
"""A stored record: offset past the first of its batch, partition, key, value, headers, time."""

Statement = tuple[str, tuple[object, ...]]

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Row])

_SCHEMA = """
CREATE TABLE topic (  -- compacted: up to this offset, and this many records remained
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
  compacted INTEGER NOT NULL DEFAULT 0, kept INTEGER NOT NULL DEFAULT 0);
CREATE TABLE span (  -- "end" may lag behind the batches that follow it
  topic INTEGER NOT NULL, partition INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE committed (
  "group" TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
  PRIMARY KEY ("group", topic, partition)) WITHOUT ROWID;
"""
# A table per topic, so that each is written at its end only.
_CREATE = """CREATE TABLE {} (
  first INTEGER PRIMARY KEY, last INTEGER NOT NULL, newest_ms INTEGER NOT NULL, records BLOB NOT NULL)"""
_INSERT = "INSERT INTO {} VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM {} WHERE first = ?"
_UPDATE = "UPDATE {} SET records = ? WHERE first = ?"
_OLDEST = "SELECT * FROM {} ORDER BY first LIMIT ?"
_NEWEST = "SELECT * FROM {} WHERE first < ? ORDER BY first DESC LIMIT ?"
_FROM = """SELECT * FROM {0} WHERE first >= coalesce((SELECT max(first) FROM {0} WHERE first <= ?), 0)
  ORDER BY first"""
_SAVE = "INSERT OR REPLACE INTO span SELECT number, ?, ?, ? FROM topic WHERE name = ?"
_MARK = "INSERT OR REPLACE INTO committed VALUES {}"


class JournalFailed(Exception):
    """The disk cannot be trusted any more: end the process. What was acknowledged is there at its next start."""


class Batch(NamedTuple):
    """Records of one topic, written as one row."""

    first: int
    last: int
    newest_ms: int
    rows: list[Row]
    size: int = 0  # on disk


class Mark(NamedTuple):
    """A committed offset."""

    group: str
    where: TopicPartition
    offset: int


class Journal:
    """Made by `open_journal`. Calls that write come from one thread at a time, and so do calls of `read`."""

    def __init__(self, path: Path, lock: FileLock, *, inline: bool, vfs: str | None) -> None:
        self.path = path
        self.inline = inline  # on the event loop: for virtual time, where a thread would be an unknown delay
        self.wal_pages = 0
        self._lock = lock
        self._vfs = vfs
        self._failed: BaseException | None = None
        self._tables: dict[str, str] = {}
        self._spans: dict[str, list[Span]] = {}
        self._writer = self._connect()
        self._writer.set_wal_hook(self._written)
        self._migrate()
        self._reader = self._connect()
        self._checkpointer = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the write-ahead log into the database, unless the disk has failed, and let go of the lock."""
        try:
            if self._failed is None:
                self.save()
                with self._guarded():
                    self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            for connection in (self._reader, self._checkpointer, self._writer):
                connection.close()
            self._lock.release()

    # --- what is in it

    def declare(self, topics: Iterable[Topic[Any]]) -> dict[str, list[Span]]:
        """Create what is missing. Where every partition of these topics starts and ends."""
        with self._transaction():
            known = {name: (number, count) for number, name, count in self._topics()}
            for topic in topics:
                if topic.name not in known:
                    known[topic.name] = len(known) + 1, topic.partitions
                    self._create(topic, len(known))
                number, count = known[topic.name]
                if count != topic.partitions:
                    text = f"{topic.name} has {count} partitions in {self.path}, not {topic.partitions}"
                    raise Refused(f"{text}: counts are frozen at creation, declare it as it was")
                self._tables[topic.name] = _table(number, topic.name)
                self._spans[topic.name] = self._find_spans(topic, number)
        return {name: list(spans) for name, spans in self._spans.items()}

    def marks(self) -> list[Mark]:
        rows = self._all('SELECT "group", topic, partition, offset FROM committed')
        return [Mark(group, TopicPartition(topic, number), offset) for group, topic, number, offset in rows]

    # --- writing

    def append(self, batches: Sequence[tuple[str, Batch]], marks: Sequence[Mark]) -> None:
        """One transaction; when it returns, all is on disk. Raises `Unavailable` when the disk is full."""
        statements = [self._insert(topic, batch) for topic, batch in batches]
        if marks:
            statements.append(_replace(marks))
        # One statement is a transaction by itself. Between two, a thread has to get the interpreter back, which takes
        # milliseconds while the event loop is busy.
        with self._transaction() if len(statements) > 1 else self._guarded():
            for sql, values in statements:
                self._all(sql, values)
        for topic, batch in batches:
            _extend(self._spans[topic], batch)

    def rewrite(
        self, topic: str, batches: Mapping[int, Batch | None], *, starts: Mapping[int, int] | None = None
    ) -> None:
        """Replace batches, by their first offset; None removes one. `starts` move where partitions begin."""
        spans = list(self._spans[topic])
        for partition, start in (starts or {}).items():
            spans[partition] = Span(start, spans[partition].end)
        table = self._tables[topic]
        with self._transaction():
            for first, batch in batches.items():
                if batch is None:
                    self._all(_DELETE.format(table), (first,))
                else:
                    blob = _ENCODER.encode(batch.rows)
                    self._all(_UPDATE.format(table), (blob, first))
            self._save(topic, spans)
        self._spans[topic] = spans

    def save(self) -> None:
        """Note where partitions end, so that opening need not look at every batch."""
        with self._transaction():
            for topic, spans in self._spans.items():
                self._save(topic, spans)

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database. May run beside `append`, in another thread."""
        with self._guarded():
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    # --- reading

    def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> Found:
        """What is wanted, by partition from an offset on, as it was written; at least one record if there is one."""
        start = min(wanted.values())
        horizon = max(start, *(span.end for span in self._spans[topic]))  # first: the scan then sees all below
        found: list[Record] = []
        size = scanned = 0
        with self._guarded(), closing(self._batches_from(self._reader, topic, start)) as batches:
            for batch in batches:
                some = _pick(topic, batch, wanted)
                count, more = fit(some[: records_max - len(found)], bytes_max - size, force=not found)
                found += some[:count]
                size += more
                scanned += batch.size
                if count < len(some):
                    return Found(found, some[count].offset, size)
                if len(found) >= records_max or scanned >= SCAN_BYTES_MAX:
                    return Found(found, max(start, batch.last + 1), size)
        return Found(found, horizon, size)

    def oldest(self, topic: str, batches_max: int) -> list[Batch]:
        sql = _OLDEST.format(self._tables[topic])
        return [self._decode(values) for values in self._all(sql, (batches_max,))]

    def newest_below(self, topic: str, below: int, batches_max: int) -> list[Batch]:
        """Newest first."""
        sql = _NEWEST.format(self._tables[topic])
        return [self._decode(values) for values in self._all(sql, (below, batches_max))]

    def compacted(self, topic: str) -> Compacted:
        ((upto, kept),) = self._all("SELECT compacted, kept FROM topic WHERE name = ?", (topic,))
        return Compacted(upto, kept)

    def note_compacted(self, topic: str, compacted: Compacted) -> None:
        with self._transaction():
            self._all("UPDATE topic SET compacted = ?, kept = ? WHERE name = ?", (*compacted, topic))

    # --- how it works

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs)
        connection.set_busy_timeout(5_000)
        connection.pragma("synchronous", "FULL")
        connection.pragma("fullfsync", True)  # macOS: otherwise a flush stops at the drive's cache
        connection.pragma("wal_autocheckpoint", 0)
        return connection

    def _migrate(self) -> None:
        if self._writer.pragma("application_id") not in (0, APPLICATION):
            raise Refused(f"{self.path} is not a journal of Airy: choose another directory")
        version = self._writer.pragma("user_version")
        if version > VERSION:
            text = f"{self.path} is of version {version}, this Airy reads {VERSION}"
            raise Refused(f"{text}: use the Airy that wrote it, or choose another directory")
        if self._writer.pragma("journal_mode", "wal") != "wal":
            raise Refused(f"{self.path} cannot have a write-ahead log there: choose a local disk")
        if version == 0:
            with self._transaction():
                self._all(_SCHEMA)
                self._writer.pragma("application_id", APPLICATION)
                self._writer.pragma("user_version", VERSION)

    def _insert(self, topic: str, batch: Batch) -> Statement:
        values = batch.first, batch.last, batch.newest_ms, _ENCODER.encode(batch.rows)
        return _INSERT.format(self._tables[topic]), values

    def _topics(self) -> list[Any]:
        return self._all("SELECT number, name, partitions FROM topic ORDER BY number")

    def _create(self, topic: Topic[Any], number: int) -> None:
        values = number, topic.name, topic.partitions
        self._all("INSERT INTO topic (number, name, partitions) VALUES (?, ?, ?)", values)
        self._all(_CREATE.format(_table(number, topic.name)))

    def _find_spans(self, topic: Topic[Any], number: int) -> list[Span]:
        """What was saved, and what the batches written since then add."""
        spans = [Span(0, 0)] * topic.partitions
        saved = self._all('SELECT partition, start, "end" FROM span WHERE topic = ?', (number,))
        for partition, start, end in saved:
            spans[partition] = Span(start, end)
        for batch in self._batches_from(self._writer, topic.name, max(span.end for span in spans)):
            _extend(spans, batch)
        return spans

    def _save(self, topic: str, spans: Sequence[Span]) -> None:
        rows = [(partition, span.start, span.end, topic) for partition, span in enumerate(spans)]
        self._writer.executemany(_SAVE, rows)

    def _batches_from(self, connection: apsw.Connection, topic: str, offset: int) -> Generator[Batch, None, None]:
        """Beginning with the one that holds `offset`, if any does."""
        sql = _FROM.format(self._tables[topic])
        with closing(connection.execute(sql, (offset,))) as cursor:
            for values in cursor:
                yield self._decode(values)

    def _decode(self, values: Any) -> Batch:
        first, last, newest_ms, blob = values
        try:
            return Batch(first, last, newest_ms, _DECODER.decode(blob), len(blob))
        except msgspec.MsgspecError as error:
            self._failed = error
            raise JournalFailed(f"{self.path} is damaged: the batch at {first} is unreadable") from error

    def _all(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        return self._writer.execute(sql, values).fetchall()

    def _written(self, _: apsw.Connection, __: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guarded():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """A full disk can be helped; any other error of the disk is final, for this object and its process."""
        if self._failed is not None:
            raise JournalFailed(f"{self.path} has failed before: end the process") from self._failed
        try:
            yield
        except apsw.FullError as error:
            raise Unavailable(f"the disk of {self.path} is full: free some space") from error
        except apsw.Error as error:
            self._failed = error
            raise JournalFailed(f"{self.path}: {error}") from error


def open_journal(directory: Path, *, inline: bool = False, vfs: str | None = None) -> Journal:
    """Create or open the journal of a directory. Raises `InUse` while another process has it open."""
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
        _sync(directory.parent)
    lock = FileLock(directory / "journal.lock")
    path = directory / "journal.db"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's other files follow it
        _sync(directory)
        return Journal(path, lock, inline=inline, vfs=vfs)
    except BaseException as error:
        lock.release()
        if isinstance(error, apsw.Error):
            raise JournalFailed(f"{path}: {error}") from error
        raise


def _sync(directory: Path) -> None:
    """Make a new name in it survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _table(number: int, topic: str) -> str:
    """Readable in any SQLite tool. A quote in a topic's name would end the name in the statement."""
    if '"' in topic:
        raise Refused(f"{topic!r} is no name for a topic: use letters, digits, dots and hyphens")
    return f'"{number} {topic}"'


def _replace(marks: Sequence[Mark]) -> Statement:
    values = [value for group, where, offset in marks for value in (group, where.topic, where.partition, offset)]
    return _MARK.format(", ".join(["(?, ?, ?, ?)"] * len(marks))), tuple(values)


def _pick(topic: str, batch: Batch, wanted: Mapping[int, int]) -> list[Record]:
    first = batch.first
    return [
        Record(topic, partition, first + past, key, value, headers, at_ms)
        for past, partition, key, value, headers, at_ms in batch.rows
        if partition in wanted and first + past >= wanted[partition]
    ]


def _extend(spans: list[Span], batch: Batch) -> None:
    for past, partition, *_ in batch.rows:
        start, end = spans[partition]
        if batch.first + past >= end:
            spans[partition] = Span(start, batch.first + past + 1)

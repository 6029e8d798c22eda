"""The log on local disk: SQLite with one append-only table per topic, fsynced before a publish is acknowledged.

All calls block; the committer runs them in threads. A row holds a whole batch of records, because a row per record
halves the throughput; its rowid is the offset of its first record. One process at a time, enforced by a file lock. An
I/O error ends the process, because after a failed fsync the content of the disk is unknown.
"""

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import disk_usage
from typing import Any, Final, NamedTuple, Self

import apsw
import msgspec

from airy.bus.memory.log import CompactionState, OffsetRange, ReadResult, fitting
from airy.bus.record import Headers, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import DiskFull, Refused
from airy.file_lock import FileLock

VERSION: Final = 1
APPLICATION: Final = 0x41697279  # "Airy": the application id `file` prints
SCAN_BYTES_MAX: Final = 8_388_608
SPACE_BYTES_MIN: Final = 1_048_576  # with less, an I/O error at the start means a full disk

Row = tuple[int, int, bytes, bytes | None, Headers, int]
"""A stored record: offset relative to its batch, partition, key, value, headers, time in ms."""

Statement = tuple[str, tuple[object, ...]]

_ENCODER = msgspec.msgpack.Encoder()
decode_rows = msgspec.msgpack.Decoder(list[Row]).decode

_SCHEMA = """
CREATE TABLE topic (  -- the last compaction: up to this offset, keeping this many records
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
  compacted INTEGER NOT NULL DEFAULT 0, kept INTEGER NOT NULL DEFAULT 0);
CREATE TABLE span (  -- "end" may be older than the newest batches
  topic INTEGER NOT NULL, partition INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
  PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE committed (
  "group" TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
  PRIMARY KEY ("group", topic, partition)) WITHOUT ROWID;
"""
# A table per topic, so that each is only appended to.
_CREATE = """CREATE TABLE {} (
  first INTEGER PRIMARY KEY, last INTEGER NOT NULL, newest_ms INTEGER NOT NULL, records BLOB NOT NULL)"""
_INSERT = "INSERT INTO {} VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM {} WHERE first = ?"
_UPDATE = "UPDATE {} SET records = ? WHERE first = ?"
_OLDEST = "SELECT * FROM {} ORDER BY first LIMIT ?"
_NEWEST = "SELECT * FROM {} WHERE first < ? ORDER BY first DESC LIMIT ?"
_FROM = """SELECT * FROM {0} WHERE first >= coalesce((SELECT max(first) FROM {0} WHERE first <= ?), 0)
  ORDER BY first"""
_AT = "SELECT * FROM {} WHERE newest_ms >= ? ORDER BY first LIMIT 1"
_SAVE = "INSERT OR REPLACE INTO span SELECT number, ?, ?, ? FROM topic WHERE name = ?"
_COMMIT = "INSERT OR REPLACE INTO committed VALUES {}"


class JournalFailed(Exception):
    """The disk failed: end the process. Acknowledged records are there at its next start."""


class RecordBatch(NamedTuple):
    """Records of one topic, stored as one row."""

    first: int
    last: int
    newest_ms: int
    rows: list[Row]
    size: int = 0  # on disk


class CommittedOffset(NamedTuple):
    """Of a group, in one partition."""

    group: str
    topic_partition: TopicPartition
    offset: int


class Journal:
    """Made by `open_journal`. Writing calls come from one thread at a time, and so do calls of `read`."""

    def __init__(self, path: Path, lock: FileLock, *, inline: bool, vfs: str | None) -> None:
        self.path = path
        self.inline = inline  # calls run on the event loop: in virtual time a thread adds an unknown delay
        self.wal_pages = 0
        self._lock = lock
        self._vfs = vfs
        self._failed: BaseException | None = None
        self._tables: dict[str, str] = {}
        self._ranges: dict[str, list[OffsetRange]] = {}
        self._writer = self._connect()
        self._writer.set_wal_hook(self._on_wal_write)
        self._migrate()
        self._reader = self._connect()
        self._checkpointer = self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Checkpoint the write-ahead log, unless the disk has failed, and release the lock."""
        try:
            if self._failed is None:
                self.save()
                with self._guarded():
                    self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        finally:
            for connection in (self._reader, self._checkpointer, self._writer):
                connection.close()
            self._lock.release()

    # --- contents

    def declare(self, topics: Iterable[Topic[Any]]) -> dict[str, list[OffsetRange]]:
        """Create missing topics. Returns the offset range of every partition. Raises `Refused` on another count."""
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
                self._ranges[topic.name] = self._load_ranges(topic, number)
        return {name: list(ranges) for name, ranges in self._ranges.items()}

    def committed_offsets(self) -> list[CommittedOffset]:
        rows = self._query('SELECT "group", topic, partition, offset FROM committed')
        return [CommittedOffset(group, TopicPartition(topic, number), offset) for group, topic, number, offset in rows]

    # --- writing

    def append(self, batches: Sequence[tuple[str, RecordBatch]], commits: Sequence[CommittedOffset]) -> None:
        """One transaction; on disk when it returns. Raises `DiskFull`."""
        statements = [self._insert(topic, batch) for topic, batch in batches]
        if commits:
            statements.append(_replace(commits))
        # A single statement is a transaction by itself. Between two statements the thread has to reacquire the GIL,
        # which takes milliseconds while the event loop is busy.
        with self._transaction() if len(statements) > 1 else self._guarded():
            for sql, values in statements:
                self._query(sql, values)
        for topic, batch in batches:
            _extend(self._ranges[topic], batch)

    def rewrite(
        self, topic: str, batches: Mapping[int, RecordBatch | None], *, starts: Mapping[int, int] | None = None
    ) -> None:
        """Replace batches, by their first offset; None removes one. `starts` are new starts of partitions."""
        ranges = list(self._ranges[topic])
        for partition, start in (starts or {}).items():
            ranges[partition] = OffsetRange(start, ranges[partition].end)
        table = self._tables[topic]
        with self._transaction():
            for first, batch in batches.items():
                if batch is None:
                    self._query(_DELETE.format(table), (first,))
                else:
                    blob = _ENCODER.encode(batch.rows)
                    self._query(_UPDATE.format(table), (blob, first))
            self._save(topic, ranges)
        self._ranges[topic] = ranges

    def save(self) -> None:
        """Save where partitions end, so that opening does not read every batch."""
        with self._transaction():
            for topic, ranges in self._ranges.items():
                self._save(topic, ranges)

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database. May run beside `append`, in another thread."""
        with self._guarded():
            self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    # --- reading

    def read(self, topic: str, wanted: Mapping[int, int], records_max: int, bytes_max: int) -> ReadResult:
        """Records in write order from a start offset per partition; at least one if there is one."""
        start = min(wanted.values())
        horizon = max(
            start, *(each.end for each in self._ranges[topic])
        )  # read before the scan, which then covers everything below
        found: list[Record] = []
        size = scanned = 0
        with self._guarded(), closing(self._batches_from(self._reader, topic, start)) as batches:
            for batch in batches:
                some = _wanted_records(topic, batch, wanted)
                count, more = fitting(some[: records_max - len(found)], bytes_max - size, force=not found)
                found += some[:count]
                size += more
                scanned += batch.size
                if count < len(some):
                    return ReadResult(found, some[count].offset, size)
                if len(found) >= records_max or scanned >= SCAN_BYTES_MAX:
                    return ReadResult(found, max(start, batch.last + 1), size)
        return ReadResult(found, horizon, size)

    def offset_at(self, topic: str, at_ms: int) -> int | None:
        """The first offset whose record is as new as `at_ms`. Reads the times of all batches before it."""
        sql = _AT.format(self._tables[topic])
        with self._guarded():
            for values in self._reader.execute(sql, (at_ms,)):
                batch = self._decode(values)
                return next(batch.first + past for past, *_, newest_ms in batch.rows if newest_ms >= at_ms)
        return None

    def oldest(self, topic: str, batches_max: int) -> list[RecordBatch]:
        sql = _OLDEST.format(self._tables[topic])
        return [self._decode(values) for values in self._query(sql, (batches_max,))]

    def newest_below(self, topic: str, below: int, batches_max: int) -> list[RecordBatch]:
        """Newest first."""
        sql = _NEWEST.format(self._tables[topic])
        return [self._decode(values) for values in self._query(sql, (below, batches_max))]

    def compaction_state(self, topic: str) -> CompactionState:
        ((upto, kept),) = self._query("SELECT compacted, kept FROM topic WHERE name = ?", (topic,))
        return CompactionState(upto, kept)

    def set_compaction_state(self, topic: str, state: CompactionState) -> None:
        with self._transaction():
            self._query("UPDATE topic SET compacted = ?, kept = ? WHERE name = ?", (*state, topic))

    # --- implementation

    def _connect(self) -> apsw.Connection:
        connection = apsw.Connection(str(self.path), vfs=self._vfs)
        connection.set_busy_timeout(5_000)
        connection.pragma("synchronous", "FULL")
        connection.pragma("fullfsync", True)  # macOS: a plain fsync stops at the cache of the drive
        connection.pragma("wal_autocheckpoint", 0)
        return connection

    def _migrate(self) -> None:
        if self._writer.pragma("application_id") not in (0, APPLICATION):
            raise Refused(f"{self.path} is not an Airy journal: choose another directory")
        version = self._writer.pragma("user_version")
        if version > VERSION:
            text = f"{self.path} has version {version}, this Airy reads {VERSION}"
            raise Refused(f"{text}: use the Airy that wrote it, or choose another directory")
        if self._writer.pragma("journal_mode", "wal") != "wal":
            raise Refused(f"{self.path} cannot have a write-ahead log there: choose a local disk")
        if version == 0:
            with self._transaction():
                self._query(_SCHEMA)
                self._writer.pragma("application_id", APPLICATION)
                self._writer.pragma("user_version", VERSION)

    def _insert(self, topic: str, batch: RecordBatch) -> Statement:
        values = batch.first, batch.last, batch.newest_ms, _ENCODER.encode(batch.rows)
        return _INSERT.format(self._tables[topic]), values

    def _topics(self) -> list[Any]:
        return self._query("SELECT number, name, partitions FROM topic ORDER BY number")

    def _create(self, topic: Topic[Any], number: int) -> None:
        values = number, topic.name, topic.partitions
        self._query("INSERT INTO topic (number, name, partitions) VALUES (?, ?, ?)", values)
        self._query(_CREATE.format(_table(number, topic.name)))

    def _load_ranges(self, topic: Topic[Any], number: int) -> list[OffsetRange]:
        """The saved ranges, extended by the batches written since."""
        ranges = [OffsetRange(0, 0)] * topic.partitions
        saved = self._query('SELECT partition, start, "end" FROM span WHERE topic = ?', (number,))
        for partition, start, end in saved:
            ranges[partition] = OffsetRange(start, end)
        for batch in self._batches_from(self._writer, topic.name, max(each.end for each in ranges)):
            _extend(ranges, batch)
        return ranges

    def _save(self, topic: str, ranges: Sequence[OffsetRange]) -> None:
        rows = [(partition, each.start, each.end, topic) for partition, each in enumerate(ranges)]
        self._writer.executemany(_SAVE, rows)

    def _batches_from(self, connection: apsw.Connection, topic: str, offset: int) -> Generator[RecordBatch, None, None]:
        """Starts with the batch that holds `offset`, if there is one."""
        sql = _FROM.format(self._tables[topic])
        with closing(connection.execute(sql, (offset,))) as cursor:
            for values in cursor:
                yield self._decode(values)

    def _decode(self, values: Any) -> RecordBatch:
        first, last, newest_ms, blob = values
        try:
            return RecordBatch(first, last, newest_ms, decode_rows(blob), len(blob))
        except msgspec.MsgspecError as error:
            self._failed = error
            raise JournalFailed(f"{self.path} is damaged: the batch at {first} is unreadable") from error

    def _query(self, sql: str, values: tuple[object, ...] = ()) -> list[Any]:
        return self._writer.execute(sql, values).fetchall()

    def _on_wal_write(self, _: apsw.Connection, __: str, pages: int) -> int:
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
        """A full disk may be fixed; any other disk error is final for this object and its process."""
        if self._failed is not None:
            raise JournalFailed(f"{self.path} has failed before: end the process") from self._failed
        try:
            yield
        except apsw.FullError as error:
            raise DiskFull(f"the disk of {self.path} is full: free some space") from error
        except apsw.Error as error:
            self._failed = error
            raise JournalFailed(f"{self.path}: {error}") from error


def open_journal(directory: Path, *, inline: bool = False, vfs: str | None = None) -> Journal:
    """Create or open the journal of a directory. Raises `InUse` while another process has it open,
    `Refused` for a path that an operator has to correct, `DiskFull`.
    """
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
        if isinstance(error, apsw.CantOpenError | apsw.ReadOnlyError):
            raise Refused(f"cannot use {path}: {error}; correct the path or its permissions") from error
        if isinstance(error, apsw.FullError | apsw.IOError) and disk_usage(directory).free < SPACE_BYTES_MIN:
            raise DiskFull(f"the disk of {path} is full: free some space") from error
        if isinstance(error, apsw.Error):
            raise JournalFailed(f"{path}: {error}") from error
        raise


def _sync(directory: Path) -> None:
    """Make a new directory entry survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _table(number: int, topic: str) -> str:
    """A quoted table name. A quote in the topic's name would end it, so that is refused."""
    if '"' in topic:
        raise Refused(f"{topic!r} is not a valid topic name: use letters, digits, dots and hyphens")
    return f'"{number} {topic}"'


def _replace(commits: Sequence[CommittedOffset]) -> Statement:
    values = [value for group, tp, offset in commits for value in (group, tp.topic, tp.partition, offset)]
    return _COMMIT.format(", ".join(["(?, ?, ?, ?)"] * len(commits))), tuple(values)


def _wanted_records(topic: str, batch: RecordBatch, wanted: Mapping[int, int]) -> list[Record]:
    first = batch.first
    return [
        Record(topic, partition, first + past, key, value, headers, at_ms)
        for past, partition, key, value, headers, at_ms in batch.rows
        if partition in wanted and first + past >= wanted[partition]
    ]


def _extend(ranges: list[OffsetRange], batch: RecordBatch) -> None:
    for past, partition, *_ in batch.rows:
        start, end = ranges[partition]
        if batch.first + past >= end:
            ranges[partition] = OffsetRange(start, batch.first + past + 1)

"""Looks at a journal without changing it, also while a process has it open: for `airy doctor`."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Literal

import apsw
import msgspec
from msgspec import Struct

from airy.bus.memory.journal import APPLICATION, VERSION, decode_rows
from airy.bus.record import Position, Record
from airy.errors import Unavailable

BUSY_MS = 1_000
CHECK_S = 3.0  # of the pages, which takes longer the larger the file is
STEPS_PER_LOOK = 10_000  # instructions of SQLite between two looks at the time

JournalState = Literal["missing", "ok", "foreign", "newer", "damaged", "unreadable"]


class JournalFacts(Struct, frozen=True):
    """`partitions`: counts by topic. `checked`: every page was read within `CHECK_S`."""

    path: Path
    state: JournalState
    detail: str = ""
    version: int = 0
    partitions: Mapping[str, int] = {}
    checked: bool = False


def inspect_journal(directory: Path) -> JournalFacts:
    """Blocking: for a worker thread."""
    path = directory / "journal.db"
    if not path.exists():
        return JournalFacts(path, "missing")
    try:
        with _reading(path) as connection:
            return _facts(path, connection)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        return JournalFacts(path, "damaged", str(error))
    except apsw.Error as error:
        return JournalFacts(path, "unreadable", str(error))


def _facts(path: Path, connection: apsw.Connection) -> JournalFacts:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if not tables and not application:
        return JournalFacts(path, "missing")  # created, and nothing written yet
    if application != APPLICATION:
        return JournalFacts(path, "foreign")
    if version > VERSION:
        return JournalFacts(path, "newer", version=version)
    partitions = dict(connection.execute("SELECT name, partitions FROM topic"))
    verdict = _quick_check(connection)
    if verdict not in ("ok", None):
        return JournalFacts(path, "damaged", verdict or "", version)
    return JournalFacts(path, "ok", version=version, partitions=partitions, checked=verdict is not None)


def _quick_check(connection: apsw.Connection) -> str | None:
    """`ok` or the first error; None if it took too long."""
    until = monotonic() + CHECK_S
    connection.set_progress_handler(lambda: monotonic() > until, STEPS_PER_LOOK)
    try:
        return str(connection.execute("PRAGMA quick_check(1)").get)
    except apsw.InterruptError:
        return None
    finally:
        connection.set_progress_handler(None)


def fingerprint_at(directory: Path, position: Position) -> int | None:
    """The fingerprint of the record at this position; None: there is none. Blocking. Raises `Unavailable`."""
    try:
        return _fingerprint_at(directory, position)
    except (apsw.Error, msgspec.MsgspecError) as error:
        raise Unavailable(f"the journal cannot be read: {error}") from error


def _fingerprint_at(directory: Path, position: Position) -> int | None:
    with _reading(directory / "journal.db") as connection:
        number = connection.execute("SELECT number FROM topic WHERE name = ?", (position.topic,)).get
        if number is None:
            return None
        table = f'"{number} {position.topic}"'
        sql = f"SELECT first, records FROM {table} WHERE first <= ? ORDER BY first DESC LIMIT 1"  # noqa: S608 - a topic
        for first, blob in connection.execute(sql, (position.offset,)):
            for past, partition, key, value, headers, at_ms in decode_rows(blob):
                if (partition, first + past) == (position.partition, position.offset):
                    return Record(position.topic, partition, first + past, key, value, headers, at_ms).fingerprint
    return None


def lock_holder(directory: Path) -> str:
    """The id of the process that has the journal open, as far as it is known; empty: none has."""
    path = directory / "journal.lock"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
    except OSError:
        return ""  # no locks there, which has a check of its own
    else:
        return ""
    finally:
        os.close(descriptor)


@contextmanager
def _reading(path: Path) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        connection.set_busy_timeout(BUSY_MS)
        yield connection

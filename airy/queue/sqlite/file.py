"""The SQLite connection of the embedded queue: opening, transactions, checkpoints, and which errors are transient.

A commit does not wait for the disk (WAL, synchronous NORMAL): a power cut rolls back whole transactions, from which Q-1
recovers. Only checkpoints wait for the disk, and they run on a thread. A file that is damaged or of an unknown version
is renamed and replaced by an empty one: the queue is a cache.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio.to_thread
import apsw
from anyio.lowlevel import checkpoint

from airy.errors import Refused, Unavailable
from airy.queue.sqlite import sql

WAL_PAGES_MAX = 2_000  # 8 MB; beyond that a checkpoint is due
BUSY_MS = 2_000
IN_MEMORY = ":memory:"
TRANSIENT = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.NoMemError,
)


class QueueFile:
    """`rolled_back` is called after every rollback, to discard what was read in the transaction."""

    def __init__(self, path: Path | str, rolled_back: Callable[[], None]) -> None:
        self._path = str(path)
        self._rolled_back = rolled_back
        self._connection: apsw.Connection | None = None
        self._wal_pages = 0
        self._checkpointing = False

    def open(self) -> None:
        """Raises `Refused` for a path that an operator has to correct."""
        try:
            self._connection = self._new_connection()
        except (apsw.CorruptError, apsw.NotADBError):
            self._rename()
            self._connection = self._new_connection()
        except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
            raise Refused(f"cannot use {self._path}: {error}; correct the path or its permissions") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        try:
            yield self._open_connection()
        except TRANSIENT as error:
            raise Unavailable(f"the webhook queue cannot be read: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """One transaction."""
        connection = self._open_connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._rolled_back()
            if isinstance(error, TRANSIENT):
                raise Unavailable(f"the webhook queue cannot be written: {error}") from error
            raise

    async def checkpoint_if_needed(self) -> None:
        """Yields to the event loop; moves the write-ahead log into the file once it is large."""
        if self._wal_pages < WAL_PAGES_MAX or self._checkpointing:
            await checkpoint()
            return
        self._checkpointing = True
        try:
            await anyio.to_thread.run_sync(_checkpoint, self._path)
        finally:
            self._checkpointing = False
            self._wal_pages = 0

    def _new_connection(self) -> apsw.Connection:
        if self._path != IN_MEMORY:
            with suppress(OSError):  # SQLite reports it
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its other files follow
        connection = apsw.Connection(self._path)
        try:
            connection.set_busy_timeout(BUSY_MS)
            connection.execute(sql.PRAGMAS).fetchall()  # each returns a row, and the next runs after it is read
            _create_or_check(connection)
        except BaseException:
            connection.close()
            raise
        connection.set_wal_hook(self._committed)
        return connection

    def _rename(self) -> None:
        """Keeps the unreadable file for inspection."""
        for suffix in ("", "-wal", "-shm"):
            file = Path(self._path + suffix)
            if file.exists():
                file.rename(f"{self._path}.unreadable{suffix}")

    def _open_connection(self) -> apsw.Connection:
        if self._connection is None:
            raise Unavailable("the webhook queue is not open")
        return self._connection

    def _committed(self, _connection: apsw.Connection, _database: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK


def _create_or_check(connection: apsw.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.pragma("user_version")
    if version == 0:
        connection.execute(sql.SCHEMA)
        connection.execute(sql.SET_VERSION)
    elif version in sql.MIGRATIONS:
        for step in range(version, sql.VERSION):
            connection.execute(sql.MIGRATIONS[step])
        connection.execute(sql.SET_VERSION)
    connection.execute("COMMIT")
    if version not in (0, sql.VERSION, *sql.MIGRATIONS):
        raise apsw.NotADBError(f"unknown version {version} of the tables")
    connection.execute(sql.STATS).fetchone()


def _checkpoint(path: str) -> None:
    """On a connection of its own; passive, so that it blocks no reader or writer."""
    connection = apsw.Connection(path)
    try:
        connection.execute(sql.JOB_COUNT).fetchall()  # a connection opens the log with its first read
        connection.wal_checkpoint()
    except apsw.BusyError:
        pass  # another process is checkpointing
    finally:
        connection.close()

"""The SQLite connection of the embedded queue: opening, transactions, checkpoints, and which errors are
transient.

A commit does not wait for the disk (WAL, synchronous NORMAL): a power cut rolls back whole transactions,
and Q-1 heals that. Only checkpoints wait for the disk, and they run on a thread. A file that is damaged
or of another version is put aside: the queue is a cache.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread
import apsw
from anyio.lowlevel import checkpoint

from airy.actors.webhooks import queue_sql as sql
from airy.errors import Unavailable

WAL_PAGES_MAX = 2_000  # 8 MB: then a checkpoint is due
BUSY_MS = 2_000
TRANSIENT = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.NoMemError,
)


class QueueFile:
    """`rolled_back` is called whenever a transaction was: what was learned in it is not true."""

    def __init__(self, path: Path | str, rolled_back: Callable[[], None]) -> None:
        self._path = str(path)
        self._rolled_back = rolled_back
        self._connection: apsw.Connection | None = None
        self._wal_pages = 0
        self._checkpointing = False

    def open(self) -> None:
        try:
            self._connection = self._opened()
        except (apsw.CorruptError, apsw.NotADBError):
            self._put_aside()
            self._connection = self._opened()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        try:
            yield self._open()
        except TRANSIENT as error:
            raise Unavailable(f"the webhook queue cannot be read: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[apsw.Connection]:
        """One transaction."""
        connection = self._open()
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

    async def breathe(self) -> None:
        """Let others run; and now and then move the write-ahead log into the file."""
        if self._wal_pages < WAL_PAGES_MAX or self._checkpointing:
            await checkpoint()
            return
        self._checkpointing = True
        try:
            await anyio.to_thread.run_sync(_checkpoint, self._path)
        finally:
            self._checkpointing = False
            self._wal_pages = 0

    def _opened(self) -> apsw.Connection:
        connection = apsw.Connection(self._path)
        try:
            connection.set_busy_timeout(BUSY_MS)
            connection.execute(sql.PRAGMAS).fetchall()  # each gives a row, and the next waits until it is read
            _create_or_check(connection)
        except BaseException:
            connection.close()
            raise
        connection.set_wal_hook(self._committed)
        return connection

    def _put_aside(self) -> None:
        """So that somebody can look at what happened."""
        for suffix in ("", "-wal", "-shm"):
            file = Path(self._path + suffix)
            if file.exists():
                file.rename(f"{self._path}.unreadable{suffix}")

    def _open(self) -> apsw.Connection:
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
    elif version in sql.GROW:
        for step in range(version, sql.VERSION):
            connection.execute(sql.GROW[step])
        connection.execute(sql.SET_VERSION)
    connection.execute("COMMIT")
    if version not in (0, sql.VERSION, *sql.GROW):
        raise apsw.NotADBError(f"its tables are of version {version}")
    connection.execute(sql.STATS).fetchone()


def _checkpoint(path: str) -> None:
    """On a connection of its own; passive, so that nobody waits for it."""
    connection = apsw.Connection(path)
    try:
        connection.execute(sql.JOBS).fetchall()  # until it has read, a connection does not know that there is a log
        connection.wal_checkpoint()
    except apsw.BusyError:
        pass  # another process is at it
    finally:
        connection.close()

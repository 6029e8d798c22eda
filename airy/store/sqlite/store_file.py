"""The file of a store: open, recognise, rebuild, checkpoint.

A file has three connections: one writes, one reads committed data, one holds a snapshot during a long query. In memory
there is one for all, and writers wait for long queries.

`synchronous=NORMAL`: a power cut may lose the last transactions, never a part of one. Their offsets are lost with them,
so they are folded again from the log. Checkpoints run on request in a worker thread, not on a commit that reaches a
size.
"""

from pathlib import Path

import apsw
import structlog

from airy.errors import Refused
from airy.store.sqlite import filter_sql, schema

WRITE_CACHE_KIB = 16_384
READ_CACHE_KIB = 4_096
SEARCH_CACHE_KIB = 16_384  # a filter can read a page of the file for each of 1,500 conversations
WAL_BYTES_KEPT = 67_108_864  # the WAL is truncated to this when it restarts
PAGE_BYTES = 4_096
WAL_PAGES_MAX = 131_072  # 512 MiB: beyond, the next commit checkpoints

_log = structlog.get_logger("airy.store")


class StoreFile:
    """`path` None: in memory, lost on close."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.wal_pages = 0
        self._connections: list[apsw.Connection] = []
        self._checkpointer: apsw.Connection | None = None

    def open(self) -> None:
        """Raises `Refused` for a path that an operator has to correct."""
        try:
            self._open()
        except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
            raise Refused(f"cannot use {self.path}: {error}; correct the path or its permissions") from error

    def _open(self) -> None:
        if self.path is None:
            self.write = self.read = self.snapshot = self._connect(":memory:", WRITE_CACHE_KIB)
            schema.create(self.write)
            return
        self._prepare(self.path)
        self.write = self._connect(str(self.path), WRITE_CACHE_KIB)
        if schema.state_of(self.write) == "empty":
            schema.create(self.write)
        self.write.set_wal_hook(self._on_wal_commit)
        self.read = self._connect(str(self.path), READ_CACHE_KIB)
        self.snapshot = self._connect(str(self.path), SEARCH_CACHE_KIB)
        self._checkpointer = self._connect(str(self.path), READ_CACHE_KIB)

    def close(self) -> None:
        """The last connection that closes writes the WAL back into the database."""
        while self._connections:
            self._connections.pop().close()
        self._checkpointer = None

    def rebuild(self, reason: str) -> None:
        _log.warning("store.rebuild_started", path=str(self.path), reason=reason)
        self.close()
        if self.path is not None:
            remove(self.path)
        self.open()

    def checkpoint(self) -> None:
        """Blocking: for a worker thread. Copies what is committed so far; writers are not blocked."""
        if self._checkpointer is not None:
            pages, copied = self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.wal_pages = max(0, pages - copied)

    def checkpoint_if_needed(self) -> None:
        """Bounds the WAL if no checkpoint was requested."""
        if self.wal_pages > WAL_PAGES_MAX:
            _log.warning("store.checkpoint_overdue", wal_pages=self.wal_pages)
            self.write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _on_wal_commit(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def _prepare(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        reason = _unusable(path)
        if reason:
            _log.warning("store.rebuild_started", path=str(path), reason=reason)
            remove(path)
            path.touch(mode=0o600)

    def _connect(self, name: str, cache_kib: int) -> apsw.Connection:
        connection = apsw.Connection(name, statementcachesize=128)
        self._connections.append(connection)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "normal")
        connection.pragma("wal_autocheckpoint", 0)
        connection.pragma("journal_size_limit", WAL_BYTES_KEPT)
        connection.pragma("cache_size", -cache_kib)
        connection.pragma("temp_store", "memory")
        filter_sql.install(connection)
        return connection


def _unusable(path: Path) -> str | None:
    """Why the file has to be rebuilt, or None. Raises `Refused` if another application wrote it."""
    probe = apsw.Connection(str(path))
    try:
        state = schema.state_of(probe)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        if not _written_by_airy(path):
            raise Refused(f"{path} is not a store of Airy; configure another path or move it away") from error
        return f"the file is damaged: {error}"
    finally:
        probe.close()
    if state == "foreign":
        raise Refused(f"{path} is a database of another application; configure another path or move it away")
    return "the file was built by another version" if state == "stale" else None


def _written_by_airy(path: Path) -> bool:
    """It has our header, or only zeros: a power cut may leave a new file with its length and without its data."""
    with path.open("rb") as file:
        page = file.read(PAGE_BYTES)
    if not page.strip(b"\0"):
        return True
    return page.startswith(b"SQLite format 3\0") and page[68:72] == schema.APPLICATION_ID.to_bytes(4, "big")


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

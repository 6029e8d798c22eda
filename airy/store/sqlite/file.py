"""The file of a store: opening it, recognising it, starting it over, checkpointing it.

Three connections on a file: one writes, one reads what was committed, one holds a snapshot while a long query is under
way. In memory there is one for everything, and writers wait for long queries.

`synchronous=NORMAL`: a power cut may take the last transactions, never a part of one. Offsets go with them, so the log
tells the rest again. Checkpoints happen when they are asked for, in a worker thread, and not on a commit that hits a
size.
"""

from pathlib import Path

import apsw
import structlog

from airy.errors import Refused
from airy.store.sqlite import filters, schema

WRITE_CACHE_KIB = 16_384
READ_CACHE_KIB = 4_096
WAL_BYTES_KEPT = 67_108_864  # the log file is cut to this when it starts over
PAGE_BYTES = 4_096
WAL_PAGES_MAX = 131_072  # 512 MiB behind: then the next commit checkpoints by itself

_log = structlog.get_logger("airy.store")


class StoreFile:
    """`path` None: in memory, gone when it is closed."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.wal_pages = 0
        self._connections: list[apsw.Connection] = []
        self._checkpointer: apsw.Connection | None = None

    def open(self) -> None:
        if self.path is None:
            self.write = self.read = self.snapshot = self._connect(":memory:", WRITE_CACHE_KIB)
            schema.create(self.write)
            return
        self._prepare(self.path)
        self.write = self._connect(str(self.path), WRITE_CACHE_KIB)
        if schema.state_of(self.write) == "empty":
            schema.create(self.write)
        self.write.set_wal_hook(self._wal_grew)
        self.read = self._connect(str(self.path), READ_CACHE_KIB)
        self.snapshot = self._connect(str(self.path), READ_CACHE_KIB)
        self._checkpointer = self._connect(str(self.path), READ_CACHE_KIB)

    def close(self) -> None:
        """The last connection to go writes the log back into the file."""
        while self._connections:
            self._connections.pop().close()
        self._checkpointer = None

    def start_over(self, reason: str) -> None:
        _log.warning("store.rebuild", path=str(self.path), reason=reason)
        self.close()
        if self.path is not None:
            remove(self.path)
        self.open()

    def checkpoint(self) -> None:
        """Blocking: for a worker thread. Copies what was committed by now; writers go on."""
        if self._checkpointer is not None:
            pages, copied = self._checkpointer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.wal_pages = max(0, pages - copied)

    def relieve(self) -> None:
        """The bound of the log file when nobody checkpoints."""
        if self.wal_pages > WAL_PAGES_MAX:
            _log.warning("store.checkpoint_overdue", wal_pages=self.wal_pages)
            self.write.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _wal_grew(self, _connection: apsw.Connection, _schema: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def _prepare(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        reason = _unusable(path)
        if reason:
            _log.warning("store.rebuild", path=str(path), reason=reason)
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
        filters.install(connection)
        return connection


def _unusable(path: Path) -> str | None:
    """Why the file has to be built anew; None if it need not. Raises `Refused` if it is somebody else's."""
    probe = apsw.Connection(str(path))
    try:
        state = schema.state_of(probe)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        if not _was_ours(path):
            raise Refused(f"{path} is not a store of Airy; name another path or move it away") from error
        return f"it is damaged: {error}"
    finally:
        probe.close()
    if state == "foreign":
        raise Refused(f"{path} is a database of something else; name another path or move it away")
    return "it was built by another version" if state == "stale" else None


def _was_ours(path: Path) -> bool:
    """It begins as ours do, or with zeros: of a new file, a power cut may leave the length and not the data."""
    with path.open("rb") as file:
        page = file.read(PAGE_BYTES)
    if not page.strip(b"\0"):
        return True
    return page.startswith(b"SQLite format 3\0") and page[68:72] == schema.APPLICATION_ID.to_bytes(4, "big")


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

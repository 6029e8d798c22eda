"""Looks at the file of a store without changing it, also while a process uses it: for `airy doctor`."""

from pathlib import Path
from typing import Literal

import apsw
from msgspec import Struct

from airy.store.api import LastApplied
from airy.store.sqlite import schema
from airy.store.sqlite.projection import read_last_applied

BUSY_MS = 1_000


class StoreFacts(Struct, frozen=True):
    """`stale`: of another version of the fold or of the tables. `detail`: why it cannot be read."""

    path: Path
    state: Literal["empty", "current", "stale", "foreign", "damaged", "unreadable"]
    last_applied: LastApplied | None = None
    detail: str = ""


def inspect_store(path: Path) -> StoreFacts:
    """Blocking: for a worker thread."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        return StoreFacts(path, "unreadable", detail=str(error))
    try:
        connection.set_busy_timeout(BUSY_MS)
        state = schema.state_of(connection)
        mark = read_last_applied(connection) if state == "current" else None
        return StoreFacts(path, state, mark)
    except (apsw.NotADBError, apsw.CorruptError) as error:
        return StoreFacts(path, "damaged", detail=str(error))
    except apsw.Error as error:
        return StoreFacts(path, "unreadable", detail=str(error))
    finally:
        connection.close()

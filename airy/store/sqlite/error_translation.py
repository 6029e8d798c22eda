"""Translates the engine's errors: transient ones become `Unavailable`, a damaged file is recorded.

A row that cannot be read is damage as well: it was written from a value that could be read. The engine does not notice
it, because pages have no checksums.
"""

from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import apsw
import msgspec
import structlog

from airy.errors import DiskFull, Unavailable

T = TypeVar("T")


class UnreadableRow(msgspec.MsgspecError):
    """A row that is needed to fold a record does not decode. The record is not to blame."""


def row_decoder(kind: type[T]) -> Callable[[bytes], T]:
    """For rows that are read during a fold, where an error of msgspec may be the record's as well."""
    decode = msgspec.json.Decoder(kind).decode

    def decode_row(body: bytes) -> T:
        try:
            return decode(body)
        except msgspec.MsgspecError as error:
            raise UnreadableRow(f"{kind.__name__}: {error}") from error

    return decode_row


TRANSIENT = (
    apsw.BusyError,
    apsw.LockedError,
    apsw.FullError,
    apsw.IOError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.NoMemError,
)
DAMAGED = (apsw.CorruptError, apsw.NotADBError)
ENGINE = (
    *TRANSIENT,
    *DAMAGED,
    apsw.MisuseError,
    apsw.ThreadingViolationError,
    apsw.ConnectionClosedError,
    apsw.InternalError,
    UnreadableRow,
)
"""Errors of the database, not of the record that was being folded."""

_log = structlog.get_logger("airy.store")


class ErrorTranslation:
    """Context manager around every use of the database. `damaged` stays set until the file is rebuilt."""

    def __init__(self) -> None:
        self.damaged = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, DAMAGED):
            self.damaged = True
            _log.error("store.damaged", reason=str(error))
        elif isinstance(error, apsw.FullError):
            raise DiskFull("the disk of the store is full: free some space") from error
        elif isinstance(error, TRANSIENT):
            raise Unavailable(f"the store's database cannot serve: {error}") from error
        elif isinstance(error, msgspec.MsgspecError):
            self.damaged = True
            _log.error("store.damaged", reason=f"a row cannot be read: {error}")
            raise Unavailable("a row of the store cannot be read: it is rebuilt from the log") from error

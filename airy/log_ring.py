"""The last log lines of this process, as JSON, for views of the log that cannot read its output.

Appending costs a lock and two list operations; lines are parsed when they are read. Bounded in lines and in bytes:
the oldest are dropped, and a reader is told how many it has missed.
"""

import os
from collections import deque
from threading import Lock
from typing import Final, NamedTuple

import msgspec

LINES_MAX: Final = 5_000
BYTES_MAX: Final = 4_194_304
LINE_BYTES_MAX: Final = 65_536
KEPT_OF_LONG_LINES: Final = ("timestamp", "level", "event", "path", "logger", "trace_id")


class LogPosition(NamedTuple):
    """Behind a line of one run of a process: another run has another epoch, and its numbers begin anew."""

    epoch: str
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"


class LogLines(NamedTuple):
    """Lines in order, the position behind them, and how many the ring had dropped before the first of them."""

    lines: list[bytes]
    first: int  # the number of the first line
    end: LogPosition
    lost: int


class LogRing:
    """Threads may append and read at the same time."""

    def __init__(self, *, epoch: str, lines_max: int = LINES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.epoch = epoch
        self._lines_max = lines_max
        self._bytes_max = bytes_max
        self._lines: deque[bytes] = deque()
        self._bytes_held = 0
        self._next = 0  # the number of the next line
        self._lock = Lock()

    @property
    def next(self) -> int:
        """The number of the next line."""
        return self._next

    @property
    def bytes_held(self) -> int:
        return self._bytes_held

    def append(self, line: bytes) -> None:
        if len(line) > LINE_BYTES_MAX:
            line = shortened(line)
        with self._lock:
            self._lines.append(line)
            self._bytes_held += len(line)
            self._next += 1
            while len(self._lines) > self._lines_max or self._bytes_held > self._bytes_max:
                self._bytes_held -= len(self._lines.popleft())

    def skip_to(self, number: int) -> None:
        """The next line has this number: those before it were lost elsewhere."""
        with self._lock:
            if number > self._next:
                self._lines.clear()
                self._bytes_held = 0
                self._next = number

    def after(self, position: LogPosition | None) -> LogLines:
        """What is behind a position; everything for None and for a position of another run."""
        with self._lock:
            lines, end = list(self._lines), self._next
        first = end - len(lines)
        wanted = position.number if position is not None and position.epoch == self.epoch else 0
        start = min(max(wanted, first), end)
        lost = max(0, first - wanted) if position is not None else 0
        return LogLines(lines[start - first :], start, LogPosition(self.epoch, end), lost)


def shortened(line: bytes) -> bytes:
    """A line of the most important fields, marked with `shortened`."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
    except msgspec.DecodeError:
        fields = {"event": line[:LINE_BYTES_MAX].decode("utf-8", "replace")}
    kept = {name: str(fields[name])[:1_024] for name in KEPT_OF_LONG_LINES if name in fields}
    return msgspec.json.encode({**kept, "shortened": True})


RECENT: Final = LogRing(epoch=os.urandom(4).hex())
"""Of this process."""

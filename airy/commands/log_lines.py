"""Finds lines in the rings of several processes, in order of time, and where the next question goes on. Pure."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from airy.errors import Refused
from airy.log_ring import LogLines, LogPosition, LogRing

LIMIT: Final = 200
LIMIT_MAX: Final = 1_000
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

Level = Literal["debug", "info", "warning", "error", "critical"]
Fields = dict[str, Any]


class LogQuery(Struct, frozen=True, kw_only=True):
    """With `positions` or `since_ms` the oldest lines from there on; without, the newest ones."""

    positions: Mapping[str, LogPosition] | None = None  # by instance; one that is not named is read from its beginning
    since_ms: int | None = None
    level: Level = "debug"  # at least
    component: str | None = None  # of a component, an actor or a logger
    words: str = ""  # each is somewhere in the line
    limit: int = LIMIT


class FoundLine(Struct, frozen=True):
    instance: str
    number: int
    fields: Fields

    @property
    def time(self) -> str:
        return str(self.fields.get("timestamp", ""))


class LogPage(Struct, frozen=True, kw_only=True):
    """`lost`: lines that were dropped before they could be read. `more`: there are further lines behind these."""

    lines: Sequence[FoundLine]
    positions: Mapping[str, LogPosition]
    lost: Mapping[str, int]
    more: bool


def find_lines(rings: Mapping[str, LogRing], query: LogQuery) -> LogPage:
    """Raises `Refused` for a limit out of range."""
    if not 1 <= query.limit <= LIMIT_MAX:
        raise Refused(f"must be 1 to {LIMIT_MAX}", field="limit")
    read = {name: ring.after((query.positions or {}).get(name)) for name, ring in rings.items()}
    matches = _matcher(query)
    found = {name: list(_matching(name, lines, matches)) for name, lines in read.items()}
    merged = list(heapq.merge(*found.values(), key=lambda line: line.time))
    forward = query.positions is not None or query.since_ms is not None
    shown = merged[: query.limit] if forward else merged[-query.limit :]
    positions = {name: lines.end for name, lines in read.items()}
    if forward:
        for line in reversed(merged[query.limit :]):
            positions[line.instance] = LogPosition(positions[line.instance].epoch, line.number)
    return LogPage(
        lines=shown,
        positions=positions,
        lost={name: lines.lost for name, lines in read.items() if lines.lost},
        more=forward and len(shown) < len(merged),
    )


def parse_position(text: str) -> LogPosition:
    """Raises `Refused` for a text that no answer has."""
    epoch, _, number = text.partition(".")
    if not epoch or not (number.isascii() and number.isdecimal()):
        raise Refused(f"{text[:64]!r} is not a position of an answer", field="positions")
    return LogPosition(epoch, int(number))


def _matching(name: str, read: LogLines, matches: Callable[[bytes], Fields | None]) -> Iterator[FoundLine]:
    for number, line in enumerate(read.lines, start=read.first):
        fields = matches(line)
        if fields is not None:
            yield FoundLine(name, number, fields)


def _matcher(query: LogQuery) -> Callable[[bytes], Fields | None]:
    """The fields of a line that is wanted, else None. Words are looked for first: most lines are not decoded."""
    words = [word.encode() for word in query.words.lower().split()]
    least = LEVELS.index(query.level)
    since = None if query.since_ms is None else datetime.fromtimestamp(query.since_ms / 1000, UTC).isoformat()[:26]

    def matches(line: bytes) -> Fields | None:
        if words:
            text = line.decode("utf-8", "replace").lower().encode()
            if not all(word in text for word in words):
                return None
        try:
            fields = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            return None
        level = fields.get("level")
        if level in LEVELS and LEVELS.index(level) < least:
            return None
        if since is not None and str(fields.get("timestamp", "")) < since:
            return None
        return fields if query.component is None or _is_of(fields, query.component) else None

    return matches


def _is_of(fields: Fields, component: str) -> bool:
    """Whether a part of the actor's path, the component or the logger has this name."""
    parts = (*str(fields.get("path", "")).split("/"), fields.get("component"), fields.get("source"))
    return component in parts or component in str(fields.get("logger", "")).split(".")

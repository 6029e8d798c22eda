"""The lines of the log, from what the API says. Pure."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from airy.tui.console.format import instant
from airy.tui.view_model import clean

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
LEVEL_STYLES = {
    "debug": "$foreground-muted",
    "info": "$primary",
    "warning": "bold $warning",
    "error": "bold $error",
    "critical": "bold $background on $error",
}
FIELDS_CHARS_MAX = 400


class LogLine(Struct, frozen=True):
    """A line as `logs.list` gives it."""

    instance: str
    time: str
    level: str = "info"
    event: str = ""
    actor: str | None = None
    trace_id: str | None = None
    fields: dict[str, Any] = {}

    @property
    def said(self) -> str:
        """The last part of the actor's path, and the fields."""
        actor = (self.actor or "").rpartition("/")[2]
        words = [f"{name}={told(value)}" for name, value in self.fields.items()]
        return clean(" ".join(part for part in (actor, *words) if part), FIELDS_CHARS_MAX)


class LogPositions(Struct, frozen=True):
    positions: dict[str, str] = {}
    lost: dict[str, int] = {}
    more: bool = False


class LinesPage(Struct, frozen=True):
    data: list[LogLine] = []
    pagination_data: LogPositions = LogPositions()


def following(level: Level) -> Level:
    """The next level that lines must have at least."""
    return LEVELS[(LEVELS.index(level) + 1) % len(LEVELS)]


def told(value: object) -> str:
    """A field on a line; of an exception its type and text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and isinstance(value[0], dict) and "exc_type" in value[0]:
        return f"{value[0]['exc_type']}: {value[0].get('exc_value', '')}"
    return msgspec.json.encode(value).decode()


def time_of_day(time: str) -> str:
    """`14:03:07.123` in the local zone."""
    moment = instant(time)
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3] if moment else "--:--:--.---"

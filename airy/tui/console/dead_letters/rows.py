"""What the view of dead letters shows, from what the API says. Pure."""

import json
from base64 import b64decode
from typing import Any, Literal

from msgspec import Struct

from airy.tui.view_model import clean

State = Literal["open", "replayed", "discarded", "all"]
STATES: tuple[State, ...] = ("open", "replayed", "discarded", "all")
STATE_STYLES = {"open": ("▲", "$error"), "replayed": ("↻", "$success"), "discarded": ("✗", "$foreground-muted")}
HEX_BYTES = 8  # in a line of a dump
DUMP_BYTES_MAX = 16_384


class ListedLetter(Struct, frozen=True):
    """A dead letter as `dead-letters.list` gives it."""

    id: str
    topic: str
    state: str
    key: str = ""
    reason: str = ""
    attempts: int = 0
    first_seen_at: str = ""
    resolved_by: str | None = None
    resolution_reason: str | None = None

    @property
    def words(self) -> str:
        """What a filter is compared with."""
        return f"{self.topic} {self.key} {self.reason} {self.resolution_reason} {self.resolved_by} {self.id}".lower()

    @property
    def resolution(self) -> str:
        """Why it was discarded, and by which caller; empty while it is open."""
        by = f"by {clean(self.resolved_by)}" if self.resolved_by else ""
        return ", ".join(part for part in (clean(self.resolution_reason or ""), by) if part)


def following(state: State) -> State:
    """The next state that the list shows."""
    return STATES[(STATES.index(state) + 1) % len(STATES)]


def detail(letter: dict[str, Any]) -> dict[str, Any]:
    """A letter of `dead-letters.info` with a readable body: JSON as such, text as lines, bytes as a dump."""
    body = str(letter.get("body", ""))
    if letter.get("body_encoding") == "base64":
        return {**letter, "body": dump(b64decode(body))}
    try:
        return {**letter, "body": json.loads(body)}
    except ValueError:
        lines = body.splitlines()
        return {**letter, "body": lines if len(lines) > 1 else body}


def dump(value: bytes) -> list[str]:
    """Offset, bytes in hexadecimal and printable ASCII, eight bytes a line."""
    lines = []
    for start in range(0, min(len(value), DUMP_BYTES_MAX), HEX_BYTES):
        part = value[start : start + HEX_BYTES]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:06x}  {part.hex(' '):<{HEX_BYTES * 3}} {letters}")
    more = len(value) - DUMP_BYTES_MAX
    return [*lines, f"{more:,} more bytes"] if more > 0 else lines


def summary(letter: ListedLetter) -> str:
    """What a confirmation calls it."""
    return f"the record of {letter.topic} with the key {clean(letter.key, 40) or '(none)'}"

"""Events, as they happen."""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from airy.cli.view import Document, Field, View
from airy.model.change import ChangeKind
from airy.tui.console.tail.rows import told

TYPE_CHARS = max(map(len, ChangeKind))
ID_CHARS = 36


class EventRow(Struct, forbid_unknown_fields=True):
    """`timestamp`: ms since 1970. `resume`: continues after this event, with `--since`."""

    id: str
    type: ChangeKind
    timestamp: int
    sequence: int  # grows within a conversation, channel or tag
    payload: dict[str, Any]
    position: str
    resume: str


def _at(event: Document) -> str:
    return datetime.fromtimestamp(event["timestamp"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _told(event: Document) -> tuple[str, str]:
    """Subject and words."""
    return told(event["type"].partition(".")[0], event["payload"])


EVENTS = View(
    name="events",
    row=EventRow,
    fields=(
        Field("TIME", _at, spare=True),
        Field("TYPE", "type", chars_min=TYPE_CHARS),
        Field("SUBJECT", lambda event: _told(event)[0], chars_min=ID_CHARS, spare=True),
        Field("TEXT", lambda event: _told(event)[1], chars_max=90),
    ),
    what="events",
)

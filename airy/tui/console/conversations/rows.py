"""What the view of conversations shows, from what the API says. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from airy.tui.console import format as shown
from airy.tui.view_model import STATES, MessageRow, clean, message_row, state_words

OPEN = "OPEN"
FIELDS = (  # of the filter language, for completion
    "display_name:",
    "message:",
    "tag_ids:",
    "metadata.state:",
    "metadata.user_data.",
    "source:",
    "channel_id:",
    "id:",
    "unread_count:[1 TO *]",
    "created_at:",
    "last_message_at:",
)


class Listed(Struct, frozen=True):
    """A conversation."""

    id: str
    name: str
    source: str
    state: str
    tags: tuple[str, ...]
    unread: int
    at: str
    said: str
    ours: bool  # whether the last message is ours
    delivery: str  # its state, of ours
    state_version: int


class _ListedChannel(Struct, frozen=True):
    source: str = ""


class _ListedConversation(Struct, frozen=True):
    id: str
    created_at: str = ""
    channel: _ListedChannel = _ListedChannel()
    metadata: dict[str, Any] = {}
    state_version: int = 0
    last_message: Raw = Raw(b"null")


def listed(raw: Raw) -> Listed:
    """A conversation as `conversations.list` gives it."""
    item = msgspec.json.decode(raw, type=_ListedConversation)
    contact, tags = item.metadata.get("contact"), item.metadata.get("tags")
    known = contact if isinstance(contact, dict) else {}
    last = None if bytes(item.last_message) == b"null" else message_row(item.last_message)
    return Listed(
        id=item.id,
        name=clean(str(known.get("display_name") or item.id[:8]), 60),
        source=clean(item.channel.source),
        state=clean(str(item.metadata.get("state") or OPEN)),
        tags=tuple(sorted(tags)) if isinstance(tags, dict) else (),
        unread=int(item.metadata.get("unread_count") or 0),
        at=last.at if last else shown.time_of_day(item.created_at),
        said=last.text if last else "",
        ours=last is not None and not last.inbound,
        delivery=last.state if last else "",
        state_version=item.state_version,
    )


class ThreadLine(Struct, frozen=True):
    """A message in a thread. `note`: delivery state and error of ours."""

    id: str
    at: str
    text: str
    ours: bool
    note: str = ""
    style: str = ""


def thread(messages: Iterable[MessageRow]) -> list[ThreadLine]:
    """Oldest first, from newest first."""
    lines = []
    for row in messages:
        style = STATE_STYLES.get(row.state, "$foreground-muted")
        note = "" if row.inbound else state_words(row)
        lines.append(ThreadLine(row.id, row.at, row.text, not row.inbound, note, style))
    return lines[::-1]


STATE_STYLES = {
    "pending": "$warning",
    "unknown": "$warning",
    "sent": "$secondary",
    "delivered": "$success",
    "read": "bold $success",
    "failed": "bold $error",
}
SYMBOLS = {state: symbol for state, (symbol, _) in STATES.items()}


def completions(written: str) -> str | None:
    """What the filter could become: the last word as the first field that begins with it."""
    head, space, word = written.rpartition(" ")
    if not word:
        return None
    found = next((field for field in FIELDS if field.startswith(word.lstrip("(-+")) and field != word), None)
    if found is None:
        return None
    prefix = word[: len(word) - len(word.lstrip("(-+"))]
    return f"{head}{space}{prefix}{found}"


def contact_lines(contact: dict[str, Any]) -> list[tuple[str, str]]:
    """Label and value of what is known about a contact."""
    plain = ("display_name", "title", "organization_name", "gender", "locale", "timezone")
    lines = [(name.replace("_", " "), clean(str(contact[name]))) for name in plain if contact.get(name)]
    via = contact.get("via")
    lines += [(clean(str(kind)), clean(str(value))) for kind, value in via.items()] if isinstance(via, dict) else []
    address = contact.get("address")
    if isinstance(address, dict):
        text = ", ".join(clean(str(value)) for value in address.values() if value)
        lines += [("address", text)] if text else []
    conversations = contact.get("conversations")
    if isinstance(conversations, dict):
        lines.append(("conversations", f"{len(conversations)}: {', '.join(sorted(set(conversations.values())))}"))
    return lines


def resendable(messages: Sequence[MessageRow]) -> str | None:
    """The newest message of ours that failed; `messages` newest first."""
    return next((row.id for row in messages if row.state == "failed"), None)

"""What the terminal shows, as a value: built from API responses and compared with the previous one.

Text from contacts passes `clean` first: control characters would be executed by the terminal.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

STATES: dict[str, tuple[str, str]] = {  # word: symbol and style
    "pending": ("…", "yellow"),
    "unknown": ("?", "magenta"),
    "sent": ("✓", "cyan"),
    "delivered": ("✓✓", "green"),
    "read": ("●", "bold green"),
    "failed": ("✗", "bold red"),
}
CONVERSATIONS_MAX = 8
MESSAGES_MAX = 4  # of each conversation
TEXT_CHARS_MAX = 400
NAME_CHARS_MAX = 40
UNSETTLED_STATES = (
    "pending",
    "unknown",
    "sent",
    "delivered",
)  # delivery states of an outbound message that may still change


class MessageRow(Struct, frozen=True):
    """A message."""

    id: str
    inbound: bool
    text: str
    state: str  # one of `STATES`; "" for inbound messages
    at: str  # HH:MM:SS, local
    error: str = ""  # of the last attempt
    attempts: int = 0  # that failed, of a message that waits for another one
    next_at: str = ""  # HH:MM:SS, local: when that is due

    @property
    def progress(self) -> str:
        """The state, and the failed attempts of a message that waits: changes whenever an attempt ends."""
        return f"{self.state} {self.attempts}" if self.attempts else self.state


class ConversationRow(Struct, frozen=True):
    """A conversation and its newest messages, oldest first."""

    id: str
    name: str
    source: str
    unread: int
    at: str
    lines: tuple[MessageRow, ...] = ()


class ReadinessView(Struct, frozen=True):
    """`reasons`: why it is not ready."""

    ready: bool = False
    reasons: str = ""


class ViewModel(Struct, frozen=True):
    rows: tuple[ConversationRow, ...] = ()
    conversations: int = 0
    health: ReadinessView = ReadinessView()
    counts: tuple[tuple[str, int], ...] = ()  # label and value, in display order
    unreachable: str = ""  # why the API could not be reached; the rest is older then


class ListPage(Struct, frozen=True):
    """The response of every list action; items stay encoded, so that a change is detected without decoding."""

    data: list[Raw]
    pagination_data: dict[str, Any] = {}

    @property
    def total(self) -> int:
        return int(self.pagination_data.get("total") or len(self.data))


def conversation_row(raw: Raw, lines: Sequence[MessageRow]) -> ConversationRow:
    """A conversation as `conversations.list` gives it."""
    item = _Conversation.decode(raw)
    last = item.last_message.sent_at if item.last_message else item.created_at
    name = clean(str(item.metadata.get("contact", {}).get("display_name") or item.id[:8]), NAME_CHARS_MAX)
    unread = int(item.metadata.get("unread_count") or 0)
    return ConversationRow(item.id, name, clean(item.channel.source), unread, clock(last), tuple(lines))


def conversation_id(raw: Raw) -> str:
    return _Conversation.decode(raw).id


def message_row(raw: Raw) -> MessageRow:
    """A message as `messages.list` gives it."""
    item = msgspec.json.decode(raw, type=_Message)
    metadata = item.metadata or {}
    at_source = _section(metadata, "source")
    fine = at_source.get("delivery_state")
    state = "" if item.from_contact else str(fine or item.delivery_state)
    text = canonical_summary(item.canonical) or summary(item.content)
    row = MessageRow(item.id, item.from_contact, text, state, clock(item.sent_at))
    waits = str(at_source.get("next_attempt_at") or "")
    if state == "failed" or waits:
        row = replace(row, error=clean(str(metadata.get("error") or "")))
    if waits:
        row = replace(row, attempts=int(at_source.get("attempts") or 0), next_at=clock(waits))
    return row


def may_change(lines: Sequence[MessageRow]) -> bool:
    """Whether a receipt may still change one of these without changing the conversation's newest message."""
    return any(not each.inbound and each.state in UNSETTLED_STATES for each in lines)


def changed_messages(shown_states: Mapping[str, str], model: ViewModel) -> list[tuple[ConversationRow, MessageRow]]:
    """Messages whose progress is not in `shown_states`, in reading order; an append-only view prints them."""
    shown = [(conversation, line) for conversation in model.rows for line in conversation.lines]
    return sorted(
        (pair for pair in shown if shown_states.get(pair[1].id) != pair[1].progress), key=lambda pair: pair[1].at
    )


def summary(content: Raw) -> str:
    """One line of text for the content of any source."""
    try:
        value = msgspec.json.decode(content)
    except msgspec.MsgspecError:
        return clean(bytes(content).decode("utf-8", "replace"))
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, dict):
        return clean(str(value))
    if value.get("canonical"):
        return canonical_summary(_as_list(value["canonical"]))
    inner = _section(value, "message") or value
    text = inner.get("text") or _section(value, "postback").get("title")
    if isinstance(text, str) and text:
        return clean(text)
    attached = inner.get("attachments") or inner.get("attachment")
    kinds = [each.get("type", "file") for each in _as_list(attached) if isinstance(each, dict)]
    return clean(f"[{', '.join(map(str, kinds))}]" if kinds else "[" + ", ".join(islice(map(str, inner), 3)) + "]")


def canonical_summary(contents: Sequence[object]) -> str:
    """One line of text for canonical content; empty if it is only `raw`."""
    return clean(" ".join(filter(None, map(_canonical_words, contents))))


def _canonical_words(content: object) -> str:
    known = content if isinstance(content, dict) else {}
    kind = str(known.get("type", ""))
    words = [known.get(name) for name in ("text", "caption", "title", "name", "description", "filename", "payload")]
    said = next((str(word) for word in words if word), "")
    if kind in {"text", "raw", "system"}:
        return said
    if kind == "contacts":
        said = ", ".join(str(each.get("name")) for each in known.get("contacts", ()) if isinstance(each, dict))
    if kind == "choice":
        options = [str(each.get("title")) for each in known.get("options", ()) if isinstance(each, dict)]
        return f"{said} [{' | '.join(options)}]"
    return f"[{known.get('kind') if kind == 'media' else kind}] {said}".strip()


def clean(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """`text` on one line, without control characters and bidirectional marks."""
    shown = text[:chars_max]
    if not shown.isprintable():
        shown = "".join(" " if char.isspace() else char for char in shown if _printable(char))
    return " ".join(shown.split()) + ("…" if len(text) > chars_max else "")


def clock(at: str) -> str:
    """An API timestamp as local time of day."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"


class _Channel(Struct, frozen=True):
    source: str = ""


class _Message(Struct, frozen=True):
    id: str
    content: Raw
    canonical: list[Any] = []
    sent_at: str = ""
    delivery_state: str = ""
    from_contact: bool = False
    metadata: dict[str, Any] | None = None


class _Item(Struct, frozen=True):
    id: str
    created_at: str = ""
    channel: _Channel = _Channel()
    metadata: dict[str, Any] = {}
    last_message: _Message | None = None


_Conversation = msgspec.json.Decoder(_Item)


def _section(value: dict[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value] if value is not None else []


def _printable(char: str) -> bool:
    """Spaces are kept; control, format (bidirectional marks), surrogate and private characters are removed."""
    return char.isspace() or unicodedata.category(char)[0] != "C" or char == "\u200d"  # joins emoji


def state_words(line: MessageRow) -> str:
    """Symbol and word of an outbound message, the error of its last attempt, and when the next one is due."""
    words = f"{STATES.get(line.state, ('·', ''))[0]} {line.state}"
    if line.next_at:
        words += f", attempt {line.attempts + 1} at {line.next_at}"
    return f"{words}: {line.error}" if line.error else words

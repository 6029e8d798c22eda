"""The lines of the tail, from events. Pure."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from airy.tui.console.event_feed import ShownEvent
from airy.tui.view_model import clean, message_row

KINDS: dict[str, tuple[str, str]] = {  # by the part of the type before the dot: symbol and style
    "message": ("✉", "$primary"),
    "conversation": ("☰", "$secondary"),
    "metadata": ("≡", "$foreground-muted"),
    "channel": ("⇄", "$accent"),
    "tag": ("#", "$accent"),
}
OTHER_KIND = ("·", "$foreground-muted")


class TailLine(Struct, frozen=True):
    """How an event is shown. `subject`: the id of what changed; `said`: what a person wants to know of it; `traced`:
    the body of a request for the trace of its message, empty if it is about none.
    """

    type: str
    at: str
    symbol: str
    style: str
    subject: str
    said: str
    traced: dict[str, str] = {}


def matches(event: ShownEvent, wanted: str) -> bool:
    """Every word of `wanted` is somewhere in the event's JSON; one that begins with `-` is nowhere."""
    text = event.body.lower()
    return all(
        word[1:] not in text if word.startswith(b"-") and len(word) > 1 else word in text
        for word in wanted.lower().encode().split()
    )


def tail_line(event: ShownEvent) -> TailLine:
    kind = event.type.partition(".")[0]
    symbol, style = KINDS.get(kind, OTHER_KIND)
    payload = msgspec.json.decode(event.payload)
    subject, said = told(kind, payload if isinstance(payload, dict) else {})
    at = datetime.fromtimestamp(event.timestamp / 1000, UTC).astimezone().strftime("%H:%M:%S")
    return TailLine(event.type, at, symbol, style, clean(subject, 36), said, _traced(kind, payload))


def _traced(kind: str, payload: object) -> dict[str, str]:
    known = payload if isinstance(payload, dict) else {}
    message = known.get("message")
    if isinstance(message, dict):
        return {"message_id": str(message.get("id", ""))}
    if kind == "conversation":
        return {"conversation_id": str(known.get("id", ""))}
    if kind == "metadata" and known.get("subject") in ("message", "conversation"):
        return {f"{known['subject']}_id": str(known.get("identifier", ""))}
    return {"message_id": str(known["message_id"])} if "message_id" in known else {}


def told(kind: str, payload: dict[str, Any]) -> tuple[str, str]:
    """Subject and words of a payload."""
    if kind == "message":
        message = payload.get("message")
        row = message_row(msgspec.Raw(msgspec.json.encode(message))) if isinstance(message, dict) else None
        said = (
            "" if row is None else f"{'→' if row.inbound else '←'} {row.text}{f'  [{row.state}]' if row.state else ''}"
        )
        return str(payload.get("conversation_id", "")), said
    metadata = payload.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    contact = known.get("contact")
    name = str(contact.get("display_name", "")) if isinstance(contact, dict) else ""
    if kind == "conversation":
        words = [name, str(known.get("state", "")), f"{known.get('unread_count', 0)} unread"]
        return str(payload.get("id", "")), clean(" · ".join(word for word in words if word))
    if kind == "metadata":
        return str(payload.get("identifier", "")), clean(f"{payload.get('subject', '')} {name}".strip())
    if kind == "channel":
        state = "connected" if payload.get("connected") else "disconnected"
        return str(payload.get("id", "")), clean(f"{payload.get('source', '')} {known.get('name', '')} {state}")
    return str(payload.get("id", "")), clean(str(payload.get("name", "")))

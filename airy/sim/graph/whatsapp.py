"""WhatsApp Cloud API: messages of people, statuses of ours, and what is refused. Times are seconds, as text."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airy.errors import Refused
from airy.sim.graph import errors
from airy.sim.provider.acts import PersonAct, Presses, Reacts, Says, SendsMedia, SharesLocation
from airy.sim.provider.api import ApiReply, Event, SimFile, record, records
from airy.sim.provider.options import SimAccount
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.state import Person

BODY_CHARACTERS_MAX = 4096
BUTTONS_MAX = 3
TITLE_CHARACTERS_MAX = 20
WINDOW_MS = 86_400_000
TYPES = frozenset(
    {
        "text",
        "image",
        "audio",
        "video",
        "document",
        "sticker",
        "location",
        "contacts",
        "reaction",
        "template",
        "interactive",
    }
)
MEDIA = {"file": "document", "voice": "audio"}  # by the kind of media; others have their own name
_TITLES = {131047: "Re-engagement message", 131026: "Message undeliverable", 131049: "Message not delivered"}


def message_event(
    account: SimAccount, person: Person, act: PersonAct, wamid: str, now_ms: int, file: tuple[str, SimFile] | None
) -> Event | None:
    """Raises `Refused` for what the app cannot do."""
    found: dict[str, object] = {"from": person.id, "id": wamid, "timestamp": str(now_ms // 1000)}
    match act:
        case Says(text, None, reply_to, extra):
            found |= {"type": "text", "text": {"body": text}, **extra}
            if reply_to is not None:
                found["context"] = {"from": digits(account.name), "id": reply_to}
        case Says(text, str(payload)):
            reply = {"type": "button_reply", "button_reply": {"id": payload, "title": text}}
            found |= {"type": "interactive", "interactive": reply, "context": _context(account, person)}
        case Presses(title, payload):
            found |= {"type": "button", "button": {"text": title, "payload": payload}}
            found["context"] = _context(account, person)
        case SendsMedia(kind, _, caption) if file is not None:
            media_id, stored = file
            media: dict[str, object] = {"id": media_id, "mime_type": stored.mime, "sha256": sha256_of(stored)}
            media |= {"caption": caption} if caption else {}
            media |= {"voice": True} if kind == "voice" else {"filename": stored.name} if kind == "file" else {}
            found |= {"type": MEDIA.get(kind, kind), MEDIA.get(kind, kind): media}
        case SharesLocation(latitude, longitude, name):
            location = {"latitude": latitude, "longitude": longitude} | ({"name": name} if name else {})
            found |= {"type": "location", "location": location}
        case Reacts(emoji, message_id):
            target = {"message_id": message_id or person.last_message_id or ""}
            found |= {"type": "reaction", "reaction": target | ({"emoji": emoji} if emoji else {})}
        case _:
            raise Refused(f"WhatsApp reports no such act: {type(act).__name__}", field="act")
    contact = {"profile": {"name": person.name}, "wa_id": person.id}
    return Event(account.id, str(found["type"]), {"contacts": [contact], "messages": [found]}, (wamid,))


def status_event(account: SimAccount, person: Person, send: SimMessage, wamid: str, state: str, at_ms: int) -> Event:
    status: dict[str, object] = {
        "id": wamid,
        "status": state,
        "timestamp": str(at_ms // 1000),
        "recipient_id": person.id,
    }
    if send.our_id:
        status["biz_opaque_callback_data"] = send.our_id
    if state == "failed":
        code = send.fails_with or 131026
        title = _TITLES.get(code, "Message undeliverable")
        details = {"details": f"{title} ({code})"}
        status["errors"] = [
            {"code": code, "title": title, "message": title, "error_data": details, "href": "https://x"}
        ]
        return Event(account.id, "failed", {"statuses": [status]}, (wamid,))
    if state in {"sent", "delivered"}:
        kind = "template" if send.content.get("type") == "template" else "service"
        status["pricing"] = {
            "billable": kind == "template",
            "pricing_model": "PMP",
            "type": "regular" if kind == "template" else "free_customer_service",
            "category": "utility" if kind == "template" else "service",
        }
    contacts = [{"wa_id": person.id, "profile": {"name": person.name}}]
    return Event(account.id, state, {"contacts": contacts, "statuses": [status]}, (wamid,))


def envelope(account: SimAccount, events: Sequence[Event]) -> dict[str, object]:
    metadata = {"display_phone_number": digits(account.name), "phone_number_id": account.id}
    value = {"messaging_product": "whatsapp", "metadata": metadata, **events[0].element}
    entry = {"id": account.owner_id, "changes": [{"value": value, "field": "messages"}]}
    return {"object": "whatsapp_business_account", "entry": [entry]}


# --- sends


def malformed(content: Mapping[str, Any]) -> ApiReply | None:
    kind = content.get("type", "text")
    missing = next((name for name in ("messaging_product", kind) if not content.get(name)), None)
    if missing is not None:
        return errors.error(f"(#131008) Required parameter is missing: {missing}", 131008)
    if not content.get("to") and not content.get("recipient"):
        return errors.error("(#100) The parameter to is required.", 100)
    if kind not in TYPES:
        return errors.error("(#100) Param type must be one of {TEXT, IMAGE, …}", 100)
    problem = _problem(kind, record(content.get(kind)))
    return None if problem is None else errors.error(f"(#131009) Parameter value is not valid: {problem}", 131009)


def _problem(kind: str, part: dict[str, Any]) -> str | None:
    if kind == "text" and not 0 < len(str(part.get("body") or "")) <= BODY_CHARACTERS_MAX:
        return f"text['body'] has 1 to {BODY_CHARACTERS_MAX} characters"
    if kind in {"image", "audio", "video", "document", "sticker"} and not {"id", "link"} & part.keys():
        return f"{kind} needs id or link"
    buttons = records(record(part.get("action")).get("buttons")) if kind == "interactive" else []
    titles = [str(record(button.get("reply")).get("title", "")) for button in buttons]
    if len(buttons) > BUTTONS_MAX or any(len(title) > TITLE_CHARACTERS_MAX for title in titles):
        return f"at most {BUTTONS_MAX} buttons with titles of {TITLE_CHARACTERS_MAX} characters"
    return None


def fails_with(content: Mapping[str, Any], person: Person | None, now_ms: int) -> int | None:
    """The code of a status that comes after the message was accepted."""
    if person is None:
        return 131026
    closed = person.wrote_at_ms is None or now_ms - person.wrote_at_ms > WINDOW_MS
    return 131047 if closed and content.get("type") != "template" else None


def text_of(content: Mapping[str, Any]) -> str | None:
    part = record(content.get(content.get("type", "text")))
    text = part.get("body") or part.get("caption") or part.get("name")
    return text if isinstance(text, str) else record(text).get("text")


def offered(content: Mapping[str, Any]) -> tuple[PersonAct, ...]:
    action = record(record(content.get("interactive")).get("action"))
    replies = [record(button.get("reply")) for button in records(action.get("buttons"))]
    rows = [row for section in records(action.get("sections")) for row in records(section.get("rows"))]
    return tuple(Says(str(each.get("title", "")), str(each.get("id", ""))) for each in (*replies, *rows))


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def sha256_of(file: SimFile) -> str:
    return base64.b64encode(hashlib.sha256(file.body).digest()).decode()


def _context(account: SimAccount, person: Person) -> dict[str, str]:
    return {"from": digits(account.name), "id": person.last_message_id or ""}

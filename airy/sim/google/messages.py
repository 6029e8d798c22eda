"""Messages and events of Business Messages: what an agent may send, and what a person's act is."""

from collections.abc import Mapping
from typing import Any

from airy.errors import Refused
from airy.sim.google_api import suggestions
from airy.sim.google_api.provider import written_time
from airy.sim.provider.acts import PersonAct, Presses, Reads, Says, SendsMedia, Types
from airy.sim.provider.api import record
from airy.sim.provider.state import Person

BODIES = ("text", "image", "richCard")
REPRESENTATIVES = frozenset({"BOT", "HUMAN"})
SUGGESTIONS_MAX = 13
STORAGE = "https://storage.googleapis.com/business-messages-eu"  # where Google kept the pictures of people

Fields = dict[str, object]


def problem(message: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong."""
    if not isinstance(message.get("messageId"), str) or not message["messageId"]:
        return "message.message_id is required."
    if record(message.get("representative")).get("representativeType") not in REPRESENTATIVES:
        return "representative.representative_type must be BOT or HUMAN."
    given = [name for name in BODIES if message.get(name)]
    if len(given) != 1:
        return f"A message has one of {', '.join(BODIES)}."
    if not isinstance(message.get("text", ""), str):
        return "text must be a string."
    image = record(message.get("image"))
    if image and not str(record(image.get("contentInfo")).get("fileUrl", "")).startswith(("https://", "http://")):
        return "image.content_info.file_url must be an address."
    return suggestions.problem(message, SUGGESTIONS_MAX)


def content_of(person: Person, act: PersonAct, message_id: str, now_ms: int, signature: str) -> Fields:
    """The member of an event that says what happened. Raises `Refused` for what the app cannot do."""
    created = written_time(now_ms)
    match act:
        case Says(title, str(data)):
            return _tapped(person, None, title, data, created)
        case Presses(title, data, below):
            return _tapped(person, below, title, data, created)
        case Says(text):
            return _message(person, message_id, text, created)
        case SendsMedia("image", url, None):
            query = f"X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Expires=604800&X-Goog-Signature={signature}"
            return _message(person, message_id, url or f"{STORAGE}/{message_id}.png?{query}", created)
        case Types():
            return {"userStatus": {"isTyping": True, "createTime": created}}
        case Reads():
            if person.last_message_id is None:
                raise Refused("the account has sent nothing yet that could be read", field="act")
            return receipt(person, person.last_message_id, "READ")
    raise Refused(f"Business Messages reports no such act: {type(act).__name__}", field="act")


def receipt(person: Person, message_id: str, kind: str) -> Fields:
    return {"receipts": {"receipts": [{"message": name_of(person.id, message_id), "receiptType": kind}]}}


def name_of(conversation: str, message_id: str) -> str:
    return f"conversations/{conversation}/messages/{message_id}"


def _message(person: Person, message_id: str, text: str, created: str) -> Fields:
    named = {"messageId": message_id, "name": name_of(person.id, message_id)}
    return {"message": {**named, "text": text, "createTime": created}}


def _tapped(person: Person, below: str | None, title: str, data: str, created: str) -> Fields:
    told: Fields = {"postbackData": data, "createTime": created, "text": title, "type": "REPLY"}
    message_id = below or person.last_message_id
    named = {} if message_id is None else {"message": name_of(person.id, message_id)}
    return {"suggestionResponse": named | told}

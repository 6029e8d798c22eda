"""Messages and events of RCS for Business: what an agent may send, and what a person's act is."""

from collections.abc import Mapping
from typing import Any

from airy.errors import Refused
from airy.sim.google_api import suggestions
from airy.sim.provider.acts import (
    Blocks,
    PersonAct,
    Presses,
    Reads,
    Returns,
    Says,
    SendsMedia,
    SharesLocation,
    Types,
)
from airy.sim.provider.api import SimFile, record
from airy.sim.provider.state import Person

CONTENTS = ("text", "richCard", "contentInfo", "uploadedRbmFile")
TEXT_CHARACTERS_MAX = 3_072
SUGGESTIONS_MAX = 11
THUMBNAILS = frozenset({"image", "video"})
AGENT_EVENTS = frozenset({"IS_TYPING", "READ"})

Fields = dict[str, object]


def problem(content: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with a `contentMessage`."""
    given = [name for name in CONTENTS if content.get(name)]
    if len(given) != 1:
        return f"content_message has one of {', '.join(CONTENTS)}."
    text = content.get("text", "")
    if not isinstance(text, str) or len(text) > TEXT_CHARACTERS_MAX:
        return f"content_message.text must have at most {TEXT_CHARACTERS_MAX} characters."
    info = record(content.get("contentInfo"))
    if info and not str(info.get("fileUrl", "")).startswith(("https://", "http://")):
        return "content_message.content_info.file_url must be an address."
    return suggestions.problem(content, SUGGESTIONS_MAX)


def content_of(person: Person, act: PersonAct, message_id: str, file: tuple[str, SimFile] | None) -> Fields:
    """What an event holds besides phone, agent and time. Raises `Refused` for what the app cannot do."""
    event = {"eventId": message_id}
    match act:
        case Reads():
            if person.last_message_id is None:
                raise Refused("the account has sent nothing yet that could be read", field="act")
            return {"eventType": "READ", **event, "messageId": person.last_message_id}
        case Types():
            return {"eventType": "IS_TYPING", **event}
        case Blocks():
            return {"eventType": "UNSUBSCRIBE", **event}
        case Returns():
            return {"eventType": "SUBSCRIBE", **event}
    return {"messageId": message_id, **_message(act, file)}


def _message(act: PersonAct, file: tuple[str, SimFile] | None) -> Fields:
    match act:
        case Says(title, str(data)) | Presses(title, str(data)):
            return {"suggestionResponse": {"postbackData": data, "text": title, "type": "REPLY"}}
        case Says(text):
            return {"text": text}
        case SharesLocation(latitude, longitude):
            return {"location": {"latitude": latitude, "longitude": longitude}}
        case SendsMedia(kind, _, None) if file is not None:
            address, stored = file
            described: Fields = {"fileSizeBytes": len(stored.body), "fileUri": address}
            thumbnail = {"thumbnail": {"mimeType": "image/png", **described}} if kind in THUMBNAILS else {}
            return {
                "userFile": {**thumbnail, "payload": {"mimeType": stored.mime, "fileName": stored.name, **described}}
            }
    raise Refused(f"RCS reports no such act: {type(act).__name__}", field="act")

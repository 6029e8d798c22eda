"""A message of ours becomes one call of the Send API, or the reason why Meta would not take it. Pure.

What Meta certainly refuses is refused here, with a sentence that says what to change; what it may refuse is
left to it. `message.metadata` always is our message id: Meta returns it in the echo, which settles a call
whose answer was lost.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from airy.errors import Refused, Undecodable
from airy.model.conversation import Conversation, Message
from airy.sources import payload
from airy.sources.api import Call, Failed
from airy.sources.facebook import graph
from airy.sources.facebook.config import FacebookConfig
from airy.sources.facebook.element import WINDOW_MS

TEXT_CHARACTERS_MAX = 2000
QUICK_REPLIES_MAX = 13
BUTTONS_MAX = 3
ELEMENTS_MAX = 10
HUMAN_AGENT_MS = 7 * 86_400_000  # since the contact's last message

MEDIA = frozenset({"image", "video", "audio", "file"})
REPLY_TYPES = frozenset({"text", "user_phone_number", "user_email"})
MESSAGING_TYPES = frozenset({"RESPONSE", "UPDATE", "MESSAGE_TAG"})
REQUEST_FIELDS = frozenset({"messaging_type", "tag", "notification_type", "persona_id"})  # beside the message


def encode(
    config: FacebookConfig,
    message: Message,
    conversation: Conversation | None,
    token: str,
    now_ms: int,
) -> Call | Failed:
    recipient_id = message.recipient_id or (conversation.participant_id if conversation else None)
    if recipient_id is None:
        return Failed(
            kind="not_found",
            error="no recipient: the contact has not written yet and none is given",
        )
    try:
        content, request = _parts(message.content)
        check(payload.record(payload.value(Raw(msgspec.json.encode(content)))))
        kind = _messaging_type(
            config, {name: payload.value(part) for name, part in request.items()}, conversation, now_ms
        )
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    if isinstance(kind, Failed):
        return kind
    body = {
        "recipient": {"id": recipient_id},
        **request,
        **kind,
        "message": content | {"metadata": message.id},
        "appsecret_proof": graph.proof(config, token),
    }
    return Call("POST", f"{config.graph}/me/messages", graph.headers(token), msgspec.json.encode(body))


def _parts(content: Raw) -> tuple[dict[str, Raw], dict[str, Raw]]:
    """The message object and the fields of the call; content is that object, or has it in `message`."""
    try:
        members = payload.members(content)
        if "message" in members and not {"text", "attachment"} & members.keys():
            members = payload.members(members["message"]) | {
                name: part for name, part in members.items() if name in REQUEST_FIELDS
            }
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with text or attachment") from error
    request = {name: members.pop(name) for name in sorted(REQUEST_FIELDS & members.keys())}
    return members, request


def _messaging_type(
    config: FacebookConfig,
    request: Mapping[str, object],
    conversation: Conversation | None,
    now_ms: int,
) -> dict[str, str] | Failed:
    """The caller's own tag, or what the time since the contact's last message allows. Raises `Refused`."""
    tag, kind = request.get("tag"), request.get("messaging_type")
    if kind is not None and kind not in MESSAGING_TYPES:
        raise Refused(
            f"messaging_type is one of {', '.join(sorted(MESSAGING_TYPES))}, not {kind!r}",
            field="messaging_type",
        )
    if tag is not None:
        if not isinstance(tag, str) or not tag:
            raise Refused("tag is a word such as HUMAN_AGENT", field="tag")
        return {"messaging_type": "MESSAGE_TAG", "tag": tag}
    if kind == "MESSAGE_TAG":
        raise Refused("messaging_type MESSAGE_TAG needs a tag", field="tag")
    until_ms = conversation.window_until_ms if conversation else None
    if until_ms is None or now_ms <= until_ms:  # without a window we know nothing: Meta decides
        return {"messaging_type": str(kind or "RESPONSE")}
    if config.human_agent and now_ms <= until_ms - WINDOW_MS + HUMAN_AGENT_MS:
        return {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
    hours = (now_ms - until_ms + WINDOW_MS) // 3_600_000
    allowed = "7 days" if config.human_agent else "24 hours"
    return Failed(
        kind="window",
        error=f"the contact last wrote {hours} hours ago and messenger allows answers for {allowed}: "
        "wait until they write, or give a tag messenger accepts",
    )


# --- what Meta certainly refuses


def check(content: Mapping[str, object]) -> None:
    """Raises `Refused`, naming the field."""
    if ("text" in content) == ("attachment" in content):
        raise Refused("a message has either text or attachment, and not both", field="message")
    if "text" in content:
        _text(content["text"], "text", TEXT_CHARACTERS_MAX)
    else:
        _attachment(content["attachment"])
    if "quick_replies" in content:
        for where, reply in _list(content["quick_replies"], "quick_replies", QUICK_REPLIES_MAX):
            _quick_reply(reply, where)


def _attachment(attachment: object) -> None:
    kind = _object(attachment, "attachment").get("type")
    details = _object(payload.record(attachment).get("payload"), "attachment.payload")
    if kind == "template":
        _template(details)
    elif kind in MEDIA:
        _media(details, "attachment.payload")
    else:
        known = ", ".join(sorted({*MEDIA, "template"}))
        raise Refused(f"attachment.type is one of {known}, not {kind!r}", field="attachment.type")


def _media(details: Mapping[str, object], where: str) -> None:
    url, uploaded = details.get("url"), payload.identifier(details.get("attachment_id"))
    if url is None and uploaded is None:
        raise Refused(f"{where} has neither url nor attachment_id", field=where)
    if url is not None and not (isinstance(url, str) and url.startswith(("https://", "http://"))):
        raise Refused(f"{where}.url is not a web address Meta can fetch", field=f"{where}.url")


def _template(details: Mapping[str, object]) -> None:
    where, kind = "attachment.payload", details.get("template_type")
    if not isinstance(kind, str) or not kind:
        raise Refused(
            "attachment.payload.template_type is missing: generic, button, media …",
            field=f"{where}.template_type",
        )
    if kind == "button":
        _text(details.get("text"), f"{where}.text", TEXT_CHARACTERS_MAX)
        _buttons(details.get("buttons"), f"{where}.buttons")
    elif kind in {"generic", "media"}:
        elements = _list(details.get("elements"), f"{where}.elements", ELEMENTS_MAX if kind == "generic" else 1)
        for place, element in elements:
            if kind == "generic":
                _text(element.get("title"), f"{place}.title", TEXT_CHARACTERS_MAX)
            else:
                _media(element, place)
            if "buttons" in element:
                _buttons(element["buttons"], f"{place}.buttons")


def _buttons(buttons: object, where: str) -> None:
    for place, button in _list(buttons, where, BUTTONS_MAX):
        _text(button.get("type"), f"{place}.type", TEXT_CHARACTERS_MAX)


def _quick_reply(reply: Mapping[str, object], where: str) -> None:
    kind = reply.get("content_type")
    if kind not in REPLY_TYPES:
        raise Refused(f"{where}.content_type is one of {', '.join(sorted(REPLY_TYPES))}, not {kind!r}", field=where)
    if kind == "text":
        _text(reply.get("title"), f"{where}.title", TEXT_CHARACTERS_MAX)
        _text(reply.get("payload"), f"{where}.payload", TEXT_CHARACTERS_MAX)


def _text(thing: object, where: str, characters_max: int) -> None:
    if not isinstance(thing, str) or not thing.strip():
        raise Refused(f"{where} is missing or empty", field=where)
    if len(thing) > characters_max:
        raise Refused(
            f"{where} has {len(thing)} characters and messenger takes {characters_max}: split it", field=where
        )


def _object(thing: object, where: str) -> Mapping[str, object]:
    if not isinstance(thing, dict):
        raise Refused(f"{where} is not an object", field=where)
    return thing


def _list(thing: object, where: str, count_max: int) -> Sequence[tuple[str, Mapping[str, object]]]:
    """The objects of a list that is not empty, each with its place."""
    if not isinstance(thing, list) or not thing:
        raise Refused(f"{where} is not a list with something in it", field=where)
    if len(thing) > count_max:
        raise Refused(f"{where} has {len(thing)} entries and messenger takes {count_max}", field=where)
    return [(f"{where}[{index}]", _object(part, f"{where}[{index}]")) for index, part in enumerate(thing)]

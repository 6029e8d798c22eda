"""A message of ours becomes one call of `send_message`. Pure.

Viber takes no correlation id that it would report back before the contact answers, so a call whose answer was lost
stays unknown.
"""

from collections.abc import Mapping, Sequence

from airy.errors import Refused, Undecodable
from airy.model.conversation import Message
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.viber import bot_api, content, sender
from airy.sources.viber.spec import ViberSection

MEGABYTE = 1_048_576
TEXT_CHARACTERS_MAX = 7_000
CAPTION_CHARACTERS_MAX = 512
URL_CHARACTERS_MAX = 2_000
FILE_NAME_CHARACTERS_MAX = 256
TRACKING_CHARACTERS_MAX = 4_000
VIDEO_BYTES_MAX = 26 * MEGABYTE
FILE_BYTES_MAX = 50 * MEGABYTE
BODY_BYTES_MAX = 30 * 1_024
RESERVED = frozenset({"receiver", "auth_token", "broadcast_list", "chat_id"})  # they say where a message goes
TYPES = ("text", "picture", "video", "file", "contact", "location", "url", "sticker", "rich_media")


def encode(section: ViberSection, message: Message, target: Target) -> Sequence[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: the contact has not written yet and none is given")
    token = bot_api.token_of(section, target)
    if token is None:
        return Failed(kind="auth", error="the channel has no token: connect it again", stop_lane=True)
    try:
        fields = _fields(message)
        _check(fields)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    body = {"min_api_version": 1, "sender": sender.of(target.channel), **fields, "receiver": recipient_id}
    call = bot_api.call(section.api_url, token, "send_message", body)
    bytes_count = len(call.body or b"")
    if bytes_count > BODY_BYTES_MAX:
        too_large = f"the message has {bytes_count} bytes and viber takes {BODY_BYTES_MAX}"
        return Failed(kind="invalid", error=too_large)
    return [call]


def _fields(message: Message) -> dict[str, object]:
    """Raises `Refused`."""
    try:
        given = payload.value(message.content)
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with type and text") from error
    fields = canonical.fields_to_send(given, content.fields_of)
    fields = {name: part for name, part in fields.items() if name not in RESERVED}
    if "type" not in fields and "text" in fields:
        fields["type"] = "text"
    return fields


def _check(fields: Mapping[str, object]) -> None:
    """Raises `Refused`, naming the field."""
    if fields.get("sender") is not None:
        _text(payload.record(fields["sender"]), "name", sender.NAME_CHARACTERS_MAX)
    if fields.get("tracking_data") is not None:
        _text(fields, "tracking_data", TRACKING_CHARACTERS_MAX, empty=True)
    _check_content(fields, fields.get("type"))


def _check_content(fields: Mapping[str, object], kind: object) -> None:
    if kind is None and isinstance(fields.get("keyboard"), dict):
        return  # a keyboard alone
    if kind not in TYPES:
        raise Refused(f"type is one of {', '.join(TYPES)}", field="type")
    match kind:
        case "text":
            _text(fields, "text", TEXT_CHARACTERS_MAX)
        case "picture" | "video" | "file" | "url":
            _file(fields, kind)
        case "sticker":
            if payload.identifier(fields.get("sticker_id")) is None:
                raise Refused("sticker_id is missing", field="sticker_id")
        case "contact" | "location" | "rich_media":
            if not payload.record(fields.get(str(kind))):
                raise Refused(f"{kind} is missing or no object", field=str(kind))


def _file(fields: Mapping[str, object], kind: object) -> None:
    _text(fields, "media", URL_CHARACTERS_MAX)
    if fields.get("text") is not None:
        _text(fields, "text", CAPTION_CHARACTERS_MAX, empty=True)
    if kind in {"video", "file"}:
        bytes_max = VIDEO_BYTES_MAX if kind == "video" else FILE_BYTES_MAX
        size = fields.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            raise Refused(f"size is missing: viber wants the bytes of a {kind}", field="size")
        if size > bytes_max:
            raise Refused(f"the {kind} has {size} bytes and viber takes {bytes_max}", field="size")
    if kind == "file":
        _text(fields, "file_name", FILE_NAME_CHARACTERS_MAX)


def _text(fields: Mapping[str, object], name: str, characters_max: int, *, empty: bool = False) -> None:
    text = fields.get(name)
    if not isinstance(text, str) or not (empty or text.strip()):
        raise Refused(f"{name} is missing or empty", field=name)
    if len(text) > characters_max:
        raise Refused(f"{name} has {len(text)} characters and viber takes {characters_max}", field=name)

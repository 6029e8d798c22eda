"""A message of ours becomes one call of the Bot API. Pure.

Content is the fields of a send method; which one follows from the field that says what is sent. Telegram takes no
correlation id, so a call whose answer was lost stays unknown.
"""

import math
from collections.abc import Mapping, Sequence

from airy.errors import Refused, Undecodable
from airy.model.conversation import Message
from airy.secret import Secret
from airy.sources import canonical, payload
from airy.sources.api import Call, Failed, Target
from airy.sources.telegram import bot_api, chat, content
from airy.sources.telegram.spec import TelegramSection

TEXT_CHARACTERS_MAX = 4_096
CAPTION_CHARACTERS_MAX = 1_024
ALBUM_MAX = 10
METHODS = {  # by the field that only this method has, and for a venue beside the one of a location
    "text": "sendMessage",
    "photo": "sendPhoto",
    "animation": "sendAnimation",
    "video": "sendVideo",
    "video_note": "sendVideoNote",
    "voice": "sendVoice",
    "audio": "sendAudio",
    "document": "sendDocument",
    "sticker": "sendSticker",
    "media": "sendMediaGroup",
    "phone_number": "sendContact",
    "address": "sendVenue",
    "latitude": "sendLocation",
}
EMPTY: tuple[object, ...] = ("", [], {})  # says nothing beside another field
RESERVED = frozenset({"chat_id", "message_thread_id", "business_connection_id", "method"})


def encode(section: TelegramSection, message: Message, target: Target) -> Sequence[Call] | Failed:
    recipient_id = target.recipient(message)
    if recipient_id is None:
        return Failed(kind="not_found", error="no recipient: a bot cannot write before the contact does")
    token = target.credentials.get("token")
    if token is None:
        return Failed(kind="auth", error="the channel has no token: connect it again", stop_lane=True)
    try:
        fields = _fields(message)
        method = _method(fields)
    except Refused as error:
        return Failed(kind="invalid", error=str(error))
    return [_call(section, token, method, recipient_id, fields)]


def typing(section: TelegramSection, target: Target) -> Sequence[Call]:
    token = target.credentials.get("token")
    recipient_id = target.conversation.participant_id if target.conversation else None
    if token is None or recipient_id is None:
        return []
    return [_call(section, token, "sendChatAction", recipient_id, {"action": "typing"})]


def mark_read(section: TelegramSection, target: Target, provider_id: str) -> Sequence[Call]:
    """In business chats alone: a bot's own chats have no such signal."""
    token = target.credentials.get("token")
    recipient_id = target.conversation.participant_id if target.conversation else None
    number = provider_id.rpartition(":")[2]
    if token is None or recipient_id is None or not (number.isascii() and number.isdigit()):
        return []
    if "business_connection_id" not in chat.fields(recipient_id):
        return []
    return [_call(section, token, "readBusinessMessage", recipient_id, {"message_id": int(number)})]


def _call(section: TelegramSection, token: Secret, method: str, recipient: str, fields: Mapping[str, object]) -> Call:
    return bot_api.call(section.api_url, token, method, {**chat.fields(recipient), **fields})


def _fields(message: Message) -> dict[str, object]:
    """Raises `Refused`."""
    try:
        given = payload.value(message.content)
    except Undecodable as error:
        raise Refused(f"the message {error}; send an object with text or a file") from error
    fields = canonical.fields_to_send(given, content.fields_of)
    return {name: part for name, part in fields.items() if name not in RESERVED}


def _method(fields: Mapping[str, object]) -> str:
    """Raises `Refused`, naming the field."""
    given = [name for name in METHODS if name in fields]
    said = [name for name in given if fields[name] not in EMPTY]
    if len(said) > 1 and said != ["address", "latitude"]:
        raise Refused(f"{said[0]} and {said[1]} are two messages of telegram: send one of them", field=said[1])
    name = next(iter(said or given), None)
    if name is None:
        raise Refused(f"a message has one of {', '.join(METHODS)}", field="text")
    marked_up = bool(fields.get("parse_mode"))  # Telegram counts what is left of it
    if name == "text":
        _text(fields["text"], "text", math.inf if marked_up else TEXT_CHARACTERS_MAX)
    elif name == "media":
        album = fields["media"]
        if not isinstance(album, list) or not 2 <= len(album) <= ALBUM_MAX:
            raise Refused(f"media is a list of 2 to {ALBUM_MAX} files", field="media")
    elif name != "latitude":
        _text(fields[name], name, TEXT_CHARACTERS_MAX)
    if fields.get("caption", "") != "":
        _text(fields["caption"], "caption", math.inf if marked_up else CAPTION_CHARACTERS_MAX)
    return METHODS[name]


def _text(thing: object, name: str, characters_max: float) -> None:
    if not isinstance(thing, str) or not thing.strip():
        raise Refused(f"{name} is missing or empty", field=name)
    if len(thing) > characters_max:
        raise Refused(f"{name} has {len(thing)} characters and telegram takes {characters_max}: split it", field=name)

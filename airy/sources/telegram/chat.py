"""Names of chats and messages: one text for a conversation and one for a message, that lead back to the API's fields.

A conversation is `chat`, `chat:thread` in a forum, `connection:chat` in a business account; a message is
`chat:message`, with the connection in front where there is one. Message ids count within a chat.
"""

import re
from collections.abc import Mapping

from airy.sources import payload

_CHAT = re.compile(r"-?\d+|@[A-Za-z0-9_]+")


def conversation(message: Mapping[str, object]) -> str | None:
    """Of a message object, or of anything with `chat`."""
    chat = payload.identifier(payload.record(message.get("chat")).get("id"))
    if chat is None:
        return None
    connection = payload.text(message.get("business_connection_id"))
    thread = payload.identifier(message.get("message_thread_id")) if message.get("is_topic_message") is True else None
    return ":".join(part for part in (connection, chat, thread) if part is not None)


def names(node: Mapping[str, object]) -> tuple[str, ...]:
    """Of the conversation of an object with `chat`, or with a message that has one; the present name first. Two where a
    group says that it became a supergroup, which has another number.
    """
    node = node if "chat" in node else payload.record(node.get("message"))
    here = conversation(node)
    if here is None:
        return ()
    moved_to = payload.identifier(node.get("migrate_to_chat_id"))
    moved_from = payload.identifier(node.get("migrate_from_chat_id"))
    return tuple(each for each in (moved_to, here, moved_from) if each is not None)


def may_move(name: str) -> bool:
    """Whether it is a group as a whole: no private chat, no topic, and none of a business account."""
    return name.startswith("-") and ":" not in name


def message(node: Mapping[str, object], message_id: object = None) -> str | None:
    """The provider id of a message; None for one that cannot be named again."""
    chat = payload.identifier(payload.record(node.get("chat")).get("id"))
    number = payload.identifier(node.get("message_id") if message_id is None else message_id)
    if chat is None or number in {None, "0"}:
        return None
    connection = payload.text(node.get("business_connection_id"))
    return ":".join(part for part in (connection, chat, number) if part is not None)


def fields(recipient: str) -> dict[str, object]:
    """The API's fields for a conversation's name."""
    parts = recipient.split(":")
    found: dict[str, object] = {}
    if len(parts) > 1 and not _CHAT.fullmatch(parts[0]):
        found["business_connection_id"] = parts.pop(0)
    chat = parts[0]
    found["chat_id"] = int(chat) if re.fullmatch(r"-?\d{1,18}", chat) else chat
    if len(parts) > 1 and parts[1].isascii() and parts[1].isdigit():
        found["message_thread_id"] = int(parts[1])
    return found

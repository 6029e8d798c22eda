"""Renders the model as API documents: one definition for the HTTP API, webhooks and the websocket.

Functions return plain dictionaries to be encoded by msgspec; message contents and metadata values are passed through
as the JSON they are. Secrets are not rendered: neither a channel's token nor the metadata keys that once carried
tokens.
"""

from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from msgspec import Raw

from airy.model import metadata, stored_media
from airy.model.conversation import Conversation, Message, Reaction
from airy.model.delivery_state import API_STATE, DETAILED_STATE
from airy.model.entity import ApiToken, Channel, CustomSource, Tag, Template, User, Webhook
from airy.model.raw import none_if_null

Document = dict[str, object]

SECRET_KEYS = frozenset({"page_token", "token", "access_token", "auth_token", "api_secret", "api_key"})
LAST_MS = 253_402_300_799_999  # end of the year 9999; an absurd provider time must not make a conversation unreadable
_STRUCTURED = (b"{", b"[", b'"')
_RAW = msgspec.json.Decoder(Raw)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def timestamp(at_ms: int) -> str:
    """`2024-03-05T07:08:09.120Z`; times out of range are clamped."""
    if not 0 <= at_ms <= LAST_MS:
        at_ms = 0 if at_ms < 0 else LAST_MS
    seconds, millis = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{millis:03}Z"


def content(raw: Raw) -> object:
    """Valid JSON unchanged; anything else as one string."""
    text = bytes(raw)
    if text.startswith(_STRUCTURED):
        return raw
    try:
        return _RAW.decode(text)
    except msgspec.DecodeError:
        return text.decode("utf-8", "replace")


def render_message(message: Message, *, read_sequence: int = 0, user: User | None = None) -> Document:
    """`read_sequence` is the conversation's; `user` is the sender, if it is a user of Airy."""
    return {
        "id": message.id,
        "content": content(stored_media.replaced(message.content, message.metadata)),
        **_canonical(message),
        "sent_at": timestamp(message.sent_at_ms),
        "delivery_state": API_STATE[message.delivery],
        "from_contact": message.from_contact,
        "source": message.source,
        "metadata": message_metadata(message, read_sequence),
        "sender": {
            "id": message.sender_id,
            "name": user.name if user else None,
            "avatar_url": user.avatar_url if user else None,
        },
    }


def _canonical(message: Message) -> Document:
    """The content in common terms; no key where it is unknown."""
    known = none_if_null(message.canonical)
    return {} if known is None else {"canonical": stored_media.located(known, message.metadata)}


def message_metadata(message: Message, read_sequence: int = 0) -> Document:
    """Metadata set on the message, plus the keys derived from its state."""
    document = metadata.nest(stored_media.shown(message.metadata)) if message.metadata else {}
    at_source: Document = {}
    if message.provider_id is not None:
        at_source["id"] = message.provider_id
    if message.reply_to is not None:
        at_source["reply_to"] = message.reply_to
    if message.standby:
        at_source["standby"] = True
    if message.from_contact:
        if message.sequence <= read_sequence:
            document["user_read"] = message.sent_at_ms
    elif (detailed := DETAILED_STATE[message.delivery]) is not None:
        at_source["delivery_state"] = detailed
    if at_source:
        metadata.section(document, "source").update(at_source)
    if message.reactions and (reaction := latest_reaction(message)) is not None:
        document["reaction"] = {"emoji": reaction.emoji, "sent_at": str(reaction.at_ms)}
    return document


def latest_reaction(message: Message) -> Reaction | None:
    """The reaction that is rendered, as the API has one per message: the latest by time, then by the log."""
    latest: Reaction | None = None
    for reaction in message.reactions.values():
        if reaction.emoji is not None and (latest is None or reaction.at_ms >= latest.at_ms):
            latest = reaction
    return latest


def conversation_metadata(conversation: Conversation) -> Document:
    """Metadata set on the conversation, plus the keys derived from its state, without defaults."""
    document = metadata.nest(conversation.metadata)
    if conversation.tags:
        document["tags"] = dict.fromkeys(conversation.tags, "")
    if conversation.state is not None:
        document["state"] = conversation.state
    document["unread_count"] = conversation.unread_count
    return document


def default_contact_name(conversation: Conversation) -> str:
    """`Sms 4f2b1` for `twilio.sms`: the last word of the source and the end of the id."""
    word = conversation.source.rpartition(".")[2]
    return f"{word[:1].upper()}{word[1:]} {conversation.id[31:]}"


def _metadata_with_defaults(conversation: Conversation) -> Document:
    document = conversation_metadata(conversation)
    metadata.section(document, "contact").setdefault("display_name", default_contact_name(conversation))
    return document


def render_conversation(
    conversation: Conversation,
    channel: Channel,
    last_message: Message | None,
    *,
    sender: User | None = None,
) -> Document:
    """The form of the HTTP API. `sender` is that of the last message, if it is a user of Airy."""
    last = None
    if last_message is not None:
        last = render_message(last_message, read_sequence=conversation.read_sequence, user=sender)
    return {
        "id": conversation.id,
        "created_at": timestamp(conversation.created_at_ms),
        "channel": render_channel(channel),
        "metadata": _metadata_with_defaults(conversation),
        "state_version": conversation.state_sequence,
        "last_message": last,
    }


def render_conversation_event(conversation: Conversation, last_message: object) -> Document:
    """The form of `conversation.updated`: the channel by its id, and no key without a value.

    `last_message` is already rendered, or None.
    """
    document: Document = {
        "id": conversation.id,
        "created_at": timestamp(conversation.created_at_ms),
        "metadata": _metadata_with_defaults(conversation),
        "state_version": conversation.state_sequence,
        "channel_id": conversation.channel_id,
    }
    if last_message is not None:
        document["last_message"] = last_message
    return document


def channel_metadata(channel: Channel) -> Document:
    document = metadata.nest(channel.metadata)
    for key in SECRET_KEYS & document.keys():
        del document[key]
    document.setdefault("name", f"{channel.source} {channel.id[31:]}")
    return document


def render_channel(channel: Channel) -> Document:
    return {
        "id": channel.id,
        "source": channel.source,
        "source_channel_id": channel.source_channel_id,
        "connected": channel.connected,
        "metadata": channel_metadata(channel),
    }


def render_tag(tag: Tag) -> Document:
    return {"id": tag.id, "name": tag.name, "color": tag.color}


def render_template(template: Template) -> Document:
    return {
        "id": template.id,
        "name": template.name,
        "source": template.source,
        "content": content(template.content),
    }


def render_webhook(webhook: Webhook, headers: dict[str, str]) -> Document:
    """`headers` in clear text, as the client gave them; the signature key and secrets are never rendered."""
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "url": webhook.url,
        "headers": headers,
        "events": list(webhook.events),
    }


def render_api_token(token: ApiToken) -> Document:
    """Without its hash."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "permissions": list(token.permissions),
        "created_by": token.created_by,
        "created_at": timestamp(token.created_at_ms),
        "expires_at": timestamp(token.expires_at_ms),
        "revoked_at": None if token.revoked_at_ms is None else timestamp(token.revoked_at_ms),
    }


def render_custom_source(source: CustomSource, token: str | None = None) -> Document:
    return {
        "source_id": source.id,
        "name": source.name,
        "image_url": source.image_url,
        "action_endpoint": source.action_endpoint,
        "token": token,
    }


def render_user(user: User) -> Document:
    return {
        "id": user.id,
        "name": user.name,
        "avatar_url": user.avatar_url,
        "first_seen_at": timestamp(user.first_seen_at_ms),
        "last_seen_at": timestamp(user.last_seen_at_ms),
    }

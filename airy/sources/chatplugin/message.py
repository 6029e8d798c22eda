"""A message as its visitor sees it: in the widget's shape, and without what agents know about it. Pure."""

import msgspec
from msgspec import Raw, Struct

from airy.model import render
from airy.model.change import Change, ChangeKind
from airy.model.conversation import Message
from airy.model.delivery_state import API_STATE, DeliveryState
from airy.sources.chatplugin.content import widget_content

UNDELIVERED = frozenset({DeliveryState.SENT, DeliveryState.UNKNOWN})  # no browser was handed the message


class _ChangedSource(Struct, frozen=True):
    delivery_state: str = ""


class _ChangedMetadata(Struct, frozen=True):
    source: _ChangedSource = _ChangedSource()


class _ChangedSender(Struct, frozen=True):
    id: str


class ChangedMessage(Struct, frozen=True):
    """The message of a change."""

    id: str
    content: Raw
    sent_at: str
    delivery_state: str
    from_contact: bool
    sender: _ChangedSender
    metadata: _ChangedMetadata = _ChangedMetadata()

    @property
    def undelivered(self) -> bool:
        return not self.from_contact and self.metadata.source.delivery_state in UNDELIVERED


class _MessageChangePayload(Struct, frozen=True):
    message: ChangedMessage


class _MessageChangeBody(Struct, frozen=True):
    payload: _MessageChangePayload


_CHANGE = msgspec.json.Decoder(_MessageChangeBody)


def visitor_message(message: Message | ChangedMessage) -> render.Document:
    if isinstance(message, ChangedMessage):
        return _document(
            message.id,
            message.content,
            message.sent_at,
            message.delivery_state,
            message.sender.id,
            from_contact=message.from_contact,
        )
    state = API_STATE[message.delivery]
    sent_at = render.timestamp(message.sent_at_ms)
    return _document(message.id, message.content, sent_at, state, message.sender_id, from_contact=message.from_contact)


def news(change: Change) -> ChangedMessage | None:
    """The message of a change if its visitor has to be told: they wrote it, or it was sent and not delivered yet."""
    if change.kind not in {ChangeKind.MESSAGE_CREATED, ChangeKind.MESSAGE_UPDATED}:
        return None
    message = _CHANGE.decode(change.body).payload.message
    written = message.from_contact and change.kind is ChangeKind.MESSAGE_CREATED
    return message if written or message.undelivered else None


def _document(
    message_id: str, content: Raw, sent_at: str, state: str, sender_id: str, *, from_contact: bool
) -> render.Document:
    return {
        "id": message_id,
        "content": render.content(content) if from_contact else _shown(content),
        "sent_at": sent_at,
        "delivery_state": state,
        "from_contact": from_contact,
        "source": "chatplugin",
        "metadata": None,
        "sender": {"id": sender_id, "name": None, "avatar_url": None},
    }


def _shown(content: Raw) -> object:
    if b'"canonical"' not in bytes(content):
        return render.content(content)
    return widget_content(msgspec.json.decode(content))  # it was encoded before it was sent

"""Schemas of events, for the AsyncAPI document only; tests validate events against them.

`airy.model.change_builder` and `airy.http.event_frames` build the bodies.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from airy.http.response_schemas import ChannelSchema, MessageSchema, TagSchema
from airy.model.change import ChangeKind

Document = dict[str, Any]


class MessageEventSchema(Struct, forbid_unknown_fields=True):
    conversation_id: str
    channel_id: str
    message: MessageSchema


class MessageDeletedEventSchema(Struct, forbid_unknown_fields=True):
    conversation_id: str
    channel_id: str
    message_id: str


class ConversationEventSchema(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """`last_message` is absent if there is none."""

    id: str
    created_at: str
    state_version: int
    metadata: Document
    channel_id: str
    last_message: MessageSchema | None = None


class MetadataEventSchema(Struct, forbid_unknown_fields=True):
    """`metadata` is the whole document after the change."""

    subject: Literal["conversation", "message"]
    identifier: str
    metadata: Document


PAYLOADS: Mapping[ChangeKind, type[Struct]] = {
    ChangeKind.MESSAGE_CREATED: MessageEventSchema,
    ChangeKind.MESSAGE_UPDATED: MessageEventSchema,
    ChangeKind.MESSAGE_DELETED: MessageDeletedEventSchema,
    ChangeKind.CONVERSATION_UPDATED: ConversationEventSchema,
    ChangeKind.METADATA_UPDATED: MetadataEventSchema,
    ChangeKind.CHANNEL_UPDATED: ChannelSchema,
    ChangeKind.TAG_UPDATED: TagSchema,
}

SUMMARIES: Mapping[ChangeKind, str] = {
    ChangeKind.MESSAGE_CREATED: "A message was received or is to be sent.",
    ChangeKind.MESSAGE_UPDATED: "The delivery state, content, reaction or metadata of a message changed.",
    ChangeKind.MESSAGE_DELETED: "A message was deleted.",
    ChangeKind.CONVERSATION_UPDATED: "A conversation, its metadata or its last message changed.",
    ChangeKind.METADATA_UPDATED: "Metadata of a conversation or a message changed.",
    ChangeKind.CHANNEL_UPDATED: "A channel was connected, changed or disconnected.",
    ChangeKind.TAG_UPDATED: "A tag was created or changed.",
}

"""Changes: what the fold tells the outside. One definition for webhooks, websocket and bots.

A change carries the exact body its subscribers get, made once when the fact was folded, so retries, replays
and rebuilt queues send the same bytes. Its id depends on conversation and sequence, or on the write of an entity,
never on a backend's offsets.
"""

from enum import StrEnum

from msgspec import Struct


class ChangeKind(StrEnum):
    MESSAGE_CREATED = "message.created"
    MESSAGE_UPDATED = "message.updated"
    MESSAGE_DELETED = "message.deleted"
    CONVERSATION_UPDATED = "conversation.updated"
    METADATA_UPDATED = "metadata.updated"
    CHANNEL_UPDATED = "channel.updated"
    TAG_UPDATED = "tag.updated"


class Change(Struct, frozen=True, kw_only=True, gc=False):
    id: str
    kind: ChangeKind
    lane: str  # what order is kept within: the conversation's id, or the entity's
    sequence: int  # grows within the lane; of an entity, it is the time of the write
    at_ms: int  # `timestamp` of the body
    body: bytes  # {"id","type","timestamp","sequence","payload"} as JSON
    source: str = ""
    channel_id: str = ""
    from_contact: bool = False  # message changes: whether a contact wrote it

"""A change: one event that webhooks, websocket and bots receive, produced by the fold.

A change carries the exact body its subscribers receive, encoded once when the fact is folded, so retries, replays
and rebuilt queues send the same bytes. Its id depends on conversation and fact, or on the write of an entity, never
on a count or a backend's offsets.
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
    lane: str  # ordering key: changes of one lane are delivered in order; the conversation's or the entity's id
    sequence: int  # grows within the lane; for an entity, the time of the write in ms
    at_ms: int  # `timestamp` of the body
    body: bytes  # {"id","type","timestamp","sequence","payload"} as JSON
    source: str = ""
    channel_id: str = ""
    from_contact: bool = False  # of a message change: whether the contact wrote the message

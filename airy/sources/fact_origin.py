"""What every fact of one raw event has in common: conversation, channel, time and cause."""

from typing import TypedDict

from airy.bus.record import Record
from airy.model import ids
from airy.model.entity import Channel


class FactOrigin(TypedDict):
    conversation_id: str
    channel_id: str
    source: str
    at_ms: int
    cause: str


def fact_origin(
    channel: Channel, source_conversation_id: str, at_ms: int, cause: str, *, conversation_id: str | None = None
) -> FactOrigin:
    """`conversation_id`: where it does not derive from the participant's name."""
    return FactOrigin(
        conversation_id=conversation_id or ids.conversation_id(channel.id, source_conversation_id),
        channel_id=channel.id,
        source=channel.source,
        at_ms=at_ms,
        cause=cause,
    )


def cause_of(record: Record) -> str:
    """The request that brought a raw event, or else where its record is."""
    return record.header("request-id") or f"{record.topic}[{record.partition}]@{record.offset}"

"""`/messages.trace`: one message end to end."""

from msgspec import Struct

from airy.commands.message_traces import AmbiguousMessage, Hop, MessageTrace, TraceReference
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.field_error import FieldError
from airy.http.ports import ApiContext
from airy.http.problems import Problem
from airy.http.request_bodies import FilledText, Id
from airy.http.resource import Resource
from airy.http.response_schemas import MessageTraceSchema
from airy.model.conversation import Message
from airy.model.render import render_message, timestamp


class TraceMessage(Struct, frozen=True):
    id: FilledText | None = None  # any of the three below
    message_id: Id | None = None
    source_message_id: FilledText | None = None
    conversation_id: Id | None = None  # alone: its last message
    channel_id: Id | None = None
    source: FilledText | None = None


@action("/messages.trace", permission=Permission.INSPECT, body=TraceMessage, returns=MessageTraceSchema)
async def trace(api: ApiContext, request: ActionRequest[TraceMessage]) -> Reply:
    """One message from the provider's webhook to the last delivery, found by one of its ids."""
    body = request.body
    reference = TraceReference(
        id=body.id,
        message_id=body.message_id,
        source_message_id=body.source_message_id,
        conversation_id=body.conversation_id,
        channel_id=body.channel_id,
        source=body.source,
    )
    try:
        found = await api.message_traces.trace(reference)
    except AmbiguousMessage as error:
        fields = [FieldError(error.field or "id", _candidate(each)) for each in error.candidates]
        raise Problem(409, str(error), fields=fields) from error
    return Reply(render_trace(found))


RESOURCE = Resource(name="message-traces", component="api-admin", actions=(trace,))


def render_trace(found: MessageTrace) -> dict[str, object]:
    message = found.message
    hops: list[dict[str, object]] = []
    previous_ms: int | None = None
    for hop in found.hops:
        since_ms = None if hop.at_ms is None or previous_ms is None else hop.at_ms - previous_ms
        hops.append(_render(hop, since_ms))
        previous_ms = previous_ms if hop.at_ms is None else hop.at_ms
    return {
        "message": render_message(message),
        "conversation_id": message.conversation_id,
        "channel_id": message.channel_id,
        "complete": found.complete,
        "hops": hops,
    }


def _render(hop: Hop, since_ms: int | None) -> dict[str, object]:
    return {
        "kind": hop.kind,
        "outcome": hop.outcome,
        "at": None if hop.at_ms is None else timestamp(hop.at_ms),
        "since_previous_ms": since_ms,
        "took_ms": hop.took_ms,
        "topic": hop.position.topic if hop.position else None,
        "partition": hop.position.partition if hop.position else None,
        "offset": hop.position.offset if hop.position else None,
        "detail": hop.detail,
    }


def _candidate(message: Message) -> str:
    where = f"conversation {message.conversation_id} of the {message.source} channel {message.channel_id}"
    return f"{message.id} in {where}"

"""`/messages.*`"""

from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from airy.actors.commands import Unknown
from airy.http import shapes
from airy.http.action import Answer, Call, action
from airy.http.auth import Permission
from airy.http.bodies import Id, Json, Text
from airy.http.paging import envelope
from airy.http.ports import Edge
from airy.model.conversation import Message
from airy.model.render import render_message
from airy.store.cursors import page_size


class List(Struct, frozen=True):
    conversation_id: Id
    cursor: Text | None = None
    page_size: int | None = None


class Send(Struct, frozen=True):
    message: Json
    conversation_id: Id | None = None
    channel_id: Id | None = None
    source_recipient_id: Text | None = None
    id: Text | None = None  # an idempotency key, as well


class Reference(Struct, frozen=True):
    message_id: Id


@action("/messages.list", permission=Permission.READ, body=List, returns=shapes.Page[shapes.Message])
async def list_(edge: Edge, call: Call[List]) -> Answer:
    """The messages of a conversation, newest first, a page at a time."""
    body = call.body
    view = await edge.store.conversation(body.conversation_id)
    if view is None:
        raise Unknown(f"there is no conversation {body.conversation_id}", field="conversation_id")
    page = await edge.store.messages(
        body.conversation_id, cursor=body.cursor or None, page_size=page_size(body.page_size)
    )
    read = view.conversation.read_sequence
    return Answer(envelope(page, [render_message(cast("Message", item), read_sequence=read) for item in page.items]))


@action("/messages.send", permission=Permission.WRITE, body=Send, returns=shapes.Message)
async def send(edge: Edge, call: Call[Send]) -> Answer:
    """Say something in a conversation, or start one by naming a channel and a recipient; delivery follows."""
    body, cause = call.body, call.cause
    if cause.key is None and body.id is not None:
        cause = replace(cause, key=body.id)
    done = await edge.commands.messages.send(
        body.message.raw,
        cause,
        conversation_id=body.conversation_id,
        channel_id=body.channel_id,
        recipient_id=body.source_recipient_id,
    )
    return Answer(render_message(done.value), position=done.position)


@action("/messages.resend", permission=Permission.WRITE, body=Reference)
async def resend(edge: Edge, call: Call[Reference]) -> Answer:
    """Try a failed message again."""
    done = await edge.commands.messages.resend(call.body.message_id, call.cause)
    return Answer(position=done.position)


ACTIONS = (list_, send, resend)

"""`/messages.*`"""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from airy.commands import NotFound
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.pagination import page_body
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, Json, Text
from airy.http.resource import Resource
from airy.http.response_schemas import MessageSchema, PageSchema
from airy.http.senders import Senders
from airy.model.conversation import Message
from airy.model.render import render_message
from airy.store.cursors import page_size

SUGGESTIONS_MAX = 100  # of one request
SUGGESTION_ID_CHARS_MAX = 128


class ListMessages(Struct, frozen=True):
    conversation_id: Id
    cursor: FilledText | None = None
    page_size: int | None = None


class SendMessage(Struct, frozen=True):
    message: Json
    conversation_id: Id | None = None
    channel_id: Id | None = None
    source_recipient_id: FilledText | None = None
    id: Text | None = None  # used as idempotency key if the request has none


class MessageReference(Struct, frozen=True):
    message_id: Id


class SuggestedReply(Struct, frozen=True):
    content: Json


class SuggestReplies(Struct, frozen=True):
    message_id: Id
    suggestions: Annotated[dict[str, SuggestedReply], Meta(min_length=1, max_length=SUGGESTIONS_MAX)]


@action("/messages.list", permission=Permission.READ, body=ListMessages, returns=PageSchema[MessageSchema])
async def list_(api: ApiContext, request: ActionRequest[ListMessages]) -> Reply:
    """A page of a conversation's messages, newest first."""
    body = request.body
    view = await api.store.conversation(body.conversation_id)
    if view is None:
        raise NotFound(f"there is no conversation {body.conversation_id}", field="conversation_id")
    page = await api.store.messages(body.conversation_id, cursor=body.cursor, page_size=page_size(body.page_size))
    messages = await Senders(api).messages(page.items, read_sequence=view.conversation.read_sequence)
    return Reply(page_body(page, messages))


@action("/messages.info", permission=Permission.READ, body=MessageReference, returns=MessageSchema)
async def info(api: ApiContext, request: ActionRequest[MessageReference]) -> Reply:
    """One message."""
    message = await api.store.message(request.body.message_id)
    if message is None:
        raise NotFound(f"there is no message {request.body.message_id}", field="message_id")
    view = await api.store.conversation(message.conversation_id)
    (shown,) = await Senders(api).messages([message], read_sequence=view.conversation.read_sequence if view else 0)
    return Reply(shown)


@action("/messages.send", permission=Permission.WRITE, body=SendMessage, returns=MessageSchema, other_statuses=(202,))
async def send(api: ApiContext, request: ActionRequest[SendMessage]) -> Reply:
    """Send a message in a conversation, or to a recipient of a channel. Delivery is asynchronous. 202: the
    conversation is not known yet, and the message waits for it.
    """
    body, context = request.body, request.context
    if context.key is None and body.id is not None:
        context = replace(context, key=body.id)
    written = await api.commands.messages.send(
        body.message.raw,
        context,
        conversation_id=body.conversation_id,
        channel_id=body.channel_id,
        recipient_id=body.source_recipient_id,
    )
    deferred = not written.value.channel_id
    return Reply(render_message(written.value), position=written.position, status=202 if deferred else None)


@action("/messages.resend", permission=Permission.WRITE, body=MessageReference)
async def resend(api: ApiContext, request: ActionRequest[MessageReference]) -> Reply:
    """Send a failed message again."""
    written = await api.commands.messages.resend(request.body.message_id, request.context)
    return Reply(position=written.position)


@action("/messages.cancel", permission=Permission.WRITE, body=MessageReference, returns=MessageSchema)
async def cancel(api: ApiContext, request: ActionRequest[MessageReference]) -> Reply:
    """Cancel a message that waits to be sent: it fails, and the next one of its conversation is sent."""
    written = await api.commands.messages.cancel(request.body.message_id, request.context)
    return Reply(render_message(written.value), position=written.position)


@action(
    "/messages.suggest-replies",
    "/messages.suggestReplies",
    permission=Permission.WRITE,
    body=SuggestReplies,
    returns=MessageSchema,
)
async def suggest_replies(api: ApiContext, request: ActionRequest[SuggestReplies]) -> Reply:
    """Suggest replies to a message, by ids of the caller's choice. Another suggestion of the same id is replaced."""
    body = request.body
    for name in body.suggestions:
        if not name or "." in name or len(name) > SUGGESTION_ID_CHARS_MAX:
            message = f"the id {name[:32]!r} must have 1 to {SUGGESTION_ID_CHARS_MAX} characters and no dot"
            raise Refused(message, field="suggestions")
    contents = {name: suggested.content.raw for name, suggested in body.suggestions.items()}
    written = await api.commands.metadata.suggest_replies(body.message_id, contents, request.context)
    return Reply(await _rendered(api, written.value), position=written.position)


async def _rendered(api: ApiContext, message: Message) -> dict[str, object]:
    view = await api.store.conversation(message.conversation_id)
    return render_message(message, read_sequence=view.conversation.read_sequence if view else 0)


RESOURCE = Resource(
    name="messages",
    component="api-communication",
    actions=(list_, info, send, resend, cancel, suggest_replies),
)

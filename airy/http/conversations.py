"""`/conversations.*`"""

from typing import cast

from msgspec import Struct

from airy.actors.commands import Unknown
from airy.http import shapes
from airy.http.action import Answer, Call, action
from airy.http.auth import Permission
from airy.http.bodies import Id, LongText, Text
from airy.http.paging import envelope
from airy.http.ports import Edge
from airy.model.render import render_conversation
from airy.store.api import ConversationView, Page
from airy.store.cursors import page_size


class List(Struct, frozen=True):
    filters: LongText | None = None
    cursor: Text | None = None
    page_size: int | None = None


class Reference(Struct, frozen=True):
    conversation_id: Id


class Tagging(Struct, frozen=True):
    conversation_id: Id
    tag_id: Id


class SetState(Struct, frozen=True):
    conversation_id: Id
    state: Text


class UpdateContact(Struct, frozen=True):
    conversation_id: Id
    display_name: Text


@action("/conversations.list", permission=Permission.READ, body=List, returns=shapes.Page[shapes.Conversation])
async def list_(edge: Edge, call: Call[List]) -> Answer:
    """Conversations by latest activity, newest first; filtered, a page at a time."""
    body = call.body
    page = await edge.store.conversations(
        filters=body.filters, cursor=body.cursor or None, page_size=page_size(body.page_size)
    )
    if body.page_size == 0:  # only the count is wanted
        page = Page(items=[], previous_cursor=None, next_cursor=None, total=page.total)
    return Answer(envelope(page, [_render(cast("ConversationView", item)) for item in page.items]))


@action("/conversations.info", permission=Permission.READ, body=Reference, returns=shapes.Conversation)
async def info(edge: Edge, call: Call[Reference]) -> Answer:
    """One conversation."""
    view = await edge.store.conversation(call.body.conversation_id)
    if view is None:
        raise Unknown(f"there is no conversation {call.body.conversation_id}", field="conversation_id")
    return Answer(_render(view))


@action(
    "/conversations.mark-read",
    "/conversations.markRead",
    permission=Permission.WRITE,
    body=Reference,
    status=204,
)
async def mark_read(edge: Edge, call: Call[Reference]) -> Answer:
    """Everything in the conversation so far has been read."""
    return Answer(position=await edge.commands.conversations.mark_read(call.body.conversation_id, call.cause))


@action("/conversations.tag", permission=Permission.WRITE, body=Tagging, status=204)
async def tag(edge: Edge, call: Call[Tagging]) -> Answer:
    """Put a tag on a conversation; twice is once."""
    body = call.body
    return Answer(position=await edge.commands.conversations.tag(body.conversation_id, body.tag_id, call.cause))


@action("/conversations.untag", permission=Permission.WRITE, body=Tagging, status=204)
async def untag(edge: Edge, call: Call[Tagging]) -> Answer:
    """Take a tag off a conversation."""
    body = call.body
    return Answer(position=await edge.commands.conversations.untag(body.conversation_id, body.tag_id, call.cause))


@action(
    "/conversations.set-state",
    "/conversations.setState",
    permission=Permission.WRITE,
    body=SetState,
    status=204,
)
async def set_state(edge: Edge, call: Call[SetState]) -> Answer:
    """Set the state to any word; by convention OPEN or CLOSED."""
    body = call.body
    return Answer(position=await edge.commands.conversations.set_state(body.conversation_id, body.state, call.cause))


@action(
    "/conversations.remove-state",
    "/conversations.removeState",
    permission=Permission.WRITE,
    body=Reference,
    status=204,
)
async def remove_state(edge: Edge, call: Call[Reference]) -> Answer:
    """Remove the state."""
    return Answer(position=await edge.commands.conversations.set_state(call.body.conversation_id, None, call.cause))


@action(
    "/conversations.update-contact",
    "/conversations.updateContact",
    permission=Permission.WRITE,
    body=UpdateContact,
    status=204,
)
async def update_contact(edge: Edge, call: Call[UpdateContact]) -> Answer:
    """Name the contact; the provider's name no longer replaces it."""
    body = call.body
    return Answer(
        position=await edge.commands.conversations.name_contact(body.conversation_id, body.display_name, call.cause)
    )


@action("/conversations.refetch", permission=Permission.WRITE, body=Reference, status=202)
async def refetch(edge: Edge, call: Call[Reference]) -> Answer:
    """Ask the provider for the contact's name and picture again."""
    return Answer(position=await edge.commands.conversations.refetch_profile(call.body.conversation_id, call.cause))


def _render(view: ConversationView) -> dict[str, object]:
    return render_conversation(view.conversation, view.channel, view.last_message)


ACTIONS = (list_, info, mark_read, tag, untag, set_state, remove_state, update_contact, refetch)

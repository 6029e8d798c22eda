"""`/conversations.*`"""

from msgspec import Struct

from airy.commands import NotFound
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.pagination import page_body
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, LongFilledText, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ConversationSchema, PageSchema
from airy.http.senders import Senders
from airy.store.api import Page
from airy.store.cursors import page_size


class ListConversations(Struct, frozen=True):
    filters: LongFilledText | None = None
    cursor: FilledText | None = None
    page_size: int | None = None


class ConversationReference(Struct, frozen=True):
    conversation_id: Id


class ConversationTagReference(Struct, frozen=True):
    conversation_id: Id
    tag_id: Id


class SetConversationState(Struct, frozen=True):
    conversation_id: Id
    state: Text
    version: int | None = None  # `state_version` as the caller read it


class RemoveConversationState(Struct, frozen=True):
    conversation_id: Id
    version: int | None = None


class UpdateContact(Struct, frozen=True):
    conversation_id: Id
    display_name: Text


@action(
    "/conversations.list", permission=Permission.READ, body=ListConversations, returns=PageSchema[ConversationSchema]
)
async def list_(api: ApiContext, request: ActionRequest[ListConversations]) -> Reply:
    """A page of conversations that match a filter, latest activity first."""
    body = request.body
    page = await api.store.conversations(filters=body.filters, cursor=body.cursor, page_size=page_size(body.page_size))
    if body.page_size == 0:  # only the count is wanted
        page = Page(items=[], previous_cursor=None, next_cursor=None, total=page.total)
    senders = Senders(api)
    return Reply(page_body(page, [await senders.conversation(view) for view in page.items]))


@action("/conversations.info", permission=Permission.READ, body=ConversationReference, returns=ConversationSchema)
async def info(api: ApiContext, request: ActionRequest[ConversationReference]) -> Reply:
    """One conversation."""
    view = await api.store.conversation(request.body.conversation_id)
    if view is None:
        raise NotFound(f"there is no conversation {request.body.conversation_id}", field="conversation_id")
    return Reply(await Senders(api).conversation(view))


@action(
    "/conversations.mark-read",
    "/conversations.markRead",
    permission=Permission.WRITE,
    body=ConversationReference,
    status=204,
)
async def mark_read(api: ApiContext, request: ActionRequest[ConversationReference]) -> Reply:
    """Mark all messages of the conversation as read."""
    return Reply(position=await api.commands.conversations.mark_read(request.body.conversation_id, request.context))


@action("/conversations.typing", permission=Permission.WRITE, body=ConversationReference, status=204)
async def typing(api: ApiContext, request: ActionRequest[ConversationReference]) -> Reply:
    """Show the contact that an answer is being written, for some seconds, where the provider can. Not every request
    leads to a call, and a failure of the provider is no error.
    """
    await api.commands.signals.typing(request.body.conversation_id)
    return Reply()


@action("/conversations.tag", permission=Permission.WRITE, body=ConversationTagReference, status=204)
async def tag(api: ApiContext, request: ActionRequest[ConversationTagReference]) -> Reply:
    """Add a tag to a conversation. Idempotent."""
    body = request.body
    return Reply(position=await api.commands.conversations.tag(body.conversation_id, body.tag_id, request.context))


@action("/conversations.untag", permission=Permission.WRITE, body=ConversationTagReference, status=204)
async def untag(api: ApiContext, request: ActionRequest[ConversationTagReference]) -> Reply:
    """Remove a tag from a conversation."""
    body = request.body
    return Reply(position=await api.commands.conversations.untag(body.conversation_id, body.tag_id, request.context))


@action(
    "/conversations.set-state",
    "/conversations.setState",
    permission=Permission.WRITE,
    body=SetConversationState,
    status=204,
)
async def set_state(api: ApiContext, request: ActionRequest[SetConversationState]) -> Reply:
    """Set the state of a conversation: any text, by convention OPEN or CLOSED. With `version`, 409 if it was changed
    meanwhile.
    """
    body = request.body
    position = await api.commands.conversations.set_state(
        body.conversation_id, body.state, request.context, version=body.version
    )
    return Reply(position=position)


@action(
    "/conversations.remove-state",
    "/conversations.removeState",
    permission=Permission.WRITE,
    body=RemoveConversationState,
    status=204,
)
async def remove_state(api: ApiContext, request: ActionRequest[RemoveConversationState]) -> Reply:
    """Remove the state of a conversation. With `version`, 409 if it was changed meanwhile."""
    body = request.body
    position = await api.commands.conversations.set_state(
        body.conversation_id, None, request.context, version=body.version
    )
    return Reply(position=position)


@action(
    "/conversations.update-contact",
    "/conversations.updateContact",
    permission=Permission.WRITE,
    body=UpdateContact,
    status=204,
)
async def update_contact(api: ApiContext, request: ActionRequest[UpdateContact]) -> Reply:
    """Set the contact's name. Names from the provider no longer replace it."""
    body = request.body
    return Reply(
        position=await api.commands.conversations.name_contact(body.conversation_id, body.display_name, request.context)
    )


@action("/conversations.refetch", permission=Permission.WRITE, body=ConversationReference, status=202)
async def refetch(api: ApiContext, request: ActionRequest[ConversationReference]) -> Reply:
    """Fetch the contact's name and picture from the provider again."""
    return Reply(
        position=await api.commands.conversations.refetch_profile(request.body.conversation_id, request.context)
    )


RESOURCE = Resource(
    name="conversations",
    component="api-communication",
    actions=(list_, info, mark_read, typing, tag, untag, set_state, remove_state, update_contact, refetch),
)

"""`/contacts.*`"""

from collections.abc import Mapping

from msgspec import Struct

from airy.commands import NotFound
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import JsonArray, JsonObject
from airy.http.pagination import page_body
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, Json, LongFilledText, LongText, Text
from airy.http.resource import Resource
from airy.http.response_schemas import (
    ContactSchema,
    ListSchema,
    MergedContactSchema,
    MessageSchema,
    PageSchema,
)
from airy.http.senders import Senders
from airy.model.contact import PostalAddress
from airy.model.contact_edit import ContactEdit
from airy.model.contact_view import ContactView
from airy.model.ids import canonical_uuid
from airy.model.render_contact import render_contact, render_merged
from airy.store.cursors import page_size

RECENT_MESSAGES_MAX = 100  # of each conversation
VIA_NAME_CHARS_MAX = 128

_ADDRESS = frozenset(PostalAddress.__struct_fields__)


class ContactFields(Struct, frozen=True, kw_only=True):
    """Empty text removes a value, and null an entry of `via` and `conversations`."""

    display_name: Text | None = None
    avatar_url: LongText | None = None
    title: Text | None = None
    gender: Text | None = None
    timezone: int | None = None
    locale: Text | None = None
    organization_name: Text | None = None
    via: dict[str, Text | None] | None = None
    address: dict[str, Text | None] | None = None
    conversations: dict[str, Text | None] | None = None
    metadata: Json | None = None


class UpdateContactFields(ContactFields, frozen=True, kw_only=True):
    id: Id
    version: int | None = None  # of the contact as the caller read it


class ListContacts(Struct, frozen=True):
    cursor: LongFilledText | None = None
    page_size: int | None = None


class FindContact(Struct, frozen=True):
    id: FilledText | None = None
    conversation_id: FilledText | None = None


class MergeContacts(Struct, frozen=True):
    source_id: Id
    destination_id: Id


class DeleteContact(Struct, frozen=True):
    id: Id
    version: int | None = None


class RecentMessages(Struct, frozen=True):
    contact_id: Id
    include_sources: list[Text] | None = None
    page_size: int | None = None  # of each conversation
    cursors: dict[str, Text | None] | None = None  # by conversation id


@action(
    "/contacts.create",
    permission=Permission.WRITE,
    body=JsonObject(ContactFields, required=True),
    returns=ContactSchema,
    status=201,
)
async def create(api: ApiContext, request: ActionRequest[ContactFields]) -> Reply:
    """Create a contact. Conversations it links no longer belong to another one."""
    written = await api.commands.contacts.create([_edit(request.body)], request.context)
    return Reply(render_contact(written.value[0]), position=written.position)


@action(
    "/contacts.import",
    permission=Permission.WRITE,
    body=JsonArray(ContactFields),
    returns=ListSchema[ContactSchema],
    status=201,
)
async def import_(api: ApiContext, request: ActionRequest[list[ContactFields]]) -> Reply:
    """Create contacts, all of them or none."""
    written = await api.commands.contacts.create([_edit(each) for each in request.body], request.context)
    return Reply({"data": [render_contact(view) for view in written.value]}, position=written.position)


@action("/contacts.list", permission=Permission.READ, body=ListContacts, returns=PageSchema[ContactSchema])
async def list_(api: ApiContext, request: ActionRequest[ListContacts]) -> Reply:
    """A page of contacts by name, those without a name last."""
    body = request.body
    page = await api.store.contacts(cursor=body.cursor, page_size=page_size(body.page_size))
    return Reply(page_body(page, [render_contact(view) for view in page.items]))


@action("/contacts.info", permission=Permission.READ, body=FindContact, returns=ContactSchema)
async def info(api: ApiContext, request: ActionRequest[FindContact]) -> Reply:
    """One contact, by its id or by the id of a conversation."""
    body = request.body
    if body.id is not None:
        return Reply(render_contact(await _known(api, body.id, "id")))
    if body.conversation_id is None:
        raise Refused("name the contact or one of its conversations", field="id")
    view = await api.store.contact_of(body.conversation_id)
    if view is None:
        raise NotFound(f"conversation {body.conversation_id} has no contact", field="conversation_id")
    return Reply(render_contact(view))


@action("/contacts.update", permission=Permission.WRITE, body=UpdateContactFields, status=202)
async def update(api: ApiContext, request: ActionRequest[UpdateContactFields]) -> Reply:
    """Set fields of a contact; those that are not given stay. With `version`, 409 if it was changed meanwhile."""
    body = request.body
    return Reply(position=await api.commands.contacts.update(body.id, _edit(body), version=body.version))


@action("/contacts.merge", permission=Permission.WRITE, body=MergeContacts, returns=MergedContactSchema)
async def merge(api: ApiContext, request: ActionRequest[MergeContacts]) -> Reply:
    """Merge a contact into another one, which keeps its values and gets those it has not."""
    written = await api.commands.contacts.merge(request.body.source_id, request.body.destination_id)
    return Reply(render_merged(written.value), position=written.position)


@action("/contacts.delete", permission=Permission.WRITE, body=DeleteContact, status=202)
async def delete(api: ApiContext, request: ActionRequest[DeleteContact]) -> Reply:
    """Delete a contact. Another message in one of its conversations makes a new one."""
    body = request.body
    return Reply(position=await api.commands.contacts.delete(body.id, version=body.version))


@action(
    "/contacts.recent-messages",
    "/contacts.recentMessages",
    permission=Permission.READ,
    body=RecentMessages,
    returns=dict[str, PageSchema[MessageSchema] | None],
)
async def recent_messages(api: ApiContext, request: ActionRequest[RecentMessages]) -> Reply:
    """A page of messages of each of the contact's conversations, newest first; null for one without messages."""
    body = request.body
    view = await _known(api, body.contact_id, "contact_id")
    size = min(page_size(body.page_size), RECENT_MESSAGES_MAX)
    senders = Senders(api)
    pages = {
        name: await _messages(api, senders, name, (body.cursors or {}).get(name), size)
        for name, source in view.contact.conversations.items()
        if not body.include_sources or source in body.include_sources
    }
    return Reply(pages)


async def _messages(
    api: ApiContext, senders: Senders, conversation_id: str, cursor: str | None, size: int
) -> dict[str, object] | None:
    view = await api.store.conversation(conversation_id)
    if view is None:
        return None
    try:
        page = await api.store.messages(conversation_id, cursor=cursor, page_size=size)
    except Refused as error:
        raise Refused(str(error), field=f"cursors.{conversation_id}") from error
    return page_body(page, await senders.messages(page.items, read_sequence=view.conversation.read_sequence))


async def _known(api: ApiContext, contact_id: str, field: str) -> ContactView:
    view = await api.store.contact(contact_id)
    if view is None:
        raise NotFound(f"there is no contact {contact_id}", field=field)
    return view


def _edit(body: ContactFields) -> ContactEdit:
    return ContactEdit(
        display_name=body.display_name,
        avatar_url=body.avatar_url,
        title=body.title,
        gender=body.gender,
        timezone=body.timezone,
        locale=body.locale,
        organization_name=body.organization_name,
        via=_via(body.via or {}),
        address={name: given for name, given in (body.address or {}).items() if name in _ADDRESS},
        conversations=_conversations(body.conversations or {}),
        metadata=body.metadata.raw if body.metadata else None,
    )


def _via(given: Mapping[str, str | None]) -> dict[str, str | None]:
    for name in given:
        if not 0 < len(name) <= VIA_NAME_CHARS_MAX:
            raise Refused(f"the name of an entry must have 1 to {VIA_NAME_CHARS_MAX} characters", field="via")
    return dict(given)


def _conversations(given: Mapping[str, str | None]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name, source in given.items():
        conversation_id = canonical_uuid(name)
        if conversation_id is None:
            raise Refused(f"{name[:64]!r} is not a UUID", field="conversations")
        found[conversation_id] = source
    return found


RESOURCE = Resource(
    name="contacts",
    component="api-contacts",
    actions=(create, import_, list_, info, update, merge, delete, recent_messages),
)

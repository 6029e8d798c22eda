"""`/tags.*`"""

from msgspec import Struct

from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import EmptyBody
from airy.http.ports import ApiContext
from airy.http.request_bodies import Id, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ListSchema, TagSchema
from airy.model.entity import Color
from airy.model.render import render_tag


class CreateTag(Struct, frozen=True):
    name: Text
    color: Color


class UpdateTag(Struct, frozen=True):
    id: Id
    name: Text | None = None
    color: Color | None = None


class TagReference(Struct, frozen=True):
    id: Id


@action("/tags.create", permission=Permission.WRITE, body=CreateTag, returns=TagSchema, status=201)
async def create(api: ApiContext, request: ActionRequest[CreateTag]) -> Reply:
    """Create a tag."""
    written = await api.commands.tags.create(request.body.name, request.body.color, request.context)
    return Reply(render_tag(written.value), position=written.position)


@action("/tags.list", permission=Permission.READ, body=EmptyBody, returns=ListSchema[TagSchema])
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """All tags."""
    return Reply({"data": [render_tag(tag) for tag in await api.store.tags()]})


@action("/tags.update", permission=Permission.WRITE, body=UpdateTag, status=204)
async def update(api: ApiContext, request: ActionRequest[UpdateTag]) -> Reply:
    """Change the name or the colour of a tag."""
    written = await api.commands.tags.update(request.body.id, request.body.name, request.body.color)
    return Reply(position=written.position)


@action("/tags.delete", permission=Permission.WRITE, body=TagReference, status=204)
async def delete(api: ApiContext, request: ActionRequest[TagReference]) -> Reply:
    """Delete a tag. Conversations keep its id."""
    return Reply(position=await api.commands.tags.delete(request.body.id))


RESOURCE = Resource(
    name="tags",
    component="api-admin",
    actions=(create, list_, update, delete),
)

"""`/tags.*`"""

from msgspec import Struct

from airy.http import shapes
from airy.http.action import Answer, Call, Nothing, action
from airy.http.auth import Permission
from airy.http.bodies import Id, Text
from airy.http.ports import Edge
from airy.model.entity import Color
from airy.model.render import render_tag


class Create(Struct, frozen=True):
    name: Text
    color: Color


class Update(Struct, frozen=True):
    id: Id
    name: Text | None = None
    color: Color | None = None


class Reference(Struct, frozen=True):
    id: Id


@action("/tags.create", permission=Permission.WRITE, body=Create, returns=shapes.Tag, status=201)
async def create(edge: Edge, call: Call[Create]) -> Answer:
    """A new tag."""
    done = await edge.commands.tags.create(call.body.name, call.body.color, call.cause)
    return Answer(render_tag(done.value), position=done.position)


@action("/tags.list", permission=Permission.READ, body=Nothing, returns=shapes.Data[shapes.Tag])
async def list_(edge: Edge, _call: Call[Nothing]) -> Answer:
    """All tags."""
    return Answer({"data": [render_tag(tag) for tag in await edge.store.tags()]})


@action("/tags.update", permission=Permission.WRITE, body=Update, status=204)
async def update(edge: Edge, call: Call[Update]) -> Answer:
    """Rename or recolour a tag."""
    done = await edge.commands.tags.update(call.body.id, call.body.name, call.body.color)
    return Answer(position=done.position)


@action("/tags.delete", permission=Permission.WRITE, body=Reference, status=204)
async def delete(edge: Edge, call: Call[Reference]) -> Answer:
    """Delete a tag; conversations keep its id."""
    return Answer(position=await edge.commands.tags.delete(call.body.id))


ACTIONS = (create, list_, update, delete)

"""`/templates.*`"""

from msgspec import Struct

from airy.actors.commands import Unknown
from airy.http import shapes
from airy.http.action import Answer, Call, action
from airy.http.auth import Permission
from airy.http.bodies import Id, Json, Text
from airy.http.ports import Edge
from airy.model.render import render_template


class Create(Struct, frozen=True):
    name: Text
    source: Text
    content: Json


class List(Struct, frozen=True):
    source: Text
    name: Text | None = None


class Update(Struct, frozen=True):
    id: Id
    name: Text | None = None
    source: Text | None = None
    content: Json | None = None


class Reference(Struct, frozen=True):
    id: Id


@action("/templates.create", permission=Permission.WRITE, body=Create, returns=shapes.Template, status=201)
async def create(edge: Edge, call: Call[Create]) -> Answer:
    """A new template."""
    body = call.body
    done = await edge.commands.templates.create(body.name, body.source, body.content.raw, call.cause)
    return Answer(render_template(done.value), position=done.position)


@action("/templates.info", permission=Permission.READ, body=Reference, returns=shapes.Template)
async def info(edge: Edge, call: Call[Reference]) -> Answer:
    """One template."""
    template = await edge.store.template(call.body.id)
    if template is None:
        raise Unknown(f"there is no template {call.body.id}", field="id")
    return Answer(render_template(template))


@action("/templates.list", permission=Permission.READ, body=List, returns=shapes.Data[shapes.Template])
async def list_(edge: Edge, call: Call[List]) -> Answer:
    """The templates of a source; with `name`, those whose name contains it."""
    found = await edge.store.templates(call.body.source)
    return Answer({"data": [render_template(each) for each in found if (call.body.name or "") in each.name]})


@action("/templates.update", permission=Permission.WRITE, body=Update, returns=shapes.Template)
async def update(edge: Edge, call: Call[Update]) -> Answer:
    """Change a template; what is not given stays."""
    body = call.body
    content = body.content.raw if body.content else None
    done = await edge.commands.templates.update(body.id, name=body.name, source=body.source, content=content)
    return Answer(render_template(done.value), position=done.position)


@action("/templates.delete", permission=Permission.WRITE, body=Reference, status=204)
async def delete(edge: Edge, call: Call[Reference]) -> Answer:
    """Delete a template."""
    return Answer(position=await edge.commands.templates.delete(call.body.id))


ACTIONS = (create, info, list_, update, delete)

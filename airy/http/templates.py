"""`/templates.*`"""

from msgspec import Struct

from airy.commands import NotFound
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.request_bodies import FilledText, Id, Json, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ListSchema, TemplateSchema
from airy.model.render import render_template


class CreateTemplate(Struct, frozen=True):
    name: Text
    source: Text
    content: Json


class ListTemplates(Struct, frozen=True):
    source: Text
    name: FilledText | None = None


class UpdateTemplate(Struct, frozen=True):
    id: Id
    name: Text | None = None
    source: Text | None = None
    content: Json | None = None


class TemplateReference(Struct, frozen=True):
    id: Id


@action("/templates.create", permission=Permission.WRITE, body=CreateTemplate, returns=TemplateSchema, status=201)
async def create(api: ApiContext, request: ActionRequest[CreateTemplate]) -> Reply:
    """Create a template."""
    body = request.body
    written = await api.commands.templates.create(body.name, body.source, body.content.raw, request.context)
    return Reply(render_template(written.value), position=written.position)


@action("/templates.info", permission=Permission.READ, body=TemplateReference, returns=TemplateSchema)
async def info(api: ApiContext, request: ActionRequest[TemplateReference]) -> Reply:
    """One template."""
    template = await api.store.template(request.body.id)
    if template is None:
        raise NotFound(f"there is no template {request.body.id}", field="id")
    return Reply(render_template(template))


@action("/templates.list", permission=Permission.READ, body=ListTemplates, returns=ListSchema[TemplateSchema])
async def list_(api: ApiContext, request: ActionRequest[ListTemplates]) -> Reply:
    """The templates of a source; with `name`, only those whose name contains it."""
    found = await api.store.templates(request.body.source)
    return Reply({"data": [render_template(each) for each in found if (request.body.name or "") in each.name]})


@action("/templates.update", permission=Permission.WRITE, body=UpdateTemplate, returns=TemplateSchema)
async def update(api: ApiContext, request: ActionRequest[UpdateTemplate]) -> Reply:
    """Change a template. Absent fields stay as they are."""
    body = request.body
    content = body.content.raw if body.content else None
    written = await api.commands.templates.update(body.id, name=body.name, source=body.source, content=content)
    return Reply(render_template(written.value), position=written.position)


@action("/templates.delete", permission=Permission.WRITE, body=TemplateReference, status=204)
async def delete(api: ApiContext, request: ActionRequest[TemplateReference]) -> Reply:
    """Delete a template."""
    return Reply(position=await api.commands.templates.delete(request.body.id))


RESOURCE = Resource(
    name="templates",
    component="api-admin",
    actions=(create, info, list_, update, delete),
)

"""`/metadata.*`"""

from typing import Annotated

from msgspec import Meta, Struct

from airy.commands import Subject
from airy.errors import Refused
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.ports import ApiContext
from airy.http.request_bodies import Id, Json, Text
from airy.http.resource import Resource
from airy.model import metadata


class UpsertMetadata(Struct, frozen=True):
    subject: Subject
    id: Id
    data: Json


class RemoveMetadata(Struct, frozen=True):
    subject: Subject
    id: Id
    keys: Annotated[list[Text], Meta(min_length=1, max_length=metadata.KEYS_MAX)]


@action("/metadata.upsert", permission=Permission.WRITE, body=UpsertMetadata, status=204)
async def upsert(api: ApiContext, request: ActionRequest[UpsertMetadata]) -> Reply:
    """Set metadata below `user_data`. Nested objects are merged, other values replaced."""
    body = request.body
    if not isinstance(body.data.value, dict):
        raise Refused("must be a JSON object", field="data")
    return Reply(position=await api.commands.metadata.upsert(body.subject, body.id, body.data.raw, request.context))


@action("/metadata.remove", permission=Permission.WRITE, body=RemoveMetadata, status=204)
async def remove(api: ApiContext, request: ActionRequest[RemoveMetadata]) -> Reply:
    """Remove keys below `user_data`, each with its nested keys."""
    body = request.body
    if not all(body.keys):
        raise Refused("must not contain empty keys", field="keys")
    return Reply(position=await api.commands.metadata.remove(body.subject, body.id, body.keys, request.context))


RESOURCE = Resource(
    name="metadata",
    component="api-communication",
    actions=(upsert, remove),
)

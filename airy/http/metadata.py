"""`/metadata.*`"""

from typing import Annotated

from msgspec import Meta, Struct

from airy.actors.commands import Subject
from airy.errors import Refused
from airy.http.action import Answer, Call, action
from airy.http.auth import Permission
from airy.http.bodies import Id, Json, Text
from airy.http.ports import Edge
from airy.model import metadata


class Upsert(Struct, frozen=True):
    subject: Subject
    id: Id
    data: Json


class Remove(Struct, frozen=True):
    subject: Subject
    id: Id
    keys: Annotated[list[Text], Meta(min_length=1, max_length=metadata.KEYS_MAX)]


@action("/metadata.upsert", permission=Permission.WRITE, body=Upsert, status=204)
async def upsert(edge: Edge, call: Call[Upsert]) -> Answer:
    """Set metadata below `user_data`; nested objects merge, everything else replaces."""
    body = call.body
    if not isinstance(body.data.value, dict):
        raise Refused("must be a JSON object", field="data")
    return Answer(position=await edge.commands.metadata.upsert(body.subject, body.id, body.data.raw, call.cause))


@action("/metadata.remove", permission=Permission.WRITE, body=Remove, status=204)
async def remove(edge: Edge, call: Call[Remove]) -> Answer:
    """Remove keys below `user_data`, each with everything below it."""
    body = call.body
    if not all(body.keys):
        raise Refused("must not hold empty keys", field="keys")
    return Answer(position=await edge.commands.metadata.remove(body.subject, body.id, body.keys, call.cause))


ACTIONS = (upsert, remove)

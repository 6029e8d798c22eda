"""A resource of tests alone: one route of each kind that a resource can declare."""

from typing import Annotated

import anyio
from msgspec import Meta, Struct

from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Permission
from airy.http.body_kinds import ByteStream, EmptyBody, IncomingBytes, JsonArray
from airy.http.multipart_form import FormFile, FormLimits, IncomingForm, MultipartForm
from airy.http.ports import ApiContext
from airy.http.problems import Problem
from airy.http.request_bodies import Id, Text
from airy.http.resource import Resource
from airy.http.websocket import WebsocketRoute, WebsocketSession

FILES_MAX, FILE_BYTES_MAX, STREAM_BYTES_MAX, ITEMS_MAX = 2, 100_000, 1_000_000, 3


class Person(Struct, frozen=True):
    name: Text
    age: Annotated[int, Meta(ge=0)] | None = None


class FileFields(Struct, frozen=True):
    title: Text
    copies: int = 1


class SamplePath(Struct, frozen=True):
    id: Id


class SampleSchema(Struct, forbid_unknown_fields=True):
    id: str
    caller: str
    kind: str


class MemorySink:
    """Keeps what is written. `outcome` is `finished` or `aborted`."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.outcome = ""

    async def write(self, part: bytes, /) -> None:
        assert not self.outcome
        self.parts.append(part)

    async def finish(self) -> None:
        self.outcome += "finished"

    async def abort(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.outcome += "aborted"


sinks: list[MemorySink] = []
"""Opened by the last test; a test clears it."""


@action("/samples.import", permission=Permission.WRITE, body=JsonArray(Person, items_max=ITEMS_MAX))
async def import_(_api: ApiContext, request: ActionRequest[list[Person]]) -> Reply:
    """Import people."""
    return Reply({"names": [person.name for person in request.body], "key": request.context.key})


@action(
    "/samples.write",
    permission=Permission.WRITE,
    body=ByteStream("application/octet-stream", "image/png", bytes_max=STREAM_BYTES_MAX, stalled_s=5.0),
)
async def write(_api: ApiContext, request: ActionRequest[IncomingBytes]) -> Reply:
    """Count bytes."""
    sizes = [len(part) async for part in request.body]
    return Reply({"parts": len(sizes), "bytes": sum(sizes), "media_type": request.body.media_type})


@action(
    "/samples.upload",
    permission=Permission.WRITE,
    body=MultipartForm(FileFields, FormLimits(files_max=FILES_MAX, file_bytes_max=FILE_BYTES_MAX, fields_max=2)),
)
async def upload(_api: ApiContext, request: ActionRequest[IncomingForm[FileFields]]) -> Reply:
    """Upload files."""

    async def open_sink(file: FormFile) -> MemorySink:
        if file.media_type == "text/html":
            raise Problem(415, "files of text/html are not accepted")
        sinks.append(MemorySink())
        return sinks[-1]

    fields, files = await request.body.receive(open_sink)
    return Reply({"title": fields.title, "copies": fields.copies, "files": [file.filename for file in files]})


@action(
    "/samples/{id}",
    method="GET",
    permission=Permission.READ,
    body=EmptyBody,
    path=SamplePath,
    returns=SampleSchema,
)
async def read(_api: ApiContext, request: ActionRequest[EmptyBody]) -> Reply:
    """One sample."""
    return Reply({"id": request.path.id, "caller": request.caller.id, "kind": request.caller.kind})


async def echo(_api: ApiContext, session: WebsocketSession) -> None:
    assert session.caller is not None
    await session.send(f"{session.caller.id} {session.path.id}")
    while (text := (await session.receive()).decode()) != "end":
        if text == "bug":
            raise ZeroDivisionError(text)
        await session.send(text)


SAMPLES = Resource(
    name="samples",
    component="api-admin",
    actions=(import_, write, upload, read),
    websockets=(
        WebsocketRoute(
            path_template="/samples/{id}/events",
            permission=Permission.MANAGE,
            summary="Echoes every message.",
            handler=echo,
            path=SamplePath,
        ),
    ),
)

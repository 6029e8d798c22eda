"""The kinds of request bodies an action can declare: how each is read, validated and described in OpenAPI.

`JsonObject` and `JsonArray` are read whole before the handler runs. `ByteStream` and `MultipartForm` (see
multipart_form.py) give the handler an object that reads the body, so a large one never is in memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import anyio
import msgspec
from msgspec import Struct

from airy.http.asgi import RawHeaders, Receive
from airy.http.body_reader import CLOSE, BodyReader, ClientDisconnected
from airy.http.problems import Problem
from airy.http.request_bodies import (
    LongFilledText,
    Text,
    convert,
    convert_items,
    json_array,
    json_object,
    media_type_of,
)

B = TypeVar("B")
S = TypeVar("S", bound=Struct)

Document = dict[str, Any]
Schemas = Mapping[str, Document]
"""References to components, by `str` of the type."""


class CommonFields(Struct, frozen=True):
    """Fields that every JSON object may have; headers of the same meaning exist."""

    position: LongFilledText | None = None
    idempotency_key: Text | None = None


class EmptyBody(Struct, frozen=True):
    """The body of an action without parameters."""


class BodySource(Struct, frozen=True):
    """What a body is read from."""

    reader: BodyReader
    receive: Receive
    headers: RawHeaders


class BodyKind(ABC, Generic[B]):
    """`B` is the type of the handler's `request.body`."""

    problems: tuple[int, ...] = ()  # statuses that only this kind has
    types: tuple[type, ...] = ()  # described in the components of OpenAPI

    @abstractmethod
    async def read(self, source: BodySource) -> tuple[B, CommonFields]:
        """Raises `Problem`."""

    @abstractmethod
    def describe(self, schemas: Schemas) -> Document:
        """The `requestBody` of OpenAPI."""


class JsonObject(BodyKind[S]):
    """`required`: no body is not the same as an empty object."""

    def __init__(self, struct: type[S], *, required: bool = False) -> None:
        self.struct = struct
        self.required = required
        self.types = (struct,)

    async def read(self, source: BodySource) -> tuple[S, CommonFields]:
        body = await source.reader.read(source.receive, source.headers)
        if self.required and not body.strip():
            raise Problem(400, "a body is required: send a JSON object")
        fields = json_object(body, source.headers)
        return convert(fields, self.struct), convert(fields, CommonFields)

    def describe(self, schemas: Schemas) -> Document:
        required = self.required or any(field.required for field in msgspec.structs.fields(self.struct))
        return {"required": required, "content": {"application/json": {"schema": schemas[str(self.struct)]}}}


class JsonArray(BodyKind[list[S]]):
    """An array of at most `items_max` objects. `position` and idempotency key are in headers only."""

    def __init__(self, item: type[S], *, items_max: int = 1_000) -> None:
        self.item = item
        self.items_max = items_max
        self.types = (item,)

    async def read(self, source: BodySource) -> tuple[list[S], CommonFields]:
        items = json_array(await source.reader.read(source.receive, source.headers), source.headers)
        if len(items) > self.items_max:
            raise Problem(400, f"the array has {len(items)} items: at most {self.items_max} are allowed")
        return convert_items(items, self.item), CommonFields()

    def describe(self, schemas: Schemas) -> Document:
        schema = {"type": "array", "items": schemas[str(self.item)], "maxItems": self.items_max}
        return {"required": True, "content": {"application/json": {"schema": schema}}}


class ByteStream(BodyKind["IncomingBytes"]):
    """Bytes of one of these media types, which the handler reads in parts."""

    def __init__(self, *media_types: str, bytes_max: int, stalled_s: float = 15.0) -> None:
        self.media_types = media_types
        self.bytes_max = bytes_max
        self.stalled_s = stalled_s

    async def read(self, source: BodySource) -> tuple["IncomingBytes", CommonFields]:
        media_type = media_type_of(source.headers)
        if media_type not in self.media_types:
            raise Problem(415, f"send content-type: {' or '.join(self.media_types)}")
        return IncomingBytes(source, self.bytes_max, self.stalled_s), CommonFields()

    def describe(self, schemas: Schemas) -> Document:  # noqa: ARG002 - refers to no component
        schema = {"type": "string", "format": "binary", "maxLength": self.bytes_max}
        return {"required": True, "content": {name: {"schema": schema} for name in self.media_types}}


class IncomingBytes:
    """A body that is read once, in parts. Iterating raises `Problem` 413 and 408, and `ClientDisconnected`."""

    def __init__(self, source: BodySource, bytes_max: int, stalled_s: float) -> None:
        self._source = source
        self._stalled_s = stalled_s
        self.bytes_max = bytes_max
        self.media_type = media_type_of(source.headers)
        self.bytes_read = 0
        self._more = True

    def __aiter__(self) -> "IncomingBytes":
        return self

    async def __anext__(self) -> bytes:
        part = b""
        while self._more and not part:
            part = await self._next_part()
        if not part:
            raise StopAsyncIteration
        return part

    async def _next_part(self) -> bytes:
        with anyio.move_on_after(self._stalled_s) as waiting:
            message = await self._source.receive()
        if waiting.cancelled_caught:
            raise Problem(408, f"no part of the body arrived for {self._stalled_s:g} s", headers=CLOSE)
        if message["type"] != "http.request":
            raise ClientDisconnected
        part: bytes = message.get("body", b"")
        self.bytes_read += len(part)
        if self.bytes_read > self.bytes_max:
            raise Problem(413, f"the body is over {self.bytes_max} bytes", headers=CLOSE)
        self._more = message.get("more_body", False)
        return part

"""`GET /media/<name>`: a stored file. The signature in the query is the permission.

Files are of clients and contacts, and their bytes may be anything. Only images, sound and video are shown by a browser;
everything else is downloaded, and no script of a file runs on this origin.
"""

from collections.abc import Sequence
from typing import Any, cast

import anyio
from litestar import Request
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.errors import Refused, Unavailable
from airy.http import byte_range
from airy.http.asgi import RawHeaders
from airy.http.auth import PERMISSION, Guard, Permission
from airy.http.path_template import litestar_path
from airy.http.ports import ApiContext
from airy.http.problems import Problem, unavailable
from airy.media.library import Description, MediaLibrary
from airy.media.media_type import is_inline
from airy.media.storage import ObjectPart, StorageRefusal

PATH = "/media/{name}"
QUERY = {
    "signature": "proves that the address is one of this installation",
    "expires": "the end of the address's validity, in seconds since 1970; absent: it does not end",
}
SEND_S = 30.0  # for one part, to a client that reads slowly
CACHED_S = 31_536_000  # the content of a name never changes
POLICY = b"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


def route(api: ApiContext, _guard: Guard) -> HTTPRouteHandler:
    async def media_file(request: Request[Any, Any, Any]) -> ASGIResponse:
        """A stored file."""
        name: str = request.scope["path_params"]["name"]
        if not api.media.is_signed(name, request.scope["query_string"].decode("latin-1")):
            raise Problem(403, "this address is not valid, or not any more")
        try:
            described = await api.media.describe(name)
        except StorageRefusal as error:
            raise unavailable(str(error)) from error  # the operator's mistake, not the reader's
        return MediaResponse(api.media, name, described, cast("RawHeaders", request.scope["headers"]))

    methods: Sequence[HttpMethod] = [HttpMethod.GET, HttpMethod.HEAD]
    return HTTPRouteHandler([litestar_path(PATH)], http_method=methods, opt={PERMISSION: Permission.OPEN})(media_file)


class MediaResponse(ASGIResponse):
    def __init__(self, media: MediaLibrary, name: str, described: Description, headers: RawHeaders) -> None:
        super().__init__()
        self._media = media
        self._name = name
        self._described = described
        self._etag = f'"{name}"'
        self._given = {key: value.decode("latin-1") for key, value in headers}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del receive
        if self._etag in self._given.get(b"if-none-match", ""):
            await self._end(send, 304, [])
            return
        size = self._described.size
        wanted = self._range()
        start, end = wanted or (0, size)
        headers = [(b"content-length", b"%d" % (end - start)), (b"accept-ranges", b"bytes")]
        if wanted:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        status = 206 if wanted else 200
        if scope["method"] == "HEAD":
            await self._end(send, status, headers)
            return
        async with self._media.read(self._name, start, end) as found:
            await self._start(send, status, headers)
            if await _send_parts(found, send):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _range(self) -> tuple[int, int] | None:
        header = self._given.get(b"range")
        if header is None or self._given.get(b"if-range", self._etag) != self._etag:
            return None
        try:
            return byte_range.parse(header, self._described.size)
        except byte_range.NotSatisfiable as error:
            size = b"bytes */%d" % self._described.size
            message = "the range lies behind the end of the file"
            raise Problem(416, message, headers=[(b"content-range", size)]) from error

    async def _end(self, send: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._start(send, status, headers)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _start(self, send: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        kind = self._described.media_type
        common = [
            (b"content-type", kind.encode()),
            (b"content-disposition", b"inline" if is_inline(kind) else b"attachment"),
            (b"content-security-policy", POLICY),
            (b"cross-origin-resource-policy", b"cross-origin"),
            (b"etag", self._etag.encode()),
            (b"cache-control", b"private, max-age=%d, immutable" % CACHED_S),
        ]
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *common]})


async def _send_parts(found: ObjectPart, send: Any) -> bool:
    """Whether everything was sent. If not, the server closes the connection, so the client sees that it is cut."""
    try:
        async for part in found.parts:
            with anyio.fail_after(SEND_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
    except (TimeoutError, Unavailable, Refused):
        return False
    return True

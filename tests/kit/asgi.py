"""Calls an ASGI application without a server: one request, one response.

The body arrives in the given parts, then `http.disconnect`. The order of the sent messages is checked, and the
application must respond exactly once.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from airy.http.asgi import AsgiApp, AsgiMessage


class AsgiResponse(Struct):
    status: int
    headers: dict[str, str]
    body: bytes
    raw_headers: list[tuple[str, str]] = []  # in order, with repetitions

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class DelayedPart(Struct, frozen=True):
    """A body part that arrives `after_s` seconds after the previous one."""

    part: bytes
    after_s: float


async def call(
    app: AsgiApp,
    method: str,
    path: str,
    *,
    body: bytes | Sequence[bytes | DelayedPart] = b"",
    headers: Iterable[tuple[str, str]] = (),
    query: str = "",
    complete: bool = True,
) -> AsgiResponse:
    """`complete` False: the client disconnects after the last part."""
    parts = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 80),
        "state": {},
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }
    sent: list[AsgiMessage] = []

    async def receive() -> AsgiMessage:
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        if isinstance(part, DelayedPart):
            await anyio.sleep(part.after_s)
            part = part.part
        return {"type": "http.request", "body": part, "more_body": bool(parts) or not complete}

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start", sent
    assert all(message["type"] == "http.response.body" for message in rest), sent
    assert not rest[-1].get("more_body"), "the response never ended"
    named = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return AsgiResponse(start["status"], dict(named), b"".join(message.get("body", b"") for message in rest), named)

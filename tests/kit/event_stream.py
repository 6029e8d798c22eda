"""A client of server-sent events of an ASGI application, without a server."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream
from msgspec import Struct

from airy.http.asgi import AsgiApp, AsgiMessage, Receive, Scope, Send


class ServerSentEvent(Struct, frozen=True):
    event: str
    id: str
    data: Any


class EventStreamClient:
    """`status` and `headers` are those of the response."""

    def __init__(self, received: MemoryObjectReceiveStream[AsgiMessage]) -> None:
        self._received = received
        self._text = ""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.comments = 0

    async def open(self) -> None:
        start = await self._received.receive()
        assert start["type"] == "http.response.start", start
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        if self.status != 200:
            self.body = (await self._received.receive())["body"]

    async def receive(self) -> ServerSentEvent:
        while True:
            while "\n\n" not in self._text:
                message = await self._received.receive()
                assert message["more_body"], "the response has ended"
                self._text += message["body"].decode()
            block, _, self._text = self._text.partition("\n\n")
            if block.startswith(":"):
                self.comments += 1
                continue
            fields = dict(line.split(": ", 1) for line in block.split("\n"))
            return ServerSentEvent(fields.get("event", "message"), fields["id"], msgspec.json.decode(fields["data"]))

    async def ended(self) -> bool:
        while (await self._received.receive())["more_body"]:
            pass
        return True


async def _run(app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


@asynccontextmanager
async def open_event_stream(
    app: AsgiApp, path: str, headers: Iterable[tuple[str, str]] = (), *, query: str = ""
) -> AsyncIterator[EventStreamClient]:
    """The client disconnects at the end; the application must return then."""
    given = [("accept", "text/event-stream"), *headers]
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given],
        "client": ("127.0.0.1", 40_000),
        "state": {},
    }
    disconnected = anyio.Event()
    requested = False
    app_writes, from_app = anyio.create_memory_object_stream[AsgiMessage](100)

    async def receive() -> AsgiMessage:
        nonlocal requested
        if requested:
            await disconnected.wait()
            return {"type": "http.disconnect"}
        requested = True
        return {"type": "http.request", "body": b"", "more_body": False}

    client = EventStreamClient(from_app)
    with app_writes, from_app:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, app, scope, receive, app_writes.send)
            await client.open()
            yield client
            disconnected.set()

"""A websocket client of an ASGI application, without a server."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from airy.http.asgi import AsgiApp, AsgiMessage, Receive, Scope, Send
from tests.kit.asgi import AsgiResponse


class WebsocketClient:
    """`rejection` is the response to a handshake that was not accepted; `headers` are those of one that was."""

    def __init__(
        self, sent: MemoryObjectSendStream[AsgiMessage], received: MemoryObjectReceiveStream[AsgiMessage]
    ) -> None:
        self._sent = sent
        self._received = received
        self.headers: dict[str, str] = {}
        self.subprotocol: str | None = None
        self.rejection: AsgiResponse | None = None

    async def open(self) -> None:
        await self._sent.send({"type": "websocket.connect"})
        answer = await self._received.receive()
        if answer["type"] == "websocket.accept":
            self.headers = _named(answer["headers"])
            self.subprotocol = answer.get("subprotocol")
            return
        assert answer["type"] == "websocket.http.response.start", answer
        body = await self._received.receive()
        self.rejection = AsgiResponse(answer["status"], _named(answer["headers"]), body["body"])

    async def send(self, text: str) -> None:
        await self._sent.send({"type": "websocket.receive", "text": text})

    async def send_bytes(self, content: bytes) -> None:
        await self._sent.send({"type": "websocket.receive", "bytes": content})

    async def receive(self) -> str:
        message = await self._received.receive()
        assert message["type"] == "websocket.send", message
        return str(message["text"])

    async def receive_json(self) -> Any:
        return msgspec.json.decode(await self.receive())

    async def closed(self) -> int:
        """The code with which the application closes the session."""
        message = await self._received.receive()
        assert message["type"] == "websocket.close", message
        return int(message["code"])

    async def read_until_closed(self) -> tuple[list[str], int, str]:
        """Everything the application still sends, and the code and reason with which it closes the session."""
        texts: list[str] = []
        while (message := await self._received.receive())["type"] == "websocket.send":
            texts.append(message["text"])
        return texts, int(message["code"]), str(message["reason"])

    async def disconnect(self) -> None:
        await self._sent.send({"type": "websocket.disconnect", "code": 1001})


@asynccontextmanager
async def open_websocket(
    app: AsgiApp,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
    *,
    query: str = "",
    subprotocols: Iterable[str] = (),
) -> AsyncIterator[WebsocketClient]:
    """A handshake with `app`. The client disconnects at the end; the application must return then."""
    scope: Scope = {
        "type": "websocket",
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 40_000),
        "subprotocols": list(subprotocols),
        "state": {},
        "extensions": {"websocket.http.response": {}},
    }
    to_app, app_reads = anyio.create_memory_object_stream[AsgiMessage](100)
    app_writes, from_app = anyio.create_memory_object_stream[AsgiMessage](100)
    client = WebsocketClient(to_app, from_app)
    with to_app, app_reads, app_writes, from_app:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_run, app, scope, app_reads.receive, app_writes.send)
            await client.open()
            yield client
            await client.disconnect()


async def _run(app: AsgiApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def _named(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}

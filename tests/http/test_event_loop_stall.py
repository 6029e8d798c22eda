"""After a stall of the event loop, the server reads what has arrived before it closes connections as slow."""

from asyncio import Transport  # noqa: TID251 - the argument of the server's protocol

import anyio
import pytest

from airy.http.asgi import Receive, Scope, Send
from airy.http.connection import KEEP_ALIVE_GRACE_S, ConnectionLimits, HttpConnection, OpenConnections
from airy.http.server import HttpServer, _UvicornServer
from tests.kit.event_loops import asyncio_backend

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()])

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = ConnectionLimits(header_s=5.0, keep_alive_s=5)


class FakeTransport(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def connected() -> tuple[_UvicornServer, HttpConnection, FakeTransport]:
    server, transport = _UvicornServer(HttpServer(app, limits=LIMITS)._config()), FakeTransport()
    connection = HttpConnection(server.config, server.server_state, {}, limits=LIMITS, opened=OpenConnections())
    connection.connection_made(transport)
    return server, connection, transport


async def test_a_request_that_arrived_in_time_is_answered_after_a_stall() -> None:
    server, connection, transport = connected()
    await anyio.sleep(LIMITS.header_s + 1)
    connection.loop.call_soon(connection.data_received, REQUEST)
    await server.on_tick(1)
    await anyio.wait_all_tasks_blocked()
    assert (transport.closed, transport.written[:12]) == (False, b"HTTP/1.1 204")


async def test_a_connection_without_a_request_is_closed_after_a_stall() -> None:
    server, _, transport = connected()
    await anyio.sleep(LIMITS.header_s + 1)
    await server.on_tick(1)
    assert (transport.closed, transport.written) == (True, b"")


@pytest.mark.parametrize("next_request", [REQUEST, b""])
async def test_an_idle_connection_is_closed_after_a_stall_unless_a_request_has_arrived(next_request: bytes) -> None:
    _, connection, transport = connected()
    connection.data_received(REQUEST)
    await anyio.sleep(LIMITS.keep_alive_s)
    await anyio.wait_all_tasks_blocked()  # the keep-alive time is over
    if next_request:
        connection.data_received(next_request)
    await anyio.sleep(2 * KEEP_ALIVE_GRACE_S)
    assert transport.closed is not bool(next_request)
    assert transport.written.count(b"HTTP/1.1 204") == 1 + bool(next_request)

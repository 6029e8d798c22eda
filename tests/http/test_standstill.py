"""A server whose process stood still calls nobody slow before it has read what came meanwhile."""

from asyncio import Transport  # noqa: TID251 - what the server's protocol is handed

import anyio
import pytest

from airy.http.asgi import Receive, Scope, Send
from airy.http.connection import SPARE_S, Connection, Limits
from airy.http.server import HttpServer, _Server
from tests.kit.world import asyncio_world

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_world()])

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMITS = Limits(header_s=5.0, keep_alive_s=5)


class Wire(Transport):
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


def connected() -> tuple[_Server, Connection, Wire]:
    server, wire = _Server(HttpServer(app, limits=LIMITS)._config()), Wire()
    connection = Connection(server.config, server.server_state, {}, limits=LIMITS)
    connection.connection_made(wire)
    return server, connection, wire


async def test_a_request_that_came_in_time_and_is_read_late_is_answered() -> None:
    server, connection, wire = connected()
    await anyio.sleep(LIMITS.header_s + 1)
    connection.loop.call_soon(connection.data_received, REQUEST)
    await server.on_tick(1)
    await anyio.wait_all_tasks_blocked()
    assert (wire.closed, wire.written[:12]) == (False, b"HTTP/1.1 204")


async def test_who_said_nothing_is_closed_all_the_same() -> None:
    server, _, wire = connected()
    await anyio.sleep(LIMITS.header_s + 1)
    await server.on_tick(1)
    assert (wire.closed, wire.written) == (True, b"")


@pytest.mark.parametrize("next_request", [REQUEST, b""])
async def test_an_idle_connection_is_kept_if_its_next_request_is_there_and_closed_if_not(next_request: bytes) -> None:
    _, connection, wire = connected()
    connection.data_received(REQUEST)
    await anyio.sleep(LIMITS.keep_alive_s)
    await anyio.wait_all_tasks_blocked()  # the time for it is over
    if next_request:
        connection.data_received(next_request)
    await anyio.sleep(2 * SPARE_S)
    assert wire.closed is not bool(next_request)
    assert wire.written.count(b"HTTP/1.1 204") == 1 + bool(next_request)

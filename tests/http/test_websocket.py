"""Websocket routes: every check before the handshake is accepted, then messages within limits."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from secrets import token_hex

import aiohttp
import anyio
import pytest
from anyio.abc import SocketStream
from structlog.testing import capture_logs

from airy.actors.feed_subscriber import FeedLimits
from airy.http import websocket_connection
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, Permission
from airy.http.catalogue import RESOURCES
from airy.http.connection import ConnectionLimits
from airy.http.ports import ApiContext
from airy.http.resource import Resource
from airy.http.websocket import WebsocketClosed, WebsocketLimits, WebsocketRoute, WebsocketSession
from tests.kit.api import ORIGIN, TOKEN, api_harness
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import Chat, channel
from tests.kit.sample_resource import SAMPLES
from tests.kit.serving import serving

SAMPLE_ID = "1f0c2a3e-5b7d-4c8e-9f10-2a3b4c5d6e7f"
PATH = f"/samples/{SAMPLE_ID}/events"
ALL = (*RESOURCES, SAMPLES)
AUTHORIZED = [("authorization", f"Bearer {TOKEN}")]


TEXT, CONTINUATION, PING = 1, 0, 9  # opcodes of frames


def frame(opcode: int, data: bytes = b"", *, fin: bool = True) -> bytes:
    """Of a client, with a mask of zeros and at most 125 bytes of data."""
    return bytes([fin << 7 | opcode, 0x80 | len(data)]) + bytes(4) + data


@asynccontextmanager
async def raw_websocket(url: str, path: str) -> AsyncIterator[SocketStream]:
    """A connection after its handshake, whose frames the test writes and reads itself."""
    host, port = url.removeprefix("http://").split(":")
    handshake = [
        f"GET {path} HTTP/1.1",
        f"host: {host}",
        f"authorization: Bearer {TOKEN}",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send("\r\n".join([*handshake, "", ""]).encode())
        assert b"101" in await stream.receive()
        yield stream


class Reader:
    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return Caller("reader", frozenset({Permission.READ}))


async def test_a_session_exchanges_messages_and_knows_its_caller() -> None:
    async with api_harness(resources=ALL) as api, open_websocket(api.app, PATH, AUTHORIZED) as client:
        assert client.rejection is None
        assert await client.receive() == f"system-token-tests {SAMPLE_ID}"
        await client.send("hello")
        assert await client.receive() == "hello"
        await client.send("end")
        assert await client.closed() == 1000


async def test_a_handshake_is_answered_with_its_request_id_and_trace() -> None:
    headers = [*AUTHORIZED, ("x-request-id", "abc-1")]
    async with api_harness(resources=ALL) as api, open_websocket(api.app, PATH, headers) as client:
        assert client.headers["x-request-id"] == "abc-1"
        assert client.headers["traceresponse"].startswith("00-")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (PATH, [*AUTHORIZED, ("origin", "https://evil.example")], 403),
        (PATH, [*AUTHORIZED, ("origin", "null")], 403),
        (PATH, [("origin", ORIGIN)], 403),
        (PATH, [], 403),
        (PATH, [("authorization", "Bearer wrong")], 403),
        ("/samples/42/events", AUTHORIZED, 400),
        ("/samples.nope", AUTHORIZED, 404),
        (f"{PATH}/more", AUTHORIZED, 404),
        ("/tags.list", AUTHORIZED, 404),
    ],
)
async def test_a_handshake_that_fails_a_check_is_a_problem_and_not_accepted(
    path: str, headers: list[tuple[str, str]], status: int
) -> None:
    async with api_harness(resources=ALL) as api, open_websocket(api.app, path, headers) as client:
        assert client.rejection is not None
        assert client.rejection.status == status
        assert set(client.rejection.json()) == {"message", "code", "fields"}
        assert client.rejection.headers["x-request-id"]


@pytest.mark.parametrize("origin", [ORIGIN, "https://airy.example.net"])
async def test_allowed_origins_and_the_own_origin_are_accepted(origin: str) -> None:
    headers = [*AUTHORIZED, ("origin", origin), ("host", "airy.example.net")]
    async with api_harness(resources=ALL) as api, open_websocket(api.app, PATH, headers) as client:
        assert client.rejection is None


async def test_a_caller_without_the_permission_is_rejected() -> None:
    async with api_harness(resources=ALL, authenticators=[Reader()]) as api, open_websocket(api.app, PATH) as client:
        assert client.rejection is not None
        assert client.rejection.status == 403


async def test_sessions_beyond_the_limit_are_a_503_until_one_ends() -> None:
    async with api_harness(resources=ALL, websocket_limits=WebsocketLimits(sessions_max=1)) as api:
        async with open_websocket(api.app, PATH, AUTHORIZED) as first:
            assert first.rejection is None
            async with open_websocket(api.app, PATH, AUTHORIZED) as second:
                assert second.rejection is not None
                assert (second.rejection.status, second.rejection.headers["retry-after"]) == (503, "1")
        async with open_websocket(api.app, PATH, AUTHORIZED) as third:
            assert third.rejection is None


async def test_a_bug_in_a_handler_ends_its_session_only_and_is_logged() -> None:
    async with api_harness(resources=ALL) as api:
        with capture_logs() as logged:
            async with open_websocket(api.app, PATH, AUTHORIZED) as client:
                await client.receive()
                await client.send("bug")
                assert await client.closed() == 1011
        (line,) = logged
        assert (line["event"], "exc_info" in line) == ("websocket.failed", False)
        assert "tests.kit.sample_resource:" in line["traceback"]
        async with open_websocket(api.app, PATH, AUTHORIZED) as client:
            assert client.rejection is None


async def test_a_client_that_several_tasks_find_gone_is_no_bug() -> None:
    async def handler(_api: ApiContext, session: WebsocketSession) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(_closed)

    async def _closed() -> None:
        raise WebsocketClosed("the client disconnected")

    route = WebsocketRoute(path_template="/gone", permission=Permission.READ, summary="", handler=handler)
    resource = Resource(name="gone", component="api-admin", websockets=(route,))
    async with api_harness(resources=(*ALL, resource)) as api:
        with capture_logs() as logged:
            async with open_websocket(api.app, "/gone", AUTHORIZED):
                pass
        assert logged == []


async def test_a_message_that_is_too_long_closes_the_session_whether_text_or_binary() -> None:
    async with api_harness(resources=ALL, websocket_limits=WebsocketLimits(message_bytes_max=10)) as api:
        async with open_websocket(api.app, PATH, AUTHORIZED) as client:
            await client.receive()
            await client.send("ü" * 6)
            assert await client.closed() == 1009
        async with open_websocket(api.app, PATH, AUTHORIZED) as client:
            await client.receive()
            await client.send_bytes(b"x" * 11)
            assert await client.closed() == 1009


async def test_a_process_without_websocket_routes_rejects_every_handshake() -> None:
    async with api_harness() as api, open_websocket(api.app, PATH, AUTHORIZED) as client:
        assert client.rejection is not None
        assert client.rejection.status == 404


# --- over real sockets


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_real_client_is_served_rejected_limited_and_drained() -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with (
        api_harness(resources=ALL) as api,
        serving(api) as (url, ctx),
        aiohttp.ClientSession() as client,
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as rejected:
            await client.ws_connect(url + PATH)
        assert rejected.value.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as rejected:
            await client.ws_connect(url + PATH, headers=headers, origin="https://evil.example")
        assert rejected.value.status == 403
        async with client.ws_connect(url + PATH, headers=headers) as socket:
            assert await socket.receive_str() == f"system-token-tests {SAMPLE_ID}"
            await socket.send_str("x" * 999)
            assert await socket.receive_str() == "x" * 999
            await socket.send_str("x" * 1_001)
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1009
        async with client.ws_connect(url + PATH, headers=headers) as socket:
            await socket.receive_str()
            ctx.draining.set()
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 1012


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("frames", "close_code"),
    [
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * websocket_connection.FRAGMENTS_MAX, 1009),
    ],
)
async def test_rejections_and_garbage_are_no_errors_of_the_server(
    frames: bytes, close_code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with api_harness(resources=ALL) as api, serving(api) as (url, _), aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.ws_connect(url + PATH)
        async with raw_websocket(url, PATH) as stream:
            await stream.send(frames)
            assert close_code.to_bytes(2) in await stream.receive()
    assert not caplog.records


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_pongs_for_a_client_that_does_not_read_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, unsent_bytes = websocket_connection.WebsocketConnection.handle_ping, list[int]()

    def recorded(connection: websocket_connection.WebsocketConnection) -> None:
        answer(connection)
        unsent_bytes.append(connection.transport.get_write_buffer_size())

    monkeypatch.setattr(websocket_connection.WebsocketConnection, "handle_ping", recorded)
    pings = 100_000
    async with api_harness() as api, serving(api) as (url, _), raw_websocket(url, "/events") as stream:
        with anyio.fail_after(60):
            for _ in range(pings // 1_000):
                await stream.send(frame(PING, b"x" * 125) * 1_000)
            while len(unsent_bytes) < pings:
                await anyio.sleep(0.01)
    assert max(unsent_bytes) < 400_000  # what may be unsent, and the pongs of one read


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_websockets_take_no_connection_from_http() -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with (
        api_harness(resources=ALL) as api,
        serving(api, ConnectionLimits(connections_max=1)) as (url, _),
        AsyncExitStack() as opened,
    ):
        for _ in range(3):
            client = await opened.enter_async_context(aiohttp.ClientSession())
            await opened.enter_async_context(client.ws_connect(url + PATH, headers=headers))
        async with aiohttp.ClientSession() as client, client.get(f"{url}/livez") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_that_never_reads_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the close frame nor the closing handshake of a client like that is waited for without limit."""
    monkeypatch.setattr(websocket_connection, "CLOSE_S", 0.1)
    limits = FeedLimits(queue_items_max=16, send_s_max=0.2)
    async with (
        api_harness(feed_limits=limits) as api,
        serving(api) as (url, _),
        raw_websocket(url, "/events") as stream,
    ):
        await api.append(channel())
        with anyio.fail_after(60):
            while not api.changes.cut:
                await api.append(*(Chat(number).received(token_hex(8)) for number in range(500)))
            while api.app.websockets is None or api.app.websockets.sessions:
                await anyio.sleep(0.01)
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                while True:
                    await stream.receive()

"""`HttpServer` over real sockets: requests, limits on clients, draining."""

import socket
from asyncio import Transport  # noqa: TID251 - the argument of the server's protocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream
from msgspec.structs import replace

from airy.actors.runtime import Context
from airy.clock import SystemClock
from airy.errors import Misconfigured
from airy.http.asgi import AsgiApp, Receive, Scope, Send
from airy.http.body_reader import BodyReader, ClientDisconnected
from airy.http.connection import ConnectionLimits, HttpConnection, IsWebhook, OpenConnections
from airy.http.server import HttpServer, _UvicornServer

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

QUICK = ConnectionLimits(header_s=0.2, request_s=0.4, keep_alive_s=1, stalled_s=0.3, connections_max=8)
PATIENCE_S = 120.0  # for events that must happen: the machine may be busy
PATIENT = ConnectionLimits(header_s=600, request_s=600, keep_alive_s=600, stalled_s=600, connections_max=8)


class Echo:
    """Responds with the body's size; `/hold` waits for `resume`; `/large` responds with 20 MB."""

    def __init__(self) -> None:
        self.resume = anyio.Event()
        self.started = anyio.Event()
        self.ended: list[str] = []
        self._reader = BodyReader()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await self._reader.read(receive, scope["headers"])
            if scope["path"] == "/hold":
                self.started.set()
                await self.resume.wait()
            answer = b"x" * 20_000_000 if scope["path"] == "/large" else b"%d" % len(body)
            headers = [(b"content-length", b"%d" % len(answer))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})
            self.ended.append("responded")
        except ClientDisconnected:
            self.ended.append("disconnected")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise


@asynccontextmanager
async def serving(
    app: AsgiApp,
    limits: ConnectionLimits = PATIENT,
    drain_s: float = 0.5,
    is_webhook: IsWebhook | None = None,
) -> AsyncIterator[tuple[int, Context, HttpServer]]:
    ready = anyio.Event()
    ctx = Context("http", clock=SystemClock(), random=Random(0), on_ready=ready.set)
    server = HttpServer(app, limits=limits, drain_s=drain_s, is_webhook=is_webhook)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, ctx)
        with anyio.fail_after(PATIENCE_S):
            await ready.wait()
            assert server.address is not None
            yield server.address[1], ctx, server
            ctx.draining.set()


async def exchange(port: int, *parts: bytes, gap_s: float = 0.0) -> bytes:
    """Send these parts while reading until the server closes."""
    received = bytearray()
    async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as tasks:

        async def send() -> None:
            with suppress(anyio.BrokenResourceError):
                for part in parts:
                    await stream.send(part)
                    await anyio.sleep(gap_s)

        tasks.start_soon(send)
        await read_on(stream, received)
        tasks.cancel_scope.cancel()
    return bytes(received)


async def too_slow(port: int, *parts: bytes) -> bytes:
    """The response to a slow client. A client too slow to begin a request gets none, and connects again."""
    while not (answer := await exchange(port, *parts, gap_s=0.05)):
        pass
    return answer


async def read_on(stream: SocketStream, received: bytearray) -> None:
    try:
        while True:
            received += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_small_answer_does_not_wait_for_an_acknowledgement() -> None:
    async with serving(Echo()) as (port, _, server), await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1")
        await stream.receive()
        assert server._server is not None
        (connection,) = server._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def problem_of(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    found: dict[str, object] = msgspec.json.decode(body)
    assert set(found) == {"message", "code", "fields"}
    return found


CLOSE = b"Host: x\r\nConnection: close\r\n"


async def test_the_server_listens_on_the_address_it_reports() -> None:
    async with serving(Echo()) as (port, *_):
        answer = await exchange(port, b"POST /a HTTP/1.1\r\n" + CLOSE + b"Content-Length: 3\r\n\r\nabc")
        assert status_of(answer) == 200
        assert answer.endswith(b"\r\n\r\n3")
        assert b"server:" not in answer.lower()


async def test_one_connection_carries_many_requests() -> None:
    request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
    last = b"POST /a HTTP/1.1\r\n" + CLOSE + b"Content-Length: 2\r\n\r\nab"
    async with serving(Echo()) as (port, *_):
        assert (await exchange(port, request, request, request + last)).count(b"HTTP/1.1 200 OK") == 4
        assert (await exchange(port, request, last, gap_s=0.3)).count(b"HTTP/1.1 200 OK") == 2


async def test_a_port_in_use_is_a_refused_error_with_the_reason() -> None:
    async with serving(Echo()) as (port, ctx, _):
        with pytest.raises(Misconfigured, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            await HttpServer(Echo(), port=port).run(ctx)


# --- slow clients


async def test_a_connection_without_a_request_is_closed() -> None:
    async with serving(Echo(), QUICK) as (port, *_):
        assert await exchange(port) == b""


async def test_an_idle_connection_that_sends_only_line_breaks_is_closed() -> None:
    """Any byte ends the keep-alive time, but a line break does not begin a request."""
    async with serving(Echo(), ConnectionLimits(header_s=0.6, keep_alive_s=600)) as (port, *_):
        answer = await too_slow(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")


async def test_headers_that_arrive_too_slowly_are_a_408() -> None:
    async with serving(Echo(), QUICK) as (port, *_):
        answer = await too_slow(port, b"GET / HTTP/1.1\r\n", *(b"X: y\r\n" for _ in range(40)))
        assert status_of(answer) == 408
        assert problem_of(answer)["code"] == "timed_out"


async def test_a_body_that_arrives_too_slowly_is_a_408_and_its_handler_ends() -> None:
    app = Echo()
    async with serving(app, replace(QUICK, header_s=600)) as (port, *_):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        answer = await exchange(port, head, *(b"x" for _ in range(40)), gap_s=0.05)
        assert status_of(answer) == 408
        assert app.ended == ["disconnected"]


async def test_a_body_that_arrives_fast_enough_may_take_longer_than_a_request() -> None:
    limits = replace(QUICK, header_s=600, body_bytes_per_s_min=4_000)
    async with serving(Echo(), limits) as (port, *_):
        head = b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: 20000\r\n\r\n"
        answer = await exchange(port, head, *(b"x" * 1_000 for _ in range(20)), gap_s=0.05)
        assert status_of(answer) == 200
        assert answer.endswith(b"20000")


class Unflushed(Transport):
    """A transport whose peer does not read: `close` does not end the connection."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


async def test_a_handler_ends_at_once_even_if_the_408_cannot_be_delivered() -> None:
    app = Echo()
    server = _UvicornServer(HttpServer(app)._config())
    connection = HttpConnection(server.config, server.server_state, {}, limits=QUICK, opened=OpenConnections())
    transport = Unflushed()
    connection.connection_made(transport)
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    await anyio.wait_all_tasks_blocked()
    connection.expire(connection.loop.time() + 60)
    await anyio.wait_all_tasks_blocked()
    assert app.ended == ["disconnected"]
    assert transport.written.startswith(b"HTTP/1.1 408")


async def test_a_slow_handler_does_not_count_against_the_client() -> None:
    app = Echo()
    async with serving(app, replace(QUICK, header_s=600)) as (port, *_), anyio.create_task_group() as tasks:

        async def resume() -> None:
            await anyio.sleep(0.6)
            app.resume.set()

        tasks.start_soon(resume)
        answer = await exchange(port, b"POST /hold HTTP/1.1\r\n" + CLOSE + b"Content-Length: 1\r\n\r\na")
        assert status_of(answer) == 200


async def test_a_client_that_does_not_read_the_response_is_disconnected() -> None:
    limits = replace(QUICK, header_s=600, request_s=600)
    async with serving(Echo(), limits) as (port, _, server), await anyio.connect_tcp("127.0.0.1", port) as stream:
        while not server.connections:
            await anyio.sleep(0.01)
        await stream.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        while server.connections:
            await anyio.sleep(0.05)
        received = bytearray()
        await read_on(stream, received)
        assert len(received) < 20_000_000


# --- limits on size


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(70)),
        b"X: " + b"y" * 1_000_000 + b"\r\n",
        b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1_000) for number in range(20)),
    ],
    ids=["many", "huge", "large"],
)
async def test_too_many_or_too_large_headers_are_a_431(head: bytes) -> None:
    async with serving(Echo()) as (port, *_):
        answer = await exchange(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
        assert status_of(answer) == 431
        assert problem_of(answer)["code"] == "too_large"


async def test_a_huge_url_is_a_431() -> None:
    async with serving(Echo()) as (port, *_):
        assert status_of(await exchange(port, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")) == 431


async def test_endless_trailers_are_a_431() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    async with serving(Echo()) as (port, *_):
        answer = await exchange(port, head + b"X: ", *(b"y" * 8_000 for _ in range(10)), gap_s=0.001)
        assert status_of(answer) == 431


async def test_headers_up_to_the_limits_and_large_bodies_are_accepted() -> None:
    limits = ConnectionLimits(headers_max=64, header_bytes_max=16_384)
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 200) for number in range(60))
    body = b"z" * 500_000
    async with serving(Echo(), limits) as (port, *_):
        request = b"POST / HTTP/1.1\r\n" + CLOSE + headers + b"Content-Length: 500000\r\n\r\n" + body
        answer = await exchange(port, request)
        assert status_of(answer) == 200
        assert answer.endswith(b"500000")


async def test_connections_beyond_the_limit_are_a_503() -> None:
    limits = replace(PATIENT, connections_max=2)
    async with serving(Echo(), limits) as (port, *_):
        async with await anyio.connect_tcp("127.0.0.1", port), await anyio.connect_tcp("127.0.0.1", port):
            answer = await exchange(port)
            assert status_of(answer) == 503
            assert b"retry-after: 1" in answer
        with anyio.fail_after(PATIENCE_S):
            while status_of(await exchange(port, b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")) != 200:
                pass


async def test_connections_are_reserved_for_the_webhooks_of_providers() -> None:
    limits = replace(PATIENT, connections_max=8, api_connections_max=2)
    async with serving(Echo(), limits, is_webhook=lambda path: path == "/facebook") as (port, *_):
        request = b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + CLOSE + b"\r\n"
        assert status_of(await exchange(port, b"POST /tags.list" + request)) == 200
        async with await anyio.connect_tcp("127.0.0.1", port), await anyio.connect_tcp("127.0.0.1", port):
            answer = await exchange(port, b"POST /tags.list?x=/facebook" + request)
            assert (status_of(answer), b"retry-after: 1" in answer) == (503, True)
            assert status_of(await exchange(port, b"POST /facebook?x=y" + request)) == 200


# --- request smuggling


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX Y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n folded\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"hello\r\n\r\n",
    ],
    ids=["cl-te", "te-cl", "cl-cl", "chunk", "name", "folded", "tls", "text"],
)
async def test_ambiguous_requests_are_a_400_and_close_the_connection(request_bytes: bytes) -> None:
    async with serving(Echo()) as (port, *_):
        answer = await exchange(port, request_bytes)
        assert status_of(answer) == 400
        assert b"connection: close" in answer
        assert problem_of(answer)["code"] == "invalid"


# --- stopping


async def test_draining_finishes_open_requests_and_accepts_no_new_ones() -> None:
    app = Echo()
    answers: list[bytes] = []
    async with serving(app, drain_s=PATIENCE_S) as (port, ctx, server), anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await exchange(port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"))

        tasks.start_soon(ask)
        await app.started.wait()
        idle = await anyio.connect_tcp("127.0.0.1", port)
        while server.connections < 2:
            await anyio.sleep(0.01)
        ctx.draining.set()
        received = bytearray()
        await read_on(idle, received)
        await idle.aclose()
        with pytest.raises(OSError, match=r"refused|failed"):
            await anyio.connect_tcp("127.0.0.1", port)
        app.resume.set()
    assert status_of(answers[0]) == 200
    assert b"connection: close" in answers[0]


async def test_a_drain_ends_at_its_deadline_and_cancels_open_requests() -> None:
    app = Echo()
    async with serving(app) as (port, ctx, _), anyio.create_task_group() as tasks:
        tasks.start_soon(exchange, port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.started.wait()
        ctx.draining.set()
    assert app.ended == ["CancelledError"]


async def test_cancelling_the_server_leaves_no_task_and_no_socket() -> None:
    app = Echo()
    ready = anyio.Event()
    ctx = Context("http", clock=SystemClock(), random=Random(0), on_ready=ready.set)
    server = HttpServer(app)
    async with anyio.create_task_group() as outer, anyio.create_task_group() as tasks:
        tasks.start_soon(server.run, ctx)
        await ready.wait()
        assert server.address is not None
        port = server.address[1]
        outer.start_soon(exchange, port, b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        await app.started.wait()
        tasks.cancel_scope.cancel()
    assert app.ended == ["CancelledError"]
    assert server.address is None
    with pytest.raises(OSError, match=r"refused|failed"):
        await anyio.connect_tcp("127.0.0.1", port)

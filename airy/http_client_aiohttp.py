"""`HttpClient` and `Downloader` on aiohttp. Needs a running asyncio loop.

The egress policy is checked when a socket is created, for the resolved address it will connect to, which defeats DNS
rebinding and unusual spellings of addresses. Pool, TLS and parser are aiohttp's connector and protocol. The session is
not used: its cookies, redirects, proxies and decompression are not wanted here, and it doubles the cost of a call. A
failure before the connection is established permits a repetition. A connection whose response was badly framed or not
read to its end is closed.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from airy.egress import PUBLIC_ONLY, EgressPolicy, RequestTarget, check_url, is_allowed
from airy.errors import Refused
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.http_client_errors import answer_problem, connect_problem
from airy.http_client_protocol import ResponseProtocol, announces_forbidden_body
from airy.http_client_resolver import SystemResolver

if TYPE_CHECKING:
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.http_parser import RawResponseMessage

DEFAULT_HEADERS = {"accept": "Accept: */*\r\n", "user-agent": "User-Agent: Airy/1.0\r\n"}
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "accept-encoding"}
)
ERROR_BYTES_MAX = 65_536  # kept of an answer to a download that is no success
MAY_LACK_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class AddressChecks:
    """The number of allowed and blocked addresses of a call."""

    __slots__ = ("allowed", "blocked")

    def __init__(self) -> None:
        self.allowed = 0
        self.blocked = 0


ADDRESS_CHECKS: ContextVar[AddressChecks] = ContextVar("checks")


class CallTarget:
    """A checked URL, split for the request."""

    __slots__ = ("connect", "host", "name", "path")

    def __init__(self, target: RequestTarget, loop: asyncio.AbstractEventLoop) -> None:
        origin = URL(target.origin, encoded=True)
        self.connect = aiohttp.ClientRequest("GET", origin, loop=loop)  # only for the connector
        self.host = f"Host: {target.host_header}\r\n"
        self.path = target.path
        self.name = target.host  # in errors; never the whole URL: a query may hold a token


class ConnectionDeadline:
    """Aborts the connection at the deadline: a tenth of the cost of a cancel scope."""

    __slots__ = ("_handle", "_loop", "_protocol", "passed")

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float, protocol: ResponseProtocol) -> None:
        self.passed = False
        self._loop = loop
        self._protocol = protocol
        self._handle = loop.call_at(at, self._pass)

    def _pass(self) -> None:
        self.passed = True
        if self._protocol.transport is not None:
            self._protocol.transport.abort()  # not the protocol's `abort`, which leaves readers of the body waiting

    def shorten(self, at: float) -> None:
        if at < self._handle.when():
            self._handle.cancel()
            self._handle = self._loop.call_at(at, self._pass)

    def cancel(self) -> None:
        self._handle.cancel()


class ResponseLimits(NamedTuple):
    """`into`: where the body of a success goes in place of the response."""

    ends_at: float  # by the loop's clock
    total_s: float
    body_bytes_max: int
    into: Callable[[bytes], Awaitable[None]] | None = None


class AiohttpClient:
    """Use as `async with AiohttpClient() as http`, then `await http("POST", url, body=…)`."""

    def __init__(
        self,
        policy: EgressPolicy = PUBLIC_ONLY,
        *,
        connections_max: int = 512,
        per_host_max: int = 0,
        idle_s: float = 30.0,
        dns_cache_s: int = 30,
        resolver: AbstractResolver | None = None,
        body_s: float = inf,
    ) -> None:
        """`body_s`: the body of a response may take so long after its head, within the time of the call."""
        self._policy = policy
        self._connections_max = connections_max
        self._per_host_max = per_host_max  # 0: `connections_max`
        self._idle_s = idle_s
        self._dns_cache_s = dns_cache_s
        self._resolver = resolver
        self._body_s = body_s
        self._connector: aiohttp.TCPConnector | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._target = lru_cache(maxsize=4_096)(self._checked)
        self._timeout = lru_cache(maxsize=64)(lambda s: aiohttp.ClientTimeout(total=None, connect=s))

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(
            limit=self._connections_max,
            limit_per_host=self._per_host_max,
            keepalive_timeout=self._idle_s,
            ttl_dns_cache=self._dns_cache_s,
            resolver=self._resolver or SystemResolver(),
            socket_factory=self._socket,
        )
        factory = partial(ResponseProtocol, loop=self._loop)
        self._connector._factory = factory  # type: ignore[assignment]  # noqa: SLF001 - there is no public name
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connector is not None:
            await self._connector.close()
            self._connector = self._loop = None
        self._target.cache_clear()

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        assert self._loop is not None, "use `async with AiohttpClient() as http`"
        target = self._target(url)
        request = _head(method, target, headers, body)
        if body:
            request += body
        limits = ResponseLimits(self._loop.time() + total_s, total_s, body_bytes_max)
        connection = await self._connect(target, min(connect_s, total_s))
        return await self._exchange(target, connection, request, limits, skip_body=method == "HEAD")

    async def download(
        self,
        url: str,
        into: Callable[[bytes], Awaitable[None]],
        *,
        headers: Mapping[str, str] = {},
        connect_s: float = 5.0,
        total_s: float = 60.0,
    ) -> Response:
        assert self._loop is not None, "use `async with AiohttpClient() as http`"
        target = self._target(url)
        request = _head("GET", target, headers, None)
        limits = ResponseLimits(self._loop.time() + total_s, total_s, ERROR_BYTES_MAX, into)
        connection = await self._connect(target, min(connect_s, total_s))
        return await self._exchange(target, connection, request, limits, skip_body=False)

    async def _connect(self, target: CallTarget, within_s: float) -> "Connection":
        """Failures in here occur before any byte of the request is written."""
        assert self._connector is not None
        checks = AddressChecks()
        ADDRESS_CHECKS.set(checks)
        try:
            return await self._connector.connect(target.connect, [], self._timeout(within_s))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, aiohttp.InvalidURL) or (checks.blocked and not checks.allowed):
                raise AddressBlocked(f"{target.name} is not a public address", field="url") from error
            raise ConnectFailed(f"{target.name}: {connect_problem(error, within_s)}") from error

    async def _exchange(
        self, target: CallTarget, connection: "Connection", request: bytes, limits: ResponseLimits, *, skip_body: bool
    ) -> Response:
        """After a failure in here the peer may have acted on the request."""
        protocol, transport = connection.protocol, connection.transport
        assert self._loop is not None
        if not isinstance(protocol, ResponseProtocol) or transport is None:
            connection.close()
            raise ConnectFailed(f"{target.name}: the connection was closed at once")
        deadline = ConnectionDeadline(self._loop, limits.ends_at, protocol)
        failure: Exception | None = None
        message: RawResponseMessage | None = None
        parts: list[bytes] = []
        try:
            protocol.expect_response(skip_body=skip_body)
            transport.write(request)
            message, payload = await protocol.read()
            if not payload.is_eof():
                protocol.expect_body(payload)
                deadline.shorten(self._loop.time() + self._body_s)
            if limits.into is not None and 200 <= message.code < 300:
                await _pass_on(payload, limits.into)
            else:
                await _read(payload, limits.body_bytes_max, parts)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            failure = error
        except BaseException:
            connection.close()
            raise
        finally:
            deadline.cancel()
        # A body without a length ends with its connection, also with one that the deadline has aborted.
        if message is not None and failure is None and not deadline.passed:
            protocol.end_response()
            response = Response(message.code, _merged(message.headers), _joined(parts, limits.body_bytes_max))
            if announces_forbidden_body(response.status, response.headers):
                connection.close()
            connection.release()  # returned to the pool if all was read, else closed
            return response
        received = _received(message, parts, protocol, limits.body_bytes_max)
        connection.close()
        reason = answer_problem(None if deadline.passed else failure, limits.total_s, after_head=received is not None)
        raise ResponseLost(f"{target.name}: {reason}", received=received) from failure

    def _checked(self, url: str) -> CallTarget:
        assert self._loop is not None
        try:
            target = check_url(url, self._policy)
        except Refused as error:
            raise AddressBlocked(f"not called: {error}", field="url") from error
        return CallTarget(target, self._loop)

    def _socket(self, address: "AddrInfoType") -> socket.socket:
        family, kind, protocol, _, sockaddr = address
        checks = ADDRESS_CHECKS.get()
        host, port = str(sockaddr[0]), sockaddr[1]
        if not isinstance(port, int) or not self._policy.port_allowed(port):
            checks.blocked += 1
            raise OSError(f"port {port!r} is not allowed")
        if not is_allowed(host, private=self._policy.private):
            checks.blocked += 1
            raise OSError(f"{host} is not a public address")
        checks.allowed += 1
        return socket.socket(family, kind, protocol)


def _head(method: str, target: CallTarget, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Request line and headers. Raises `Refused` for anything that would break the framing."""
    lines = [f"{method} {target.path} HTTP/1.1\r\n", target.host]
    names = {name.lower() for name in headers}
    lines += [line for name, line in DEFAULT_HEADERS.items() if name not in names]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    if body or method not in MAY_LACK_BODY:
        lines.append(f"Content-Length: {len(body or b'')}\r\n")
    head = "".join(lines)
    whole = head.count("\r") == head.count("\n") == len(lines) and "\0" not in head and method.isalpha()
    if not whole or names & FRAMING or not all(map(_is_name, headers)):
        raise Refused("invalid header or method: check the name, and the value for line breaks", field="headers")
    try:
        return f"{head}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise Refused("a header holds a character beyond Latin-1", field="headers") from error


@lru_cache(maxsize=1_024)
def _is_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def _merged(headers: Mapping[str, str]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return merged


async def _read(content: aiohttp.StreamReader, bytes_max: int, parts: list[bytes]) -> None:
    """Adds to `parts` until the end of the body or `bytes_max`."""
    size = 0
    while size < bytes_max and (part := await content.readany()):
        parts.append(part)
        size += len(part)
        if content.at_eof():
            return
    failure = content.exception()
    if failure is not None and size < bytes_max:
        raise failure


async def _pass_on(content: aiohttp.StreamReader, into: Callable[[bytes], Awaitable[None]]) -> None:
    """The whole body. While `into` takes its time, aiohttp stops reading the socket."""
    while part := await content.readany():
        await into(part)
    failure = content.exception()
    if failure is not None:
        raise failure


def _received(
    message: "RawResponseMessage | None", parts: list[bytes], protocol: ResponseProtocol, bytes_max: int
) -> Response | None:
    """What arrived of a response that is not complete; None without its head."""
    if message is not None:
        return Response(message.code, _merged(message.headers), _joined(parts, bytes_max))
    head = protocol.head()
    return None if head is None else Response(head.status, head.headers, protocol.after_head()[:bytes_max])


def _joined(parts: list[bytes], bytes_max: int) -> bytes:
    return (parts[0] if len(parts) == 1 else b"".join(parts))[:bytes_max]

"""`HttpClient` on aiohttp. Needs a running asyncio loop.

The egress policy is checked when a socket is created, for the resolved address it will connect to, which defeats DNS
rebinding and unusual spellings of addresses. Pool, TLS and parser are aiohttp's connector and protocol. The session is
not used: its cookies, redirects, proxies and decompression are not wanted here, and it doubles the cost of a call. A
failure before the connection is established permits a repetition.
"""

import asyncio
import re
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from airy.egress import PUBLIC_ONLY, EgressPolicy, RequestTarget, check_url, is_allowed
from airy.errors import Refused
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import AddrInfoType, Connection

DEFAULT_HEADERS = {"accept": "Accept: */*\r\n", "user-agent": "User-Agent: Airy/1.0\r\n"}
RESOLVERS_MAX = 32  # threads; slow name resolutions must not delay others
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FRAMING = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "accept-encoding"}
)
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

    __slots__ = ("_handle", "_protocol", "passed")

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float, protocol: "ResponseHandler") -> None:
        self.passed = False
        self._protocol = protocol
        self._handle = loop.call_at(at, self._pass)

    def _pass(self) -> None:
        self.passed = True
        if self._protocol.transport is not None:
            self._protocol.transport.abort()  # not the protocol's `abort`, which leaves readers of the body waiting

    def cancel(self) -> None:
        self._handle.cancel()


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
    ) -> None:
        self._policy = policy
        self._connections_max = connections_max
        self._per_host_max = per_host_max  # 0: `connections_max`
        self._idle_s = idle_s
        self._dns_cache_s = dns_cache_s
        self._resolver = resolver
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
            resolver=self._resolver or _Resolver(),
            socket_factory=self._socket,
        )
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
        ends_at = self._loop.time() + total_s
        connection = await self._connect(target, min(connect_s, total_s))
        return await self._exchange(target, connection, request, method, ends_at, body_bytes_max)

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
            raise ConnectFailed(f"{target.name}: {_reason(error)}") from error

    async def _exchange(
        self, target: CallTarget, connection: "Connection", request: bytes, method: str, ends_at: float, bytes_max: int
    ) -> Response:
        """After a failure in here the peer may have acted on the request."""
        protocol = connection.protocol
        transport = connection.transport
        assert self._loop is not None
        if protocol is None or transport is None:
            connection.close()
            raise ConnectFailed(f"{target.name}: closed the connection at once")
        deadline = ConnectionDeadline(self._loop, ends_at, protocol)
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=False, skip_payload=method == "HEAD")
            transport.write(request)
            message, payload = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, payload = await protocol.read()
            content = await _read(payload, bytes_max)
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            connection.close()
            raise ResponseLost(f"{target.name}: {'time-out' if deadline.passed else _reason(error)}") from error
        except BaseException:
            connection.close()
            raise
        finally:
            deadline.cancel()
        if deadline.passed:  # a body without a length ends with its connection
            connection.close()
            raise ResponseLost(f"{target.name}: time-out")
        connection.release()  # returned to the pool if all was read, else closed
        return Response(message.code, _merged(message.headers), content)

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


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate refused: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return type(error).__name__


def _merged(headers: Mapping[str, str]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        merged[key] = f"{merged[key]}, {value}" if key in merged else value
    return merged


async def _read(content: aiohttp.StreamReader, bytes_max: int) -> bytes:
    first = await content.readany()
    if not first or (content.at_eof() and len(first) <= bytes_max):
        return first
    parts, size = [first], len(first)
    while size < bytes_max and (part := await content.readany()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:bytes_max]


class _Resolver(AbstractResolver):
    """The system's resolver, on its own threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS_MAX, "resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: socket.getaddrinfo(host.encode("ascii"), port, family, socket.SOCK_STREAM),  # bytes: no IDNA codec
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, sockaddr in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

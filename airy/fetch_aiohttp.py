"""Outbound HTTP on aiohttp: the adapter behind `airy.fetch.Fetch`. Needs a running asyncio loop.

Every socket is checked when it is created, with the address it will connect to: what a name resolves to at
that moment counts, so neither rebinding nor unusual spellings of an address matter. No redirects, cookies,
proxies or decompression. Whether a call may be repeated depends on one question, answered here: had it a
connection?
"""

import asyncio  # noqa: TID251 - an adapter
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from airy.addresses import PUBLIC, Reach, allowed, check_url
from airy.errors import Refused
from airy.fetch import Answer, Blocked, NotSent, Unanswered

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

USER_AGENT = "Airy/1.0"
RESOLVERS_MAX = 32  # threads; names that never resolve must not delay those that do


class Stage:
    """How far a call got."""

    __slots__ = ("blocked", "connected", "tried")

    def __init__(self) -> None:
        self.connected = False
        self.tried = 0  # addresses
        self.blocked = 0


STAGE: ContextVar[Stage] = ContextVar("stage")


class AiohttpFetch:
    """Use as `async with AiohttpFetch() as fetch`, then `await fetch("POST", url, body=…)`."""

    def __init__(
        self, reach: Reach = PUBLIC, *, connections_max: int = 512, per_host_max: int = 0,
        idle_s: float = 30.0, names_kept_s: int = 30, resolver: AbstractResolver | None = None,
    ) -> None:  # fmt: skip
        self._reach = reach
        self._connections_max = connections_max
        self._per_host_max = per_host_max  # 0: as many as `connections_max`
        self._idle_s = idle_s
        self._names_kept_s = names_kept_s
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._target = lru_cache(maxsize=4_096)(self._checked)
        self._timeout = lru_cache(maxsize=64)(lambda s: aiohttp.ClientTimeout(total=None, connect=s))

    async def __aenter__(self) -> Self:
        connector = _Connector(
            limit=self._connections_max, limit_per_host=self._per_host_max,
            keepalive_timeout=self._idle_s, ttl_dns_cache=self._names_kept_s,
            resolver=self._resolver or _Resolver(), socket_factory=self._socket,
        )  # fmt: skip
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False,
            skip_auto_headers=("Accept-Encoding", "User-Agent"),
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str] = {}, body: bytes | None = None,
        connect_s: float = 5.0, total_s: float = 15.0, body_bytes_max: int = 1_048_576,
    ) -> Answer:  # fmt: skip
        assert self._session is not None, "use `async with AiohttpFetch() as fetch`"
        target = self._target(url)
        stage = Stage()
        STAGE.set(stage)
        try:
            async with asyncio.timeout(total_s):
                answer = await self._session.request(
                    method, target, headers=_named(headers), data=body, allow_redirects=False,
                    timeout=self._timeout(connect_s),
                )  # fmt: skip
                try:
                    content = await _read(answer.content, body_bytes_max)
                finally:
                    # Closes the connection unless all was read, in which case it is back in the pool already.
                    answer.close()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _failure(stage, target, error) from error
        return Answer(answer.status, _merged(answer), content)

    def _checked(self, url: str) -> URL:
        try:
            check_url(url, self._reach)
            return URL(url, encoded=True)
        except Refused as error:
            raise Blocked(f"not called: {error}", field="url") from error

    def _socket(self, address: "AddrInfoType") -> socket.socket:
        family, kind, protocol, _, where = address
        stage = STAGE.get()
        host, port = str(where[0]), where[1]
        if not isinstance(port, int) or not self._reach.port_allowed(port):
            stage.blocked += 1
            raise OSError(f"port {port!r} is not allowed")
        if not allowed(host, private=self._reach.private):
            stage.blocked += 1
            raise OSError(f"{host} is not a public address")
        stage.tried += 1
        return socket.socket(family, kind, protocol)


def _failure(stage: Stage, target: URL, error: Exception) -> NotSent | Unanswered | Blocked:
    """Never with the URL: its query may hold a token."""
    reason = f"{target.host}: {_words(error)}"
    if stage.connected:
        return Unanswered(reason)
    if isinstance(error, aiohttp.InvalidURL) or (stage.blocked and not stage.tried):
        return Blocked(f"{target.host} is not a public address", field="url")
    return NotSent(reason)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"certificate refused: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return type(error).__name__


def _named(headers: Mapping[str, str]) -> Mapping[str, str]:
    return (
        headers
        if any(name.lower() == "user-agent" for name in headers)
        else {"User-Agent": USER_AGENT, **headers}
    )


def _merged(answer: aiohttp.ClientResponse) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in answer.headers.items():
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


class _Connector(aiohttp.TCPConnector):
    """Notes when a call has its connection: from then on the peer may have seen it."""

    async def connect(
        self, req: "ClientRequest", traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> "Connection":
        connection = await super().connect(req, traces, timeout)
        STAGE.get().connected = True
        return connection


class _Resolver(AbstractResolver):
    """The system's resolver, on threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS_MAX, "resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(where[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

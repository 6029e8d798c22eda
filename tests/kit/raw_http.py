"""The aiohttp client with long time-outs, and servers that answer with given bytes."""

import asyncio  # noqa: TID251 - the adapter's loop
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airy.egress import EgressPolicy
from airy.errors import Unavailable
from airy.http_client import Response, ResponseLost
from airy.http_client_aiohttp import AiohttpClient

UNRESTRICTED = EgressPolicy(ports=(), http=True, private=True)
ANY_PORT = EgressPolicy(ports=(), http=True)


REFUSED_ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "localhost",
    "",
    "1.1.1.1 ",
    "[::1]",
]


REFUSED_URLS = [
    "http://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "https:///path",
    "https://",
    "",
    "hooks.example.com",
    "javascript:alert(1)",
    "https://user@example.com/",
    "https://user:word@example.com/",
    "https://example.com@127.0.0.1/",
    "https://@example.com/",
    "https://example.com:8443/",
    "https://example.com:80/",
    "https://example.com:0/",
    "https://example.com:99999/",
    "https://example.com:x/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://127.000.000.001/",
    "https://0/",
    "https://0.0.0.0/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00::1]/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://10.0.0.1/",
    "https://192.168.1.1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://api.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://redis/",
    "https://1.1.1.256/",
    "https://0x/",
    "https://example.0x7f/",
    "https://①②⑦.⓪.⓪.①/",
    "https://exämple.com/",
    "https://example.com\\@127.0.0.1/",
    "https://example.com /",
    "https://exa\tmple.com/",
    "https://example.com\r\nHost: a/",
    "https://-a.example.com/",
    "https://a..example.com/",
    "https://example.com%2f@127.0.0.1/",
    "https://[v1.x]/",
    "https://[::1",
    "https://[2606:4700::1111]x/",
    "https://x[2606:4700::1111]/",
    "https://[2606:4700::1111%25eth0]/",
    "https://" + "a" * 64 + ".example.com/",
    "https://example.com/" + "a" * 2_048,
]


UNSHOWABLE_URLS = [  # their `xn--` labels have no Unicode form
    "https://xn--a.example/x",
    "https://xn--zzzzzz.example/",
    "https://xn--99999999999.example/",
    "https://hook_1.xn--strae-oqa.de/x",
    "https://xn--a.xn--zzzzzz.example./",
]


LONG_S = 120.0  # only a deadline advanced by a test expires


class Patient(AiohttpClient):
    """With long time-outs, so that a busy machine does not change the result of a call."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        connect_s: float = LONG_S,
        total_s: float = LONG_S,
        **more: Any,
    ) -> Response:
        return await super().__call__(method, url, connect_s=connect_s, total_s=total_s, **more)


class Clock:
    """The loop's clock, which a test advances: a deadline passes at a chosen point of a call."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ahead_s = 0.0
        self._time = loop.time
        loop.time = self._now  # type: ignore[method-assign]

    def forward(self, by_s: float) -> None:
        self._ahead_s += by_s

    def _now(self) -> float:
        return self._time() + self._ahead_s


class Names(AbstractResolver):
    """A resolver that returns the next of a list of results per query, then the last one again."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                proto=0,
                flags=0,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in answer
        ]

    async def close(self) -> None: ...


async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client disconnected, as in most of these tests
        finally:
            writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await server.wait_closed()


def answering(answer: bytes) -> AbstractAsyncContextManager[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)

    return serving(handle)


class Requests(list[bytes]):
    def __init__(self) -> None:
        super().__init__()
        self.peers: list[str] = []


@asynccontextmanager
async def recording(extra: bytes = b"", *, body: bytes = b"") -> AsyncIterator[tuple[str, Requests]]:
    seen = Requests()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65_536):
            seen.append(request)
            seen.peers.append(str(writer.get_extra_info("peername")))
            writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body))

    async with serving(handle) as url:
        yield url, seen


async def failing(fetch: AiohttpClient, url: str) -> Exception:
    with pytest.raises(Unavailable) as failure:
        await fetch("POST", url, body=b"{}")
    return failure.value


async def unanswered(fetch: AiohttpClient, url: str) -> Exception:
    failure = await failing(fetch, url)
    assert isinstance(failure, ResponseLost)
    return failure


async def turns() -> None:
    """Loop iterations until data sent on loopback is read."""
    for _ in range(10):
        await asyncio.sleep(0)


def own_certificate(directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / "own.pem"
    path.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context

"""The aiohttp client: egress policy, failure types, framing, connections."""

import asyncio  # noqa: TID251 - the adapter's loop
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airy.egress import PUBLIC_ONLY, EgressPolicy, check_url, is_allowed
from airy.errors import Refused, Unavailable
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.http_client_aiohttp import AiohttpClient

UNRESTRICTED = EgressPolicy(ports=(), http=True, private=True)
ANY_PORT = EgressPolicy(ports=(), http=True)

PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "100.128.0.1",
    "192.0.1.1",
    "192.167.1.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "::ffff:808:808",
]

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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # the adapter needs asyncio; sockets have no virtual time


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


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    loop = asyncio.get_running_loop()
    yield Clock(loop)
    del loop.time  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_may_be_called(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_no_other_address_may_be_called(address: str) -> None:
    assert not is_allowed(address)


def test_private_addresses_need_the_switch_and_link_local_ones_stay_closed() -> None:
    private = ["10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.0.1", "::1", "fd00::1", "::ffff:127.0.0.1"]
    assert all(is_allowed(address, private=True) for address in private)
    never = ["0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "255.255.255.255", "64:ff9b::7f00:1", "::"]
    assert not any(is_allowed(address, private=True) for address in never)


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_forbidden_url_is_refused_at_registration(url: str) -> None:
    with pytest.raises(Refused) as refused:
        check_url(url)
    assert refused.value.field == "url"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com/a?b=c#d",
        "https://hooks.example.com:443/",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://xn--exmple-cua.com/",
        "HTTPS://EXAMPLE.COM./",
        "https://a_b.example.com/",
        *UNSHOWABLE_URLS,
    ],
)
def test_an_ordinary_url_is_accepted(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "origin", "host_header", "path"),
    [
        ("HTTPS://EXAMPLE.COM.", "https://example.com.", "example.com", "/"),
        ("https://example.com:0443?a=%zz#b", "https://example.com", "example.com", "/?a=%zz"),
        ("http://[2606:4700::1111]:8080/{a}", "http://[2606:4700::1111]:8080", "[2606:4700::1111]:8080", "/{a}"),
        ("https://hook_1.xn--strae-oqa.de/x", "https://hook_1.xn--strae-oqa.de", "hook_1.xn--strae-oqa.de", "/x"),
    ],
)
def test_a_url_is_called_in_its_encoded_form(url: str, origin: str, host_header: str, path: str) -> None:
    target = check_url(url, UNRESTRICTED)
    assert (target.origin, target.host_header, target.path) == (origin, host_header, path)


def test_a_developer_may_open_http_ports_and_private_addresses() -> None:
    for url in ("http://localhost:8080/", "http://127.0.0.1:9000/", "https://[::1]:1/", "http://redis/"):
        check_url(url, UNRESTRICTED)
    check_url("https://example.com:8443/", EgressPolicy(ports=(443, 8443)))
    with pytest.raises(Refused):
        check_url("http://169.254.169.254/", UNRESTRICTED)


# --- the egress guard at the socket


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


SPIED: list[str] | None = None


def _spy(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and SPIED is not None and isinstance(arguments[1], tuple):
        SPIED.append(str(arguments[1][0]))


sys.addaudithook(_spy)  # sees every connection of this process


@pytest.fixture
def connections() -> Iterator[list[str]]:
    global SPIED  # noqa: PLW0603 - audit hooks cannot be taken away again
    SPIED = []
    yield SPIED
    SPIED = None


async def test_the_spy_sees_connections(connections: list[str]) -> None:
    async with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as url, Patient(UNRESTRICTED) as fetch:
        await fetch("GET", url)
    assert connections == ["127.0.0.1"]


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_a_refused_url_is_never_connected_to(url: str, connections: list[str]) -> None:
    async with Patient(PUBLIC_ONLY, resolver=Names(OSError("no such name"))) as fetch:
        with pytest.raises(AddressBlocked):
            await fetch("POST", url, body=b"{}")
    assert connections == []


NUMBERS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "10.0.0.1",
    "localhost",
]


@pytest.mark.parametrize("host", NUMBERS)
async def test_the_socket_is_checked_even_if_the_url_was_not(
    host: str, connections: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airy.egress._host_problem", lambda _host, _policy, bracketed: None)
    async with Patient(ANY_PORT) as fetch:
        with pytest.raises(AddressBlocked):
            await fetch("POST", f"http://{host}:80/", body=b"{}")
    assert connections == []


@pytest.mark.parametrize("address", [one for one in REFUSED_ADDRESSES if one.count(".") == 3 or ":" in one])
async def test_a_name_that_resolves_to_a_refused_address_is_blocked(address: str, connections: list[str]) -> None:
    async with Patient(ANY_PORT, resolver=Names([address])) as fetch:
        with pytest.raises(AddressBlocked):
            await fetch("POST", "https://hooks.example.com/", body=b"{}")
    assert connections == []


async def test_a_name_that_turns_to_a_private_address_after_it_was_checked_is_blocked(
    connections: list[str],
) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"])
    async with Patient(PUBLIC_ONLY, resolver=names, dns_cache_s=0) as fetch:
        check_url("https://rebind.example.com/")
        for _ in range(3):
            with pytest.raises(AddressBlocked, match="not a public address"):
                await fetch("POST", "https://rebind.example.com/", body=b"{}")
    assert names.asked == 3
    assert connections == []


async def test_of_several_addresses_only_the_allowed_one_is_tried(connections: list[str]) -> None:
    async with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as url:
        names = Names(["169.254.169.254", "0.0.0.0", "127.0.0.1", "fe80::1"])
        async with Patient(UNRESTRICTED, resolver=names) as fetch:
            assert (await fetch("POST", url.replace("127.0.0.1", "several.example.com"))).status == 204
    assert connections == ["127.0.0.1"]


async def test_a_redirect_is_an_answer_and_is_not_followed(connections: list[str]) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with answering(moved) as url, Patient(UNRESTRICTED) as fetch:
        answer = await fetch("GET", url)
    assert (answer.status, answer.headers["location"]) == (302, "http://169.254.169.254/")
    assert connections == ["127.0.0.1"]


async def test_a_port_that_is_not_allowed_is_not_connected_to(connections: list[str]) -> None:
    async with answering(b"") as url, Patient(EgressPolicy(ports=(443,), http=True, private=True)) as fetch:
        with pytest.raises(AddressBlocked):
            await fetch("GET", url)
    assert connections == []


async def test_proxies_of_the_environment_are_ignored(connections: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.99:3128")
    async with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as url, Patient(UNRESTRICTED) as fetch:
        await fetch("GET", url)
    assert connections == ["127.0.0.1"]


# --- types of failures


async def test_a_refused_connection_is_connect_failed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Patient(UNRESTRICTED) as fetch:
            with pytest.raises(ConnectFailed):
                await fetch("POST", f"http://127.0.0.1:{taken.getsockname()[1]}/", body=b"{}")


async def test_an_unresolvable_name_is_connect_failed() -> None:
    async with Patient(UNRESTRICTED, resolver=Names(OSError("no such name"))) as fetch:
        with pytest.raises(ConnectFailed):
            await fetch("POST", "http://nowhere.example.com/", body=b"{}")


@pytest.mark.parametrize("url", UNSHOWABLE_URLS)
async def test_a_host_without_a_unicode_form_is_called_like_any_other(url: str) -> None:
    host = url.split("/")[2]
    async with recording() as (local, seen), Patient(UNRESTRICTED, resolver=Names(["127.0.0.1"])) as fetch:
        assert (await fetch("POST", local.replace("127.0.0.1", host), body=b"{}")).status == 200
    assert b"Host: %s:" % host.rstrip(".").encode() in seen[0]
    async with Patient(PUBLIC_ONLY, resolver=Names(OSError("no such name"))) as fetch:
        with pytest.raises(ConnectFailed, match=host):
            await fetch("POST", url, body=b"{}")


async def test_the_systems_resolver_is_asked_for_the_encoded_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def getaddrinfo(host: object, *_more: object) -> list[Any]:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with Patient(PUBLIC_ONLY) as fetch:
        with pytest.raises(ConnectFailed, match="not known"):
            await fetch("POST", "https://xn--a.example/x", body=b"{}")
    assert asked == [b"xn--a.example"]


class SlowNames(Names):
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await asyncio.sleep(3600)
        return []


@pytest.mark.parametrize("limits", [{"connect_s": 0.05}, {"total_s": 0.05}])
async def test_a_time_out_while_connecting_is_connect_failed(limits: dict[str, float]) -> None:
    async with Patient(UNRESTRICTED, resolver=SlowNames([])) as fetch:
        with pytest.raises(ConnectFailed, match="time-out"):
            await fetch("POST", "http://slow.example.com/", body=b"{}", **limits)


async def test_a_time_out_in_the_pool_is_connect_failed() -> None:
    taken = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken.set()
        await reader.read()

    async with (
        serving(hold) as url,
        Patient(UNRESTRICTED, connections_max=1) as fetch,
        asyncio.TaskGroup() as tasks,
    ):
        holder = tasks.create_task(fetch("POST", url))
        await taken.wait()
        with pytest.raises(ConnectFailed, match="time-out"):
            await fetch("POST", url, connect_s=0.05)
        assert not holder.done(), "it has the only one"
        holder.cancel()


async def test_a_peer_without_tls_is_connect_failed() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n") as url, Patient(UNRESTRICTED) as fetch:
        with pytest.raises(ConnectFailed):
            await fetch("POST", url.replace("http:", "https:"), body=b"{}")


async def test_an_untrusted_certificate_is_connect_failed(tmp_path: Path) -> None:
    async with serving(_silence, tls=_own_certificate(tmp_path)) as url, Patient(UNRESTRICTED) as fetch:
        with pytest.raises(ConnectFailed, match="the certificate is refused"):
            await fetch("POST", url, body=b"{}")


async def _silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 x OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
async def test_an_incomplete_response_is_response_lost(answer: bytes) -> None:
    async with answering(answer) as url, Patient(UNRESTRICTED) as fetch:
        assert isinstance(await _failing(fetch, url), ResponseLost)


async def test_no_response_to_a_request_is_response_lost(clock: Clock) -> None:
    async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        clock.forward(LONG_S)
        await reader.read()

    async with serving(silence) as url, Patient(UNRESTRICTED) as fetch:
        assert "time-out" in str(await _unanswered(fetch, url))


async def test_a_slow_response_is_aborted_at_the_deadline(clock: Clock) -> None:
    """Sends a byte often, and takes too long in total."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await _turns()
            clock.forward(LONG_S / 10)

    async with serving(trickle) as url, Patient(UNRESTRICTED) as fetch:
        assert "time-out" in str(await _unanswered(fetch, url))


async def test_a_pooled_connection_closed_during_a_request_is_response_lost() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

    async with serving(once) as url, Patient(UNRESTRICTED) as fetch:
        assert (await fetch("POST", url)).status == 200
        assert isinstance(await _failing(fetch, url), ResponseLost)


async def test_a_failure_never_shows_the_query() -> None:
    async with answering(b"") as url, Patient(UNRESTRICTED) as fetch:
        for address in (f"{url}?access_token=sesame", "http://127.0.0.1:1/?access_token=sesame"):
            failure = await _failing(fetch, address)
            assert "sesame" not in f"{failure} {failure!r} {failure.__cause__!r}"
        with pytest.raises(AddressBlocked) as blocked:
            await fetch("GET", "https://169.254.169.254:99999/?access_token=sesame")
        assert "sesame" not in f"{blocked.value!r} {blocked.value.__cause__!r}"


# --- requests and responses


async def test_headers_and_body_arrive_unchanged_without_further_headers() -> None:
    async with recording() as (url, seen), Patient(UNRESTRICTED) as fetch:
        await fetch(
            "POST",
            url + "a%2Fb?c=%20d",
            headers={"Content-Type": "application/json", "X-One": "1"},
            body=b"{}",
        )
        await fetch("POST", url, headers={"user-agent": "Mine/2"}, body=b"{}")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "POST /a%2Fb?c=%20d HTTP/1.1"
    assert sorted(line.partition(":")[0] for line in lines[1:] if ":" in line) == [
        "Accept",
        "Content-Length",
        "Content-Type",
        "Host",
        "User-Agent",
        "X-One",
    ]
    assert "User-Agent: Airy/1.0" in lines
    assert lines[-1] == "{}"
    assert b"Mine/2" in seen[1]
    assert b"Airy" not in seen[1]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "1\nX-B: 2"},
        {"X-A": "1\rX-B: 2"},
        {"X-A": "1\0"},
        {"X-A\r\nX-B": "1"},
        {"X A": "1"},
        {"X-A:": "1"},
        {"": "1"},
        {"X-A": "€"},
        {"é": "1"},
        {"Host": "a"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"Expect": "100-continue"},
    ],
)
async def test_headers_that_would_break_the_request_are_refused_and_nothing_is_sent(headers: dict[str, str]) -> None:
    async with recording() as (url, seen), Patient(UNRESTRICTED) as fetch:
        with pytest.raises(Refused):
            await fetch("POST", url, headers=headers, body=b"{}")
        with pytest.raises(Refused):
            await fetch("GET / HTTP/1.1\r\n", url)
        assert seen == []
        assert (await fetch("POST", url, headers={"X-A": "é\t"}, body=b"{}")).status == 200


async def test_content_length_depends_on_method_and_body() -> None:
    async with recording(body=b"hello") as (url, seen), Patient(UNRESTRICTED) as fetch:
        for method, sent, received in (("GET", b"", b"hello"), ("POST", b"", b"hello"), ("PUT", b"x" * 9, b"hello")):
            assert (await fetch(method, url, body=sent or None)).body == received
    assert [b"Content-Length: %d\r\n" % length in request for request, length in zip(seen, (0, 0, 9), strict=True)] == [
        False,
        True,
        True,
    ]


async def test_an_answer_to_head_has_no_body_and_keeps_the_connection() -> None:
    async with (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") as url,
        Patient(UNRESTRICTED) as fetch,
    ):
        assert (await fetch("HEAD", url)).body == b""


async def test_interim_answers_are_skipped_and_chunks_put_together() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + chunked) as url, Patient(UNRESTRICTED) as fetch:
        answer = await fetch("GET", url)
    assert (answer.status, answer.body) == (200, b"abcde")


async def test_a_large_body_arrives_completely() -> None:
    body = bytes(range(256)) * 4_096
    got = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got.extend(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(take) as url, Patient(UNRESTRICTED) as fetch:
        assert (await fetch("POST", url, body=body)).status == 200
    assert got == body


async def test_a_body_without_a_length_at_the_deadline_is_response_lost(clock: Clock) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await _turns()
        clock.forward(LONG_S)
        await reader.read()

    async with serving(endless) as url, Patient(UNRESTRICTED) as fetch:
        assert "time-out" in str(await _unanswered(fetch, url))


async def test_a_deadline_ends_with_its_call(clock: Clock) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for delay_s in (0.0, 1.2 * LONG_S):
            await reader.readuntil(b"\r\n\r\n")
            clock.forward(delay_s)
            await _turns()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(slow) as url, Patient(UNRESTRICTED) as fetch:
        assert (await fetch("GET", url, total_s=LONG_S)).status == 200
        assert (await fetch("GET", url, total_s=10 * LONG_S)).status == 200, "on the same connection"


async def test_a_cancelled_call_closes_its_connection(clock: Clock) -> None:
    async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        (clock.forward(LONG_S) if first.cancel_called else first.cancel())
        await reader.read()

    async with serving(silence) as url, Patient(UNRESTRICTED, connections_max=1) as fetch:
        with anyio.CancelScope() as first:
            await fetch("POST", url, body=b"{}")
        assert first.cancelled_caught
        assert "time-out" in str(await _unanswered(fetch, url)), "the only connection was given back"


async def test_cookies_are_not_kept() -> None:
    async with (
        recording(b"Set-Cookie: a=b\r\n") as (url, seen),
        Patient(UNRESTRICTED, resolver=Names(["127.0.0.1"])) as fetch,
    ):
        for _ in range(2):
            await fetch("GET", url.replace("127.0.0.1", "jar.example.com"))
    assert not any(b"cookie" in request.lower() for request in seen)


async def test_a_body_is_truncated_at_the_limit_and_never_decompressed() -> None:
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-A: 1\r\nx-a: 2\r\n\r\n" + b"\x1f\x8b" * 500_000
    async with answering(bomb) as url, Patient(UNRESTRICTED) as fetch:
        answer = await fetch("GET", url, body_bytes_max=16_384)
    assert answer.body == b"\x1f\x8b" * 8_192
    assert answer.headers["x-a"] == "1, 2"


async def test_connections_are_kept_when_all_was_read_and_closed_when_not() -> None:
    for size, connections in ((100, 1), (200_000, 5)):
        async with recording(body=b"." * size) as (url, seen), Patient(UNRESTRICTED) as fetch:
            for _ in range(5):
                assert len((await fetch("GET", url, body_bytes_max=1_000)).body) == min(size, 1_000)
            assert (len(seen), len(set(seen.peers))) == (5, connections)


# --- badly framed answers

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BADLY_FRAMED = {  # the segments of an answer; then the connection stays open
    "two equal lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"],
    "a length that is no number": [b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: x\r\n\r\nhello"],
    "a length and chunks": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello"],
    "a body without permission": [b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"],
    "a body beyond its length": [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello"],
    "a bad chunk": [CHUNKED + b"hello\r\n"],
    "a bad chunk that comes later": [CHUNKED, b"hello\r\n"],
    "a bad chunk after a good one": [CHUNKED + b"5\r\nhello\r\n", b"zz\r\nhello\r\n"],
    "a bad chunk that comes with the end of a good one": [
        b"HTTP/1.1 200 OK\r\nTran",
        CHUNKED[21:] + b"5\r\nhello",
        b"\r\nzz\r\nh",
        b"ello\r\n",
    ],
    "a header that is none": [b"HTTP/1.1 410 Gone\r\nno colon\r\n\r\nhello"],
    "a header that is too large": [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9_000 + b"\r\nContent-Length: 5\r\n\r\nhello"],
    "a head in pieces": [
        b"HTT",
        b"P/1.1 100 Continue\r\n\r\nHTTP/1.1 20",
        b"1 Made\r\nContent-Length: 5\r",
        b"\n\r\nhello",
    ],
}
STATUSES = {"a length that is no number": 503, "a body without permission": 204, "a header that is none": 410}


def segments(*parts: bytes) -> AbstractAsyncContextManager[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await _turns()

    return serving(handle)


@pytest.mark.parametrize("name", BADLY_FRAMED)
async def test_the_status_of_a_badly_framed_answer_is_known(name: str) -> None:
    async with segments(*BADLY_FRAMED[name]) as url, Patient(UNRESTRICTED) as fetch:
        for _ in range(2):  # the second on a new connection
            if name == "a head in pieces":
                assert (await fetch("POST", url, body=b"{}")).status == 201
                continue
            failure = await _failing(fetch, url)
            assert isinstance(failure, ResponseLost)
            assert failure.received is not None
            assert failure.received.status == STATUSES.get(name, 200)
            assert failure.received.headers.get("retry-after") == ("7" if failure.received.status == 503 else None)
            assert failure.received.body in (b"hello", b"hello\r\n", b"")


@pytest.mark.parametrize("more", [b"", b"."])
async def test_a_body_that_does_not_end_is_cut_soon_after_the_head(more: bytes, clock: Clock) -> None:
    """Without a length, or one byte at a time: with the length of a call as the only limit, each would take it all."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n%s\r\nhello" % (b"Content-Length: 1000\r\n" if more else b""))
        for _ in range(4):
            await _turns()
            clock.forward(0.5)
            writer.write(more)
        await reader.read()

    async with serving(endless) as url, Patient(UNRESTRICTED, body_s=2.0) as fetch:
        failure = await _failing(fetch, url)
    assert isinstance(failure, ResponseLost)
    assert failure.received is not None
    assert (failure.received.status, failure.received.body[:5]) == (200, b"hello")


async def test_a_body_that_a_204_announces_is_not_taken_for_the_next_answer() -> None:
    late = [b"HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
    async with segments(*late) as url, Patient(UNRESTRICTED) as fetch:
        for _ in range(3):
            assert (await fetch("POST", url, body=b"{}")).status == 204


async def test_bytes_between_two_calls_are_not_taken_for_the_next_answer() -> None:
    unasked = [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"]
    async with segments(*unasked) as url, Patient(UNRESTRICTED) as fetch:
        for _ in range(3):
            assert (await fetch("POST", url, body=b"{}")).status == 200
            await _turns()
            await _turns()


@pytest.mark.parametrize("seed", range(5))
async def test_no_answer_whatever_its_bytes_raises_anything_unexpected_or_hangs(seed: int) -> None:
    random = Random(seed)

    async def noise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        whole = bytearray(b"".join(random.choice(list(BADLY_FRAMED.values()))))
        for _ in range(random.randrange(4)):
            whole[random.randrange(len(whole))] = random.randrange(256)
        while whole:
            cut = random.randrange(1, len(whole) + 1)
            writer.write(whole[:cut])
            del whole[:cut]
            await _turns()

    async with serving(noise) as url, Patient(UNRESTRICTED) as fetch:
        for _ in range(60):
            try:
                await fetch("POST", url, body=b"{}")
            except ResponseLost as lost:
                assert "time-out" not in str(lost)


async def test_reasons_are_sentences(tmp_path: Path) -> None:
    answers = (b"", b"HTTP/1.1 200", b"SSH-2.0-x\r\n", CHUNKED + b"zz\r\n")
    failed: list[Exception] = []
    async with Patient(UNRESTRICTED, resolver=Names(OSError("no such name"))) as fetch:
        for answer in answers:
            async with answering(answer) as url:
                failed.append(await _failing(fetch, url))
        async with serving(_silence, tls=_own_certificate(tmp_path)) as untrusted:
            for url in (untrusted, "http://nowhere.example.com/", "http://127.0.0.1:1/"):
                failed.append(await _failing(fetch, url))  # noqa: PERF401 - no clearer as a comprehension
        async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
            failed.append(await _failing(fetch, plain.replace("http:", "https:")))
    assert [str(each).partition(": ")[2] for each in failed] == [
        "the connection was closed before an answer",
        "the connection was closed before an answer",
        "the answer is not valid HTTP: Bad status line",
        "the answer is incomplete or badly framed",
        "the certificate is refused: self-signed certificate",
        "the host name cannot be resolved: no such name",
        "the connection failed: Connection refused",
        "TLS failed: wrong version number",
    ]


# --- servers

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


async def _failing(fetch: AiohttpClient, url: str) -> Exception:
    with pytest.raises(Unavailable) as failure:
        await fetch("POST", url, body=b"{}")
    return failure.value


async def _unanswered(fetch: AiohttpClient, url: str) -> Exception:
    failure = await _failing(fetch, url)
    assert isinstance(failure, ResponseLost)
    return failure


async def _turns() -> None:
    """Loop iterations until data sent on loopback is read."""
    for _ in range(10):
        await asyncio.sleep(0)


def _own_certificate(directory: Path) -> ssl.SSLContext:
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

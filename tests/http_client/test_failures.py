"""The types of failures of the aiohttp client."""

import asyncio  # noqa: TID251 - the adapter's loop
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from airy.egress import PUBLIC_ONLY
from airy.http_client import AddressBlocked, ConnectFailed, ResponseLost
from tests.kit.raw_http import (
    LONG_S,
    UNRESTRICTED,
    UNSHOWABLE_URLS,
    Clock,
    Names,
    Patient,
    answering,
    failing,
    own_certificate,
    recording,
    serving,
    silence,
    turns,
    unanswered,
)

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
    async with serving(silence, tls=own_certificate(tmp_path)) as url, Patient(UNRESTRICTED) as fetch:
        with pytest.raises(ConnectFailed, match="the certificate is refused"):
            await fetch("POST", url, body=b"{}")


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
        assert isinstance(await failing(fetch, url), ResponseLost)


async def test_no_response_to_a_request_is_response_lost(clock: Clock) -> None:
    async def silence(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        clock.forward(LONG_S)
        await reader.read()

    async with serving(silence) as url, Patient(UNRESTRICTED) as fetch:
        assert "time-out" in str(await unanswered(fetch, url))


async def test_a_slow_response_is_aborted_at_the_deadline(clock: Clock) -> None:
    """Sends a byte often, and takes too long in total."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await turns()
            clock.forward(LONG_S / 10)

    async with serving(trickle) as url, Patient(UNRESTRICTED) as fetch:
        assert "time-out" in str(await unanswered(fetch, url))


async def test_a_pooled_connection_closed_during_a_request_is_response_lost() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

    async with serving(once) as url, Patient(UNRESTRICTED) as fetch:
        assert (await fetch("POST", url)).status == 200
        assert isinstance(await failing(fetch, url), ResponseLost)


async def test_a_failure_never_shows_the_query() -> None:
    async with answering(b"") as url, Patient(UNRESTRICTED) as fetch:
        for address in (f"{url}?access_token=sesame", "http://127.0.0.1:1/?access_token=sesame"):
            failure = await failing(fetch, address)
            assert "sesame" not in f"{failure} {failure!r} {failure.__cause__!r}"
        with pytest.raises(AddressBlocked) as blocked:
            await fetch("GET", "https://169.254.169.254:99999/?access_token=sesame")
        assert "sesame" not in f"{blocked.value!r} {blocked.value.__cause__!r}"

"""The egress guard of the aiohttp client, at the socket."""

import sys
from collections.abc import Iterator

import pytest

from airy.egress import PUBLIC_ONLY, EgressPolicy, check_url
from airy.http_client import AddressBlocked
from tests.kit.raw_http import (
    ANY_PORT,
    REFUSED_ADDRESSES,
    REFUSED_URLS,
    UNRESTRICTED,
    Names,
    Patient,
    answering,
)

# --- the egress guard at the socket


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

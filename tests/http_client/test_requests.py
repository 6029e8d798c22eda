"""Requests, responses and connections of the aiohttp client."""

import asyncio  # noqa: TID251 - the adapter's loop

import anyio
import pytest

from airy.errors import Refused
from tests.kit.raw_http import (
    LONG_S,
    UNRESTRICTED,
    Clock,
    Names,
    Patient,
    answering,
    recording,
    serving,
    turns,
    unanswered,
)

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
        await turns()
        clock.forward(LONG_S)
        await reader.read()

    async with serving(endless) as url, Patient(UNRESTRICTED) as fetch:
        assert "time-out" in str(await unanswered(fetch, url))


async def test_a_deadline_ends_with_its_call(clock: Clock) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for delay_s in (0.0, 1.2 * LONG_S):
            await reader.readuntil(b"\r\n\r\n")
            clock.forward(delay_s)
            await turns()
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
        assert "time-out" in str(await unanswered(fetch, url)), "the only connection was given back"


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

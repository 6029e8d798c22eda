"""Badly framed answers to the aiohttp client."""

import asyncio  # noqa: TID251 - the adapter's loop
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

import pytest

from airy.http_client import ResponseLost
from tests.kit.raw_http import (
    UNRESTRICTED,
    Clock,
    Names,
    Patient,
    answering,
    failing,
    own_certificate,
    serving,
    silence,
    turns,
)

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
                await turns()

    return serving(handle)


@pytest.mark.parametrize("name", BADLY_FRAMED)
async def test_the_status_of_a_badly_framed_answer_is_known(name: str) -> None:
    async with segments(*BADLY_FRAMED[name]) as url, Patient(UNRESTRICTED) as fetch:
        for _ in range(2):  # the second on a new connection
            if name == "a head in pieces":
                assert (await fetch("POST", url, body=b"{}")).status == 201
                continue
            failure = await failing(fetch, url)
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
            await turns()
            clock.forward(0.5)
            writer.write(more)
        await reader.read()

    async with serving(endless) as url, Patient(UNRESTRICTED, body_s=2.0) as fetch:
        failure = await failing(fetch, url)
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
            await turns()
            await turns()


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
            await turns()

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
                failed.append(await failing(fetch, url))
        async with serving(silence, tls=own_certificate(tmp_path)) as untrusted:
            for url in (untrusted, "http://nowhere.example.com/", "http://127.0.0.1:1/"):
                failed.append(await failing(fetch, url))  # noqa: PERF401 - no clearer as a comprehension
        async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as plain:
            failed.append(await failing(fetch, plain.replace("http:", "https:")))
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

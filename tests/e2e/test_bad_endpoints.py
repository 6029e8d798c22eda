"""Endpoints that cannot be called, or answer what no HTTP library reads, beside one that works, in a running Airy."""

import asyncio  # noqa: TID251 - raw servers
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import aiohttp
import anyio
import pytest

from tests.kit.process import TOKEN, AiryProcess, Subscriber, connect, http_session, messenger

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), pytest.mark.parametrize("anyio_backend", ["asyncio"])]

WITHIN_S = 60.0  # bounds a hang
MESSAGES = 3
UNRESOLVABLE = ("https://xn--a.example/x", "https://xn--zzzzzz.example/", "https://hook_1.xn--strae-oqa.invalid/x")
ANSWERS = {  # None: the connection stays open
    "a body without permission": [b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"],
    "two lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"],
    "no length": [b"HTTP/1.1 200 OK\r\n\r\nhello", None],
    "a drip": [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nh", b"e", b"l", None],
    "a bad chunk": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\nhello\r\n", None],
}

ENDPOINTS = len(ANSWERS) + 1  # with the good one


@asynccontextmanager
async def raw_endpoint(name: str, received: dict[str, list[bytes]]) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                assert length is not None
                received.setdefault(name, []).append(await reader.readexactly(int(length[1])))
                for part in ANSWERS[name]:
                    if part is None:
                        await reader.read()
                        return
                    writer.write(part)
                    await writer.drain()
                    await anyio.sleep(0.01)  # real time: another segment
        except (OSError, asyncio.IncompleteReadError):
            pass  # the connection was closed, as it should be
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()


async def test_bad_endpoints_get_each_event_once_and_delay_no_other(tmp_path: Path) -> None:
    received: dict[str, list[bytes]] = {}
    async with AsyncExitStack() as stack:
        sim, graph_url = await stack.enter_async_context(messenger())
        session = await stack.enter_async_context(http_session())
        good = await stack.enter_async_context(Subscriber().serving())
        urls = [await stack.enter_async_context(raw_endpoint(name, received)) for name in ANSWERS]
        airy = stack.enter_context(closing(AiryProcess(tmp_path, graph_url)))
        airy.start()
        await airy.ready(session)
        sim.target_url = airy.url
        await connect(airy, session)
        for url in (*UNRESOLVABLE, *urls, good.url):
            await airy.call(session, "/webhooks.subscribe", {"url": url, "events": ["message.created"]})
        for number in range(MESSAGES):
            sim.core.says(sim.core.person(), f"hello {number}", time.time_ns() // 1_000_000)

        with anyio.fail_after(WITHIN_S):
            while (metrics := await counters(airy, session))["airy_webhooks_delivered_total"] < MESSAGES * ENDPOINTS:
                await anyio.sleep(0.1)  # real time: waits for another process
        assert {name: len(bodies) for name, bodies in received.items()} == dict.fromkeys(ANSWERS, MESSAGES)
        assert len(good.received) == MESSAGES
        assert metrics["airy_webhooks_failed_attempts_total"] >= MESSAGES * len(UNRESOLVABLE)
        assert (metrics["airy_bugs_total"], metrics["airy_restarts_total"]) == (0, 0)
        assert airy.stop() == 0


async def counters(airy: AiryProcess, session: aiohttp.ClientSession) -> Counter[str]:
    """The sum of each metric over its labels."""
    sums = Counter[str]()
    async with session.get(f"{airy.url}/metrics", headers={"authorization": f"Bearer {TOKEN}"}) as answer:
        for line in (await answer.text()).splitlines():
            if not line.startswith("#"):
                sums[re.split("[ {]", line)[0]] += round(float(line.split()[-1]))
    return sums

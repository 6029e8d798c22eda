"""The views over a real socket."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from aiohttp import web

from airy import api_client
from airy.egress import UNRESTRICTED
from airy.http_client_aiohttp import AiohttpClient
from airy.secret import Secret
from airy.tui import live, status
from tests.kit.fake_instance import FakeInstance

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

TOKEN = "a-token-of-some-length"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With long time-outs, so that a busy machine does not fail the test."""
    for limit in ("CONNECT_S", "TOTAL_S"):
        monkeypatch.setattr(api_client, limit, 120.0)


@asynccontextmanager
async def serving(instance: FakeInstance) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = await instance(request.method, str(request.url), headers=headers, body=await request.read() or None)
        return web.Response(status=answer.status, body=answer.body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Out(io.StringIO):
    """Signals when a message was written."""

    def __init__(self) -> None:
        super().__init__()
        self.message = anyio.Event()

    def write(self, text: str) -> int:
        if "→" in text:
            self.message.set()
        return super().write(text)


async def test_watching_without_a_terminal_prints_the_footer_and_each_change() -> None:
    instance, out = FakeInstance(token=TOKEN), Out()
    instance.conversation("c-1", "Ada")
    instance.message("c-1", "m-1", {"text": "hello"})

    async with serving(instance) as url, anyio.create_task_group() as tasks:
        tasks.start_soon(live.watch, url, Secret(TOKEN), None, out)
        await out.message.wait()
        tasks.cancel_scope.cancel()

    lines = out.getvalue().splitlines()
    assert lines[0].startswith(f"# Ctrl-C stops · API {url}/schema")
    assert lines[-1].endswith("→ Ada: hello")
    assert sum(line.startswith("curl ") for line in lines) == 3


async def test_status_reports_readiness() -> None:
    instance = FakeInstance(token=TOKEN)
    async with serving(instance) as url, AiohttpClient(UNRESTRICTED) as http:
        client = api_client.ApiClient(http, url, Secret(TOKEN))
        ready = await status.read_status([client])
        instance.waiting_for = {"store": "folding"}
        folding = await status.read_status([client])

    assert (ready.ready, folding.ready) == (True, False)
    assert ready.text.startswith("Airy: ready\n")

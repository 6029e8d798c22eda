"""A host of files over real HTTP, some of which are traps."""

import asyncio  # noqa: TID251 - the server's loop
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from tests.kit.file_hosts import PAGE, PNG

PHOTO = PNG + bytes(400_000)  # over what is kept in memory
METADATA_SERVICE = "http://169.254.169.254/latest/meta-data/"


class HostileHost:
    def __init__(self) -> None:
        self.url = ""
        self.requests = Counter[str]()
        self.sent_bytes = 0  # of the file without an end

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["HostileHost"]:
        app = web.Application()
        app.router.add_get("/{name}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self.requests[name] += 1
        match name:
            case "photo.png":
                return web.Response(body=PHOTO)
            case "moved.png":
                raise web.HTTPFound("/photo.png")
            case "metadata":
                raise web.HTTPFound(METADATA_SERVICE)
            case "login.png":
                return web.Response(body=PAGE, content_type="image/png")
            case "flaky.png" if self.requests[name] == 1:
                return web.Response(status=503, headers={"retry-after": "1"})
            case "flaky.png":
                return web.Response(body=PNG)
            case "endless" | "slow":
                return await self._stream(request, forever=name == "endless")
        return web.Response(status=404)

    async def _stream(self, request: web.Request, *, forever: bool) -> web.StreamResponse:
        """As much as is taken; or a byte at a time."""
        answer = web.StreamResponse()
        await answer.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            part = bytes(65_536) if forever else b"\x89"
            await answer.write(part)
            self.sent_bytes += len(part)
            await asyncio.sleep(0.0 if forever else 0.1)
        return answer

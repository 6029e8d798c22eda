"""A reverse proxy for several replicas, round robin by path. Not for production."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

HOP_BY_HOP = {"connection", "host", "keep-alive", "content-length", "transfer-encoding", "content-encoding"}
BODY_BYTES_MAX = 16_777_216
TOTAL_S = 60.0
KEPT_S = 1.0  # see `tests.kit.process`
REFUSED = 503

Backends = Callable[[], Sequence[str]]


class ReverseProxy:
    """`backends`: addresses of replicas by path prefix; the longest matching prefix decides.

    A replica that refuses the connection, or responds with 503, is skipped: it has not acted. A connection that breaks
    during a request gives 502: the replica may have acted.
    """

    def __init__(self, backends: Mapping[str, Backends], port: int = 0) -> None:
        self._backends = backends
        self._port = port
        self._turn = 0
        self._session: aiohttp.ClientSession
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ReverseProxy"]:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        timeout = aiohttp.ClientTimeout(total=TOTAL_S)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_S)
        try:
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
                self._session = session
                await web.TCPSite(runner, "127.0.0.1", self._port).start()
                self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield self
        finally:
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = [(name, text) for name, text in request.headers.items() if name.lower() not in HOP_BY_HOP]
        refusal = web.Response(status=503, text="no replica is available", headers={"retry-after": "1"})
        for backend in self._round_robin(request.path):
            try:
                async with self._session.request(
                    request.method, f"{backend}{request.path_qs}", data=body, headers=headers, allow_redirects=False
                ) as response:
                    text = await response.read()
                    kept = [(name, value) for name, value in response.headers.items() if name.lower() not in HOP_BY_HOP]
                    forwarded = web.Response(status=response.status, body=text, headers=dict(kept))
                    if response.status != REFUSED:
                        return forwarded
                    refusal = forwarded
            except aiohttp.ClientConnectorError:
                continue
            except (aiohttp.ClientError, TimeoutError) as error:
                return web.Response(status=502, text=f"the replica closed the connection: {type(error).__name__}")
        return refusal

    def _round_robin(self, path: str) -> list[str]:
        prefixes = [prefix for prefix in self._backends if path.startswith(prefix)]
        backends = list(self._backends[max(prefixes, key=len)]()) if prefixes else []
        self._turn += 1
        turn = self._turn % len(backends) if backends else 0
        return backends[turn:] + backends[:turn]

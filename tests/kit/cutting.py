"""A TCP proxy that drops the response to the n-th request, all of it or its end. The request itself is served."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream, SocketAttribute

CHUNK_BYTES = 1_048_576


class CuttingProxy:
    """Requests are counted over all connections, per write of the client: a pipeline is one."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._address = parts.hostname or "", parts.port or 0
        self.requests = 0
        self.url = ""
        self._cut: int | None = None
        self._keep_bytes = 0

    def cut(self, after_requests: int, *, keep_bytes: int = 0) -> None:
        """From now on, pass this many requests, then only this many bytes of the next response."""
        self._cut = self.requests + after_requests
        self._keep_bytes = keep_bytes

    def disarm(self) -> bool:
        """Pass everything from now on; returns whether a response was dropped."""
        cut, self._cut = self._cut is None, None
        return cut

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["CuttingProxy"]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(SocketAttribute.local_port)
        self.url = f"redis://127.0.0.1:{port}/0"
        async with listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, self._serve)
            yield self
            tasks.cancel_scope.cancel()

    async def _serve(self, client: ByteStream) -> None:
        async with client, await anyio.connect_tcp(*self._address) as server:
            number = 0
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:

                    async def answers() -> None:
                        try:
                            while True:
                                data = await server.receive(CHUNK_BYTES)
                                if self._cut is not None and number > self._cut:
                                    self._cut = None
                                    if self._keep_bytes:
                                        await client.send(data[: self._keep_bytes])
                                    break
                                await client.send(data)
                        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                            pass
                        scope.cancel()

                    tasks.start_soon(answers)
                    try:
                        while True:
                            data = await client.receive(CHUNK_BYTES)
                            self.requests += 1
                            number = self.requests
                            await server.send(data)
                    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                        scope.cancel()

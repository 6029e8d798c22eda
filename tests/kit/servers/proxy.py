"""A TCP proxy with injected failures, between a client and one server, on loopback. It does not parse the bytes.

Where clients learn addresses from servers, the server must advertise the proxy's address, or clients bypass it.
"""

import asyncio  # noqa: TID251 - sockets below any library
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from tests.kit.servers.ports import HOST

CHUNK_BYTES: Final = 65_536


class Proxy:
    """Use `async with Proxy(host, port) as proxy:` and connect to `proxy.port`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._server: asyncio.Server | None = None
        self._flowing = _flowing()
        self._gates = [self._flowing]
        self._carrying: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._dropping: Callable[[], bool] = lambda: False
        self.delay_s = 0.0  # of every response
        self.accepted = 0  # connections since the start

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("not started: use `async with`")
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def open(self) -> int:
        """Open connections."""
        return len(self._writers) // 2

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for gate in self._gates:
            gate.set()
        if self._carrying:
            await asyncio.wait(self._carrying)

    def stall(self) -> None:
        """Forward nothing more, without closing: connections stay open, new ones are accepted."""
        self._flowing.clear()

    def stall_after(self, answers: int) -> None:
        """Forward so many more responses, then stall."""
        seen = 0

        def dropping() -> bool:
            nonlocal seen
            seen += 1
            if seen > answers:
                self.stall()
            return False

        self._dropping = dropping
        if not answers:
            self.stall()

    def flow(self) -> None:
        self._dropping = lambda: False
        self._flowing.set()

    def freeze(self) -> None:
        """Stall the open connections permanently; new ones work."""
        self._flowing.clear()
        self._flowing = _flowing()
        self._gates.append(self._flowing)

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def move(self, host: str, port: int) -> None:
        """Connect new connections to another server; open ones keep theirs."""
        self._upstream = (host, port)

    def drop_answers(self, first: int, count: int = 1) -> None:
        """Reset the connection instead of forwarding the `first` answer from now (1: the next) and `count - 1` more.

        An answer is one received chunk, which holds for small answers on loopback.
        """
        seen = 0

        def dropping() -> bool:
            nonlocal seen
            seen += 1
            return first <= seen < first + count

        self._dropping = dropping

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        if task is not None:
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)
        upstream: asyncio.StreamWriter | None = None
        flowing = self._flowing
        try:
            await flowing.wait()
            with suppress(OSError):
                if writer.is_closing():
                    return
                back, upstream = await asyncio.open_connection(*self._upstream)
                self._writers.add(upstream)
                await self._both(self._requests(flowing, reader, upstream), self._answers(flowing, back, writer))
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    async def _both(self, *ways: Coroutine[Any, Any, None]) -> None:
        """Until one direction ends: half-open connections are closed."""
        tasks = {asyncio.ensure_future(way) for way in ways}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and not isinstance(task.exception(), OSError | None):
                    raise RuntimeError("the proxy is broken") from task.exception()

    async def _requests(
        self, flowing: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            await flowing.wait()
            writer.write(chunk)
            await writer.drain()

    async def _answers(
        self, flowing: asyncio.Event, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if self._dropping():
                return
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await flowing.wait()
            writer.write(chunk)
            await writer.drain()


def _flowing() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event

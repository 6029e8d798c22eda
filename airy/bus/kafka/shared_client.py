"""One client shared by its callers: connected by the first that needs it, replaced when a caller finds it broken."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from airy.bus.kafka.client import Client, connect, dispose
from airy.bus.kafka.settings import KafkaSettings
from airy.errors import Unavailable

C = TypeVar("C", bound=Client)


class SharedClient(Generic[C]):
    """All callers wait for the same connection attempt: a thousand attempts that fail in turn take an hour."""

    def __init__(self, make: Callable[[], C], settings: KafkaSettings, *, graceful: bool = True) -> None:
        self._make = make
        self._settings = settings
        self._graceful = graceful  # dispose: wait for `stop`
        self._connecting: asyncio.Task[C] | None = None
        self._disposals: set[asyncio.Future[None]] = set()
        self._closed = False
        self.client: C | None = None

    async def get(self, within_s: float) -> C:
        """Raises `Unavailable`."""
        if self.client is not None:
            return self.client
        if self._closed:
            raise Unavailable("the connection to the cluster is closed")
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(connect(self._make, self._settings))
            self._connecting.add_done_callback(self._connected)
        connecting = self._connecting
        await asyncio.wait({connecting}, timeout=max(0.0, within_s))
        if not connecting.done() or connecting.cancelled():
            raise Unavailable("there is no connection to the cluster: is it up?")
        error = connecting.exception()
        if isinstance(error, Unavailable):  # a new one per caller: raising adds a traceback to it
            raise Unavailable(str(error)) from error
        return connecting.result()

    def drop(self, client: C) -> None:
        """The next `get` connects a new client. Does nothing if `client` has been dropped already."""
        if client is self.client:
            self.client = None
            self._dispose(client)

    async def close(self) -> None:
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        if self.client is not None:
            self.drop(self.client)
        if self._disposals:
            await asyncio.wait(self._disposals)

    def _connected(self, connecting: "asyncio.Task[C]") -> None:
        self._connecting = None
        if connecting.cancelled() or connecting.exception() is not None:
            return
        self.client = connecting.result()
        if self._closed:
            self.drop(self.client)

    def _dispose(self, client: C) -> None:
        disposal = asyncio.ensure_future(dispose(client, self._settings, graceful=self._graceful))
        self._disposals.add(disposal)
        disposal.add_done_callback(self._disposals.discard)

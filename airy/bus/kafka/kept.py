"""One client for everybody who needs it: made by whoever comes first, thrown away by whoever finds it broken."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from airy.bus.kafka.client import Client, dispose, started
from airy.bus.kafka.settings import KafkaSettings
from airy.errors import Unavailable

C = TypeVar("C", bound=Client)


class Kept(Generic[C]):
    """While it is made, all wait for the same attempt: a thousand that fail one after the other take an hour."""

    def __init__(self, make: Callable[[], C], settings: KafkaSettings, *, politely: bool = True) -> None:
        self._make = make
        self._settings = settings
        self._politely = politely
        self._making: asyncio.Task[C] | None = None
        self._disposals: set[asyncio.Future[None]] = set()
        self._closed = False
        self.client: C | None = None

    async def get(self, within_s: float) -> C:
        """Raises `Unavailable`."""
        if self.client is not None:
            return self.client
        if self._closed:
            raise Unavailable("the connection to the cluster is closed")
        if self._making is None:
            self._making = asyncio.ensure_future(started(self._make, self._settings))
            self._making.add_done_callback(self._made)
        making = self._making
        await asyncio.wait({making}, timeout=max(0.0, within_s))
        if not making.done() or making.cancelled():
            raise Unavailable("there is no connection to the cluster: is it up?")
        error = making.exception()
        if isinstance(error, Unavailable):  # a new one for each: those who catch it add to it
            raise Unavailable(str(error)) from error
        return making.result()

    def drop(self, client: C) -> None:
        """The next to ask gets a new one; unless somebody has dropped this one already."""
        if client is self.client:
            self.client = None
            self._throw_away(client)

    async def close(self) -> None:
        self._closed = True
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait({self._making})
        if self.client is not None:
            self.drop(self.client)
        if self._disposals:
            await asyncio.wait(self._disposals)

    def _made(self, making: "asyncio.Task[C]") -> None:
        self._making = None
        if making.cancelled() or making.exception() is not None:
            return
        self.client = making.result()
        if self._closed:
            self.drop(self.client)

    def _throw_away(self, client: C) -> None:
        disposal = asyncio.ensure_future(dispose(client, self._settings, politely=self._politely))
        self._disposals.add(disposal)
        disposal.add_done_callback(self._disposals.discard)

"""Subscribes to the channel that any process publishes to after a put. A hint: a message may be lost, and polling
alone is sufficient.
"""

from typing import Any

import anyio

from airy.queue.redis.connection import CLOSE_S, SOCKET_S, RedisConnection
from airy.queue.redis.errors import DENIED, TRANSIENT

LISTEN_S = SOCKET_S / 2  # per wait: beyond the socket time-out the client would drop the connection
MESSAGES_MAX = 10_000  # consumed as one arrival


class ArrivalListener:
    def __init__(self, connection: RedisConnection, channel: str) -> None:
        self._connection = connection
        self._channel = channel
        self._subscription: Any = None
        self._client: Any = None
        self._losses = 0
        self._listening = anyio.Lock()

    async def wait(self, within_s: float) -> None:
        """Returns after a message since the last call, or after `within_s`."""
        until = anyio.current_time() + within_s
        async with self._listening:
            try:
                while not await self._receive(min(until - anyio.current_time(), LISTEN_S)):
                    if anyio.current_time() >= until:
                        return
                for _ in range(MESSAGES_MAX):
                    if not await self._receive(0.0):
                        return
            except (*TRANSIENT, *DENIED):
                await self.close()
                await anyio.sleep(max(0.0, until - anyio.current_time()))

    async def close(self) -> None:
        subscription, client = self._subscription, self._client
        self._subscription = self._client = None
        with anyio.move_on_after(CLOSE_S, shield=True):
            for each in (subscription, client):
                try:
                    if each is not None:
                        await each.aclose()
                except TRANSIENT:
                    continue

    async def _subscribe(self) -> None:
        self._losses = self._connection.losses
        self._subscription, self._client = self._connection.listener()
        try:
            await self._subscription.subscribe(self._channel)
        except BaseException:  # also on cancellation: the next call would find it half subscribed and crash
            await self.close()
            raise

    async def _receive(self, within_s: float) -> bool:
        if self._losses != self._connection.losses:  # messages are published on another server by now
            await self.close()
        if self._subscription is None:
            await self._subscribe()
        message = await self._subscription.get_message(ignore_subscribe_messages=True, timeout=max(0.0, within_s))
        return message is not None

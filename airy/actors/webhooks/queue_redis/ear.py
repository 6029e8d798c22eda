"""Hears that something was put, by whichever process. A hint: a message may get lost, and nobody relies on it."""

from typing import Any

import anyio

from airy.actors.webhooks.queue_redis.wire import CLOSE_S, DENIED, SOCKET_S, TRANSIENT, Wire

LISTEN_S = SOCKET_S / 2  # at a time: longer than the socket's time-out would break the connection
MESSAGES_MAX = 10_000  # that are one arrival


class Ear:
    def __init__(self, wire: Wire, channel: str) -> None:
        self._wire = wire
        self._channel = channel
        self._subscribed: Any = None
        self._client: Any = None
        self._losses = 0
        self._listening = anyio.Lock()

    async def heard(self, within_s: float) -> None:
        """Returns once there was a message since the last call, or after `within_s`."""
        until = anyio.current_time() + within_s
        async with self._listening:
            try:
                while not await self._message(min(until - anyio.current_time(), LISTEN_S)):
                    if anyio.current_time() >= until:
                        return
                for _ in range(MESSAGES_MAX):
                    if not await self._message(0.0):
                        return
            except (*TRANSIENT, *DENIED):
                await self.close()
                await anyio.sleep(max(0.0, until - anyio.current_time()))

    async def close(self) -> None:
        subscribed, client = self._subscribed, self._client
        self._subscribed = self._client = None
        with anyio.move_on_after(CLOSE_S, shield=True):
            for each in (subscribed, client):
                try:
                    if each is not None:
                        await each.aclose()
                except TRANSIENT:
                    continue

    async def _subscribe(self) -> None:
        self._losses = self._wire.losses
        self._subscribed, self._client = self._wire.listener()
        try:
            await self._subscribed.subscribe(self._channel)
        except BaseException:  # also when we are told to stop: who listened next would find it half made, and crash
            await self.close()
            raise

    async def _message(self, within_s: float) -> bool:
        if self._losses != self._wire.losses:  # what is said is said elsewhere by now
            await self.close()
        if self._subscribed is None:
            await self._subscribe()
        message = await self._subscribed.get_message(ignore_subscribe_messages=True, timeout=max(0.0, within_s))
        return message is not None

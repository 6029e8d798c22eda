"""A simulated provider behind the outbound HTTP port: without sockets, in the time of the caller's event loop."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import anyio

from airy.clock import Clock
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.webhook_sender import PostWebhook


class SimHttpClient:
    """An `HttpClient` for one host: that of `url`, where the API is said to be."""

    def __init__(
        self,
        core: SimulatedProvider[Any],
        clock: Clock,
        *,
        url: str | None = None,
        post: PostWebhook | None = None,
    ) -> None:
        """`post` is for webhooks that a call waits for."""
        self._core = core
        self._post = post
        self._clock = clock
        self._host = urlsplit(url or core.default_address).netloc
        core.address = url or core.default_address

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        if urlsplit(url).netloc != self._host:
            raise AddressBlocked(f"{urlsplit(url).netloc} is not the simulated {self._core.title}: {self._host}")
        lower = {name.lower(): text for name, text in headers.items()}
        reply = self._core.call(method, url, lower, body, self._clock.now_ms())
        if not reply.reached:
            await anyio.sleep(min(reply.after_ms / 1000, connect_s))
            raise ConnectFailed(f"{self._host} refused the connection")
        if reply.status is None or reply.after_ms / 1000 > total_s:
            await anyio.sleep(total_s)
            raise ResponseLost(f"{self._host} did not answer within {total_s:g} s")
        if reply.check is not None and self._post is not None:
            reply = self._core.checked(reply, await self._post(reply.check))
        await anyio.sleep(reply.after_ms / 1000)
        assert reply.status is not None
        return Response(
            reply.status, {"content-type": reply.content_type, **reply.headers}, reply.body[:body_bytes_max]
        )

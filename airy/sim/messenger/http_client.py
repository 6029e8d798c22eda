"""The simulated Messenger behind the outbound HTTP port: without sockets, in the time of the caller's event loop."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio

from airy.clock import Clock
from airy.http_client import AddressBlocked, ConnectFailed, Response, ResponseLost
from airy.sim.messenger.core import MessengerCore


class SimHttpClient:
    """An `HttpClient` for one host: that of `graph_url`."""

    def __init__(self, core: MessengerCore, clock: Clock, *, graph_url: str = "https://graph.facebook.com") -> None:
        self._core = core
        self._clock = clock
        self._host = urlsplit(graph_url).netloc

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
            raise AddressBlocked(f"{urlsplit(url).netloc} is not the simulated Messenger, which is {self._host}")
        lower = {name.lower(): text for name, text in headers.items()}
        reply = self._core.call(method, url, lower, body, self._clock.now_ms())
        if not reply.reached:
            await anyio.sleep(min(reply.after_ms / 1000, connect_s))
            raise ConnectFailed(f"{self._host} refused the connection")
        if reply.status is None or reply.after_ms / 1000 > total_s:
            await anyio.sleep(total_s)
            raise ResponseLost(f"{self._host} did not answer within {total_s:g} s")
        await anyio.sleep(reply.after_ms / 1000)
        return Response(reply.status, {"content-type": reply.content_type}, reply.body[:body_bytes_max])

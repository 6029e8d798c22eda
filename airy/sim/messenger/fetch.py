"""The simulated Messenger behind the outbound HTTP port: no sockets, and time that passes by the caller's
event loop.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio

from airy.clock import Clock
from airy.fetch import Answer, Blocked, NotSent, Unanswered
from airy.sim.messenger.core import MessengerCore


class SimFetch:
    """A `Fetch` that knows one host: the one of `graph_url`."""

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
    ) -> Answer:
        if urlsplit(url).netloc != self._host:
            raise Blocked(f"{urlsplit(url).netloc} is not the simulated Messenger, which is {self._host}")
        named = {name.lower(): text for name, text in headers.items()}
        reply = self._core.call(method, url, named, body, self._clock.now_ms())
        if not reply.reached:
            await anyio.sleep(min(reply.after_ms / 1000, connect_s))
            raise NotSent(f"{self._host} refused the connection")
        if reply.status is None or reply.after_ms / 1000 > total_s:
            await anyio.sleep(total_s)
            raise Unanswered(f"{self._host} did not answer within {total_s:g} s")
        await anyio.sleep(reply.after_ms / 1000)
        return Answer(reply.status, {"content-type": reply.content_type}, reply.body[:body_bytes_max])

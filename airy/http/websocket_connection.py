"""One websocket connection: uvicorn's protocol, and an end for clients that do not read.

uvicorn waits without limit until a client has read everything, also to close: a few clients that never read would hold
their sockets and buffers for good. Compression is off, because its state is larger than everything else of a session.
"""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

CLOSE_S = 10.0  # from the end of the session until the connection is aborted


class WebsocketConnection(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._abort_timer: asyncio.TimerHandle | None = None

    async def send(self, message: Any) -> None:
        """A close frame does not wait: it goes behind what the client has not read."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(CLOSE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)

"""One websocket connection: uvicorn's protocol, and bounds for clients that do not read or do not keep to theirs.

uvicorn waits without limit until a client has read everything, also to close: a few clients that never read would hold
their sockets and buffers for good. It also answers every ping, whether or not the client reads, keeps empty fragments
without limit, and logs rejected handshakes and invalid text as errors of the application. Compression is off, because
its state is larger than everything else of a session.
"""

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

CLOSE_S = 10.0  # from the end of the session until the connection is aborted
FRAGMENTS_MAX = 1_024  # of one message

CLOSE_INVALID_TEXT = 1007
CLOSE_TOO_LONG = 1009


class WebsocketConnection(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._abort_timer: asyncio.TimerHandle | None = None

    async def send(self, message: Any) -> None:
        """A close frame does not wait: it goes behind what the client has not read."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def handle_ping(self) -> None:
        """Its pong is dropped while the client does not read."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < FRAGMENTS_MAX:
            super().handle_cont(event)
        else:
            self._fail(CLOSE_TOO_LONG, f"a message has at most {FRAGMENTS_MAX} fragments")

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self._fail(CLOSE_INVALID_TEXT, "a text is no UTF-8")
        else:
            super().send_receive_event_to_app()

    def _fail(self, code: int, reason: str) -> None:
        self.frames = []
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        if not self.disconnected:
            self._abort_timer = self.loop.call_later(CLOSE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        super().connection_lost(exc)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True

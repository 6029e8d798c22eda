"""One client connection: uvicorn's protocol with limits on time and size.

uvicorn waits without limit for headers and bodies and accepts headers of any size, so a few slow clients could exhaust
a server. Deadlines are numbers that the server compares in `on_tick`, not timers: they cost a request two assignments.
"""

from collections.abc import Callable
from typing import Any

from httptools import parse_url
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from airy.http.problems import Problem, render


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    header_s: float = 5.0  # from the first byte (or the connection) to the end of the headers
    request_s: float = 15.0  # from the first byte to the end of the body
    keep_alive_s: int = 5  # idle between requests
    body_bytes_per_s_min: int = 16_384  # a body that arrives as fast may take longer than `request_s`
    stalled_s: float = 15.0  # without progress in reading the response
    headers_max: int = 64
    header_bytes_max: int = 16_384
    connections_max: int = 1_024  # without websockets
    api_connections_max: int = 768  # with more, only webhooks of providers are answered


class OpenConnections:
    """The number of HTTP connections of a server. An upgrade to a websocket ends one."""

    def __init__(self) -> None:
        self.count = 0


IsWebhook = Callable[[str], bool]
"""Whether a path is that of a provider's webhook, for which connections are reserved."""

KEEP_ALIVE_GRACE_S = 0.05

BAD_REQUEST = Problem(400, "not a valid HTTP request")
TIMED_OUT = Problem(408, "the request took too long to arrive")
HEADERS_TOO_LARGE = Problem(431, "too many or too large headers")
TOO_MANY_CONNECTIONS = Problem(503, "too many connections", headers=[(b"retry-after", b"1")])


class _Rejected(Exception):
    """Raised in a parser callback; the response is in `HttpConnection._problem`."""


class HttpConnection(HttpToolsProtocol):
    """The server calls `expire` several times a second."""

    def __init__(
        self,
        *args: Any,
        limits: ConnectionLimits,
        opened: OpenConnections,
        is_webhook: IsWebhook | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._is_webhook = is_webhook
        self._opened = opened
        self._problem = BAD_REQUEST
        self._rejected = False
        self._upgraded = False
        self._in_headers = True  # or between two requests
        self._bytes = 0  # parsed since the headers began, or since the body last grew
        self._started_at = 0.0
        self._deadline: float | None = None  # None: the server is to respond, not the client to send
        self._unsent = 0
        self._unsent_since = 0.0

    # --- called by the transport

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._started_at = self.loop.time()
        self._deadline = self._started_at + self._limits.header_s
        self._opened.count += 1
        if self._opened.count > self._limits.connections_max:
            self._reject(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._opened.count -= 1
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers and self._deadline is None:
            self._deadline = self.loop.time() + self._limits.header_s
        while data and not self._rejected and not self._upgraded:
            bytes_max = self._limits.header_bytes_max - self._bytes if self._in_headers else len(data)
            part, data = data[:bytes_max], data[bytes_max:]
            self._bytes += len(part)
            super().data_received(part)
            if self._bytes >= self._limits.header_bytes_max and not self._rejected:
                self._reject(HEADERS_TOO_LARGE)

    # --- called by the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._started_at = self.loop.time()
        self._deadline = self._started_at + self._limits.header_s

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self._limits.headers_max:
            self._problem = HEADERS_TOO_LARGE
            raise _Rejected
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_webhook is not None and self._opened.count > self._limits.api_connections_max:
            path = parse_url(self.url).path or b""
            if not self._is_webhook(path.decode("latin-1")):
                self._problem = TOO_MANY_CONNECTIONS
                raise _Rejected
        super().on_headers_complete()
        self._in_headers = False
        self._bytes = 0
        self._deadline = self._started_at + self._limits.request_s

    def on_body(self, body: bytes) -> None:
        self._bytes = 0
        if self._deadline is not None:
            self._deadline += len(body) / self._limits.body_bytes_per_s_min
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True
        self._bytes = 0
        self._deadline = None

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        self._opened.count -= 1
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - `_problem` is more specific
        self._reject(self._problem)

    # --- limits

    def timeout_keep_alive_handler(self) -> None:
        """Wait a little longer: after a stall of the event loop, a request that has arrived may not be read yet."""
        self.timeout_keep_alive_task = self.loop.call_later(KEEP_ALIVE_GRACE_S, super().timeout_keep_alive_handler)

    def expire(self, now: float) -> None:
        """Close the connection if its client is too slow."""
        if self._stalled(now):
            self.transport.abort()
        elif self._deadline is not None and now >= self._deadline and not self.flow.read_paused:
            if self._rejected:
                self.transport.abort()
            elif self._in_headers and not self._bytes:
                self.transport.close()  # no request was begun, so there is nothing to respond to
            else:
                self._reject(TIMED_OUT)

    def _stalled(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return unsent > 0 and now - self._unsent_since >= self._limits.stalled_s

    def _reject(self, problem: Problem) -> None:
        """Respond with `problem`, unless another response has begun, and close. The handler sees a disconnect."""
        self._rejected = True
        self._deadline = self.loop.time() + self._limits.keep_alive_s
        in_progress = self.cycle is not None and not self.cycle.response_complete
        if not self.pipeline and not (in_progress and self.cycle.response_started):
            self.transport.write(_response_bytes(problem))
        if in_progress:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def _response_bytes(problem: Problem) -> bytes:
    status, headers, body = render(problem)
    lines = b"".join(b"%s: %s\r\n" % header for header in (*headers, (b"connection", b"close")))
    return b"%s%s\r\n%s" % (STATUS_LINE[status], lines, body)

"""One client connection: uvicorn's protocol with the limits it lacks.

uvicorn waits forever for headers and bodies and takes headers of any size, so a few slow or greedy clients
could hold a whole server. Deadlines are numbers the server's sweep compares, not timers: they cost a
request nothing but two assignments.
"""

from typing import Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from airy.http.problems import Problem, render


class Limits(Struct, frozen=True, kw_only=True):
    header_s: float = 5.0  # from the first byte (or the connection) to the end of the headers
    request_s: float = 15.0  # from the first byte to the end of the body
    keep_alive_s: int = 5  # idle between requests
    stalled_s: float = 15.0  # a client that takes nothing of its answer
    headers_max: int = 64
    header_bytes_max: int = 16_384
    connections_max: int = 1_024


SPARE_S = 0.05

BAD_REQUEST = Problem(400, "not an HTTP request we can understand")
TIMED_OUT = Problem(408, "the request took too long to arrive")
HEADERS_TOO_LARGE = Problem(431, "too many or too large headers")
FULL = Problem(503, "too many connections", headers=[(b"retry-after", b"1")])


class _Refused(Exception):
    """Raised in a parser callback; the problem is in `Connection._problem`."""


class Connection(HttpToolsProtocol):
    """`expire` is called by the server's sweep, several times a second."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._problem = BAD_REQUEST
        self._refused = False
        self._in_headers = True  # or waiting for a request to begin
        self._bytes = 0  # fed since the headers began, or since the body last grew
        self._began = 0.0
        self._due: float | None = None  # None: the next move is ours
        self._unsent = 0
        self._unsent_since = 0.0

    # --- what the transport calls

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._began = self.loop.time()
        self._due = self._began + self._limits.header_s
        if len(self.connections) > self._limits.connections_max:
            self._refuse(FULL)

    def data_received(self, data: bytes) -> None:
        if self._in_headers and self._due is None:
            self._due = self.loop.time() + self._limits.header_s
        while data and not self._refused:
            room = self._limits.header_bytes_max - self._bytes if self._in_headers else len(data)
            piece, data = data[:room], data[room:]
            self._bytes += len(piece)
            super().data_received(piece)
            if self._bytes >= self._limits.header_bytes_max and not self._refused:
                self._refuse(HEADERS_TOO_LARGE)

    # --- what the parser calls

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._began = self.loop.time()
        self._due = self._began + self._limits.header_s

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self._limits.headers_max:
            self._problem = HEADERS_TOO_LARGE
            raise _Refused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_headers = False
        self._bytes = 0
        self._due = self._began + self._limits.request_s

    def on_body(self, body: bytes) -> None:
        self._bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_headers = True
        self._bytes = 0
        self._due = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says more
        self._refuse(self._problem)

    # --- limits

    def timeout_keep_alive_handler(self) -> None:
        """A moment later: if this process stood still, the next request may be there, and not be read yet."""
        self.timeout_keep_alive_task = self.loop.call_later(SPARE_S, super().timeout_keep_alive_handler)

    def expire(self, now: float) -> None:
        """End the connection if its client has been too slow."""
        if self._stalled(now):
            self.transport.abort()
        elif self._due is not None and now >= self._due and not self.flow.read_paused:
            if self._refused:
                self.transport.abort()
            elif self._in_headers and not self._bytes:
                self.transport.close()  # connected and said nothing: nobody to answer
            else:
                self._refuse(TIMED_OUT)

    def _stalled(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return unsent > 0 and now - self._unsent_since >= self._limits.stalled_s

    def _refuse(self, problem: Problem) -> None:
        """Answer `problem` if nothing of another answer would be cut, then close; the handler sees a
        disconnect.
        """
        self._refused = True
        self._due = self.loop.time() + self._limits.keep_alive_s
        under_way = self.cycle is not None and not self.cycle.response_complete
        if not self.pipeline and not (under_way and self.cycle.response_started):
            self.transport.write(_encoded(problem))
        if under_way:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def _encoded(problem: Problem) -> bytes:
    status, headers, body = render(problem)
    lines = b"".join(b"%s: %s\r\n" % header for header in (*headers, (b"connection", b"close")))
    return b"%s%s\r\n%s" % (STATUS_LINE[status], lines, body)

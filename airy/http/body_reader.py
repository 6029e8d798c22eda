"""Reads whole request bodies within limits on size, time and memory."""

import anyio
from msgspec import Struct

from airy.http.asgi import RawHeaders, Receive
from airy.http.problems import Problem, unavailable

CLOSE = [(b"connection", b"close")]


class BodyLimits(Struct, frozen=True, kw_only=True):
    bytes_max: int = 1_048_576
    unfinished_bytes_max: int = 67_108_864  # of all incomplete bodies together
    arrive_s: float = 15.0
    bytes_per_s_min: int = 16_384  # a body that arrives as fast may take longer than `arrive_s`


class ClientDisconnected(Problem):
    """The client disconnected before its request was complete; no response can reach it."""

    def __init__(self) -> None:
        super().__init__(408, "the connection ended before the body did")


class BodyReader:
    """Reads whole bodies, each within its limits, and all incomplete ones together within `unfinished_bytes_max`.

    The deadline starts with a body's first part, and only for bodies of several parts: a cancel scope per request would
    cost a third of the read. The server's `request_s` covers the time before.
    """

    def __init__(self, limits: BodyLimits | None = None) -> None:
        self.limits = limits or BodyLimits()
        self.unfinished_bytes = 0

    async def read(self, receive: Receive, headers: RawHeaders, bytes_max: int | None = None) -> bytes:
        """`bytes_max`: of this body; None: that of the limits.

        Raises `Problem`: 413 as soon as the body is known to be too long, 408, 503; and `ClientDisconnected`.
        """
        bytes_max = self.limits.bytes_max if bytes_max is None else bytes_max
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            for name, value in headers:
                if name == b"content-length" and value.isdigit() and int(value[:18]) > bytes_max:
                    raise _too_large(bytes_max)
            return await self._read_rest(receive, body, bytes_max)
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
        return body

    async def _read_rest(self, receive: Receive, start: bytes, bytes_max: int) -> bytes:
        body = bytearray()
        try:
            with anyio.move_on_after(self.limits.arrive_s) as scope:
                self._append(body, start, bytes_max)
                more = True
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise ClientDisconnected
                    part = message.get("body", b"")
                    self._append(body, part, bytes_max)
                    scope.deadline += len(part) / self.limits.bytes_per_s_min
                    more = message.get("more_body", False)
                return bytes(body)
        finally:
            self.unfinished_bytes -= len(body)
        raise Problem(408, "the body took too long to arrive", headers=CLOSE)

    def _append(self, body: bytearray, part: bytes, bytes_max: int) -> None:
        if len(body) + len(part) > bytes_max:
            raise _too_large(bytes_max)
        if self.unfinished_bytes + len(part) > self.limits.unfinished_bytes_max:
            raise unavailable("too many request bodies are arriving at once")
        body += part
        self.unfinished_bytes += len(part)


def _too_large(bytes_max: int) -> Problem:
    return Problem(413, f"the body is over {bytes_max} bytes", headers=CLOSE)

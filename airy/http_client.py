"""The port for outbound HTTP. The type of a failure decides whether the call may be repeated.

`ConnectFailed`: the request was not sent (refused, unresolvable, blocked, time-out while connecting).
`ResponseLost`: it was or may have been sent, and no complete response arrived: the peer may have acted on it. If the
head of the response arrived, `received` has it, with what could be read of the body.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from msgspec import Struct

from airy.errors import Refused, Unavailable


class ConnectFailed(Unavailable):
    pass


class Response(Struct, frozen=True):
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes  # truncated at `body_bytes_max`

    def retry_after_s(self, now_ms: int | None = None) -> float | None:
        """What `Retry-After` asks for in seconds, not negative; None if it is absent or cannot be read. A date counts
        from the `Date` of the response, because clocks differ, or else from `now_ms`.
        """
        asked = self.headers.get("retry-after", "").strip()
        if asked.isascii() and asked.isdigit():
            return float(asked[:9])
        until_s, sent_s = date_s(asked), date_s(self.headers.get("date", ""))
        if sent_s is None and now_ms is not None:
            sent_s = now_ms / 1000
        return None if until_s is None or sent_s is None else max(0.0, until_s - sent_s)


def date_s(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date, in GMT unless it says otherwise."""
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class ResponseLost(Unavailable):
    def __init__(self, message: str, *, retry_after_s: float | None = None, received: Response | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.received = received


class AddressBlocked(Refused):
    """The egress policy forbids the address (private, loopback, port or scheme)."""


class Downloader(Protocol):
    async def download(
        self,
        url: str,
        into: Callable[[bytes], Awaitable[None]],
        *,
        headers: Mapping[str, str] = {},
        connect_s: float = 5.0,
        total_s: float = 60.0,
    ) -> Response:
        """GET: the body of a success goes `into`, part by part as it arrives, and no further part is read before it has
        returned; the response has the body of any other answer. A file of any size needs the memory of a part.

        Raises as an `HttpClient` does, and what `into` raises, after which the connection is closed.
        """
        ...


class HttpClient(Protocol):
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
        """Does not follow redirects and sends no cookies. Raises `ConnectFailed`, `ResponseLost`, `AddressBlocked`."""
        ...

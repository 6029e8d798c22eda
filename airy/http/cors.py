"""CORS: an exact list of allowed origins, besides the server's own.

Litestar's CORS is not used: it matches origins as patterns in which a dot is any character, and it answers requests of
other origins. Credentials are allowed, so the origin is echoed and never `*`. Requests of other origins are rejected
before any handler runs, which is a protection against CSRF too. Routes that declare `any_origin` are the exception:
they check the origin themselves, and a caller with another origin is not authenticated by a cookie.
"""

from collections.abc import Iterable

from airy.http.asgi import RawHeaders

Headers = list[tuple[bytes, bytes]]

METHODS = b"GET, POST"
ALLOWED_HEADERS = (
    b"accept, authorization, content-type, idempotency-key, last-event-id, x-airy-position, x-requested-with"
)
EXPOSED_HEADERS = b"x-airy-position, x-request-id, retry-after, traceresponse"
MAX_AGE_S = 600


class CorsPolicy:
    """`public_url`: the server's own address, if it is known. Its host with another scheme is another origin: what
    arrives over http may come from anyone on the network.
    """

    def __init__(self, origins: Iterable[str] = (), public_url: str = "") -> None:
        self._own = public_url.encode()
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)

    def origin(self, headers: RawHeaders) -> bytes | None:
        """The origin of a cross-origin request; None without an `Origin` header or for the server's own origin."""
        origin = host = b""
        for name, value in headers:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        is_own = host and origin.partition(b"://")[2] == host
        if is_own and self._own.partition(b"://")[2] == host:
            is_own = origin == self._own
        return None if not origin or is_own else origin

    def allows(self, origin: bytes) -> bool:
        return origin in self._origins

    def headers(self, origin: bytes) -> Headers:
        return [*self._allowed(origin), (b"access-control-expose-headers", EXPOSED_HEADERS), (b"vary", b"origin")]

    def preflight(self, origin: bytes) -> Headers:
        return [
            *self._allowed(origin),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", ALLOWED_HEADERS),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
            (b"vary", b"origin"),
            (b"content-length", b"0"),
        ]

    def _allowed(self, origin: bytes) -> Headers:
        """Another origin, on a route that takes any, gets no cookies."""
        credentials = [(b"access-control-allow-credentials", b"true")] if self.allows(origin) else []
        return [(b"access-control-allow-origin", origin), *credentials]

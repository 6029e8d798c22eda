"""Which web pages may call: an exact list of origins, and the server's own.

Not the framework's: that one reads origins as patterns in which a dot is any character, and answers
strangers. Credentials are allowed, so the origin is echoed and never `*`. A browser page from anywhere else
is refused before anything runs, which also keeps it from acting with a visitor's session.
"""

from collections.abc import Iterable

from airy.errors import Refused
from airy.http.asgi import RawHeaders

Headers = list[tuple[bytes, bytes]]

METHODS = b"GET, POST"
ALLOWED = b"accept, authorization, content-type, idempotency-key, x-airy-position, x-requested-with"
EXPOSED = b"x-airy-position, x-request-id, retry-after, traceresponse"
MAX_AGE_S = 600


class Cors:
    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        if b"*" in self._origins:
            raise Refused(
                "allowedOrigins names each origin: * would let any page act for its visitors",
                field="allowedOrigins",
            )

    def origin(self, headers: RawHeaders) -> bytes | None:
        """The page a request comes from; None if it comes from no page, or from our own."""
        origin = host = b""
        for name, value in headers:
            if name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        own = host and origin.partition(b"://")[2] == host
        return None if not origin or own else origin

    def allows(self, origin: bytes) -> bool:
        return origin in self._origins

    @staticmethod
    def headers(origin: bytes) -> Headers:
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED),
            (b"vary", b"origin"),
        ]

    @staticmethod
    def preflight(origin: bytes) -> Headers:
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", ALLOWED),
            (b"access-control-max-age", b"%d" % MAX_AGE_S),
            (b"vary", b"origin"),
            (b"content-length", b"0"),
        ]

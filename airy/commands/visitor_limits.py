"""How much the visitors of chat plugins may do in one process."""

from collections import Counter

from msgspec import Struct, field

from airy.rate_limit import RateLimiter, RateLimits

REQUESTS = RateLimits(requests_per_s=1.0, burst=20, callers_max=100_000)
VISITS = RateLimits(requests_per_s=20.0, burst=200)


class VisitorLimits(Struct, frozen=True, kw_only=True):
    """`requests` of one visitor, `visits` that begin or resume on one channel."""

    requests: RateLimiter = field(default_factory=lambda: RateLimiter(REQUESTS))
    visits: RateLimiter = field(default_factory=lambda: RateLimiter(VISITS))
    message_bytes_max: int = 32_768
    sockets_max: int = 8  # of one visitor
    sockets: Counter[str] = field(default_factory=Counter)  # open ones, by conversation

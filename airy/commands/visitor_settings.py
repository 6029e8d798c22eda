"""How the visitors of chat plugins are served in one process."""

from collections import Counter
from collections.abc import Awaitable, Callable

from msgspec import Struct, field

from airy.rate_limit import RateLimiter, RateLimits


async def _is_current(_conversation_id: str) -> bool:
    return True


class VisitorSettings(Struct, frozen=True, kw_only=True):
    """`requests` of one visitor, `visits` that begin or resume on one channel.

    `current` returns whether the store holds what the log held of a conversation when it was called.
    """

    requests: RateLimiter = field(default_factory=lambda: RateLimiter(RateLimits(requests_per_s=1.0, burst=20)))
    visits: RateLimiter = field(default_factory=lambda: RateLimiter(RateLimits(requests_per_s=20.0, burst=200)))
    rotating: bool = True  # a resume token can be used once
    current: Callable[[str], Awaitable[bool]] = _is_current
    message_bytes_max: int = 32_768
    sockets_max: int = 8  # of one visitor
    sockets: Counter[str] = field(default_factory=Counter)  # open ones, by conversation

    @property
    def limiters(self) -> tuple[RateLimiter, RateLimiter]:
        return self.requests, self.visits

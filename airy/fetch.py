"""The one outbound HTTP port. What failed decides whether the same call may be made again.

`NotSent`: the request did not reach the peer (refused, unresolvable, blocked, time-out while connecting).
`Unanswered`: it was, or may have been, sent and no complete answer came: the peer may have acted.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from airy.errors import Refused, Unavailable


class NotSent(Unavailable):
    pass


class Unanswered(Unavailable):
    pass


class Blocked(Refused):
    """The address is not one we may call (private, loopback, wrong port or scheme)."""


class Answer(Struct, frozen=True):
    status: int
    headers: dict[str, str]  # lower-case names
    body: bytes  # cut at the caller's limit


class Fetch(Protocol):
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
    ) -> Answer:
        """Never follows redirects, sends no cookies. Raises `NotSent`, `Unanswered`, `Blocked`."""
        ...

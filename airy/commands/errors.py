"""Errors of commands; the HTTP edge maps each to a status."""

from airy.bus.record import Position
from airy.errors import Refused, Unavailable


class NotFound(Refused):
    """No entity has that id."""


class Conflict(Refused):
    """The current state contradicts the request."""


class Forbidden(Refused):
    """The entity exists, and the request is not allowed on it."""


class Unauthenticated(Refused):
    """A credential in the request is not valid, or not any more."""


class TooManyRequests(Unavailable):
    """The caller, or the channel it writes to, is over its limit."""


class WriteUnconfirmed(Unavailable):
    """Durable at `position`, but not folded by the own store in time: the outcome is not known yet."""

    def __init__(self, position: Position, within_s: float) -> None:
        super().__init__(
            f"the write is durable, but it could not be read back within {within_s:g} s: "
            "do not send it again under another key; read with its position to see what came of it",
            retry_after_s=1.0,
        )
        self.position = position

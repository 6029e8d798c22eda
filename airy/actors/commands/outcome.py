"""How a command ends when it does not simply succeed; the edge answers each with its own status."""

from airy.bus.record import Position
from airy.errors import Refused, Unavailable


class Unknown(Refused):
    """There is nothing with that id."""


class Conflict(Refused):
    """What is there contradicts what was asked."""


class Forbidden(Refused):
    """It exists, and it must not be done to it."""


class Unconfirmed(Unavailable):
    """Durable at `position`, but our own store has not folded it in time, so nobody knows what came of it
    yet.
    """

    def __init__(self, position: Position, within_s: float) -> None:
        super().__init__(
            f"the write is durable, but it could not be read back within {within_s:g} s: "
            "do not send it again under another key; read with its position to see what came of it",
            retry_after_s=1.0,
        )
        self.position = position

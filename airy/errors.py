"""The errors of Airy. The type decides the reaction.

`Unavailable` is transient: retry after a pause. `Refused` is permanent: dead-letter the input, or return the error to
the caller. `Misconfigured`, raised by an actor, ends the process. Any other exception is a bug and crashes the actor,
except where it concerns one delivery, send or look-up (`airy.actors.bug_report`).
"""


class AiryError(Exception):
    """The base of all errors Airy raises deliberately."""


class Unavailable(AiryError):
    """A dependency cannot serve at present; the same call may succeed later."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DiskFull(Unavailable):
    """A local disk is full. Nothing was written, and the same call succeeds once there is space."""


class Refused(AiryError):
    """The input can never succeed unchanged; `field` names the invalid part, if there is one.

    `offset`: of the invalid character in the text of that field, from 0.
    """

    def __init__(self, message: str, *, field: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.offset = offset


class Misconfigured(Refused):
    """An operator has to correct something, for example a port in use: no restart helps, the process ends with 78."""


class Undecodable(Refused):
    """Bytes that do not decode to the type of their topic or endpoint."""

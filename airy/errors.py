"""The errors of Airy. The type is the decision.

`Unavailable` is transient: wait, then do it again. `Refused` is permanent: dead letter it, or tell the caller.
Anything else is a bug and crashes into a supervisor.
"""


class AiryError(Exception):
    """The root of every error Airy raises on purpose."""


class Unavailable(AiryError):
    """A dependency cannot serve right now; the same call may succeed later."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(AiryError):
    """The input can never succeed as it is; `field` names the part at fault where there is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Undecodable(Refused):
    """Bytes that are not what their topic or endpoint says they are."""

"""How an actor shows that it is not stuck: when it last moved, and whether it waits on purpose.

Not a timer: a beat writes one number, and whoever watches looks at it when the silence could have become too
long. The current heart is a context variable, so that a mailbox can say "this wait is on purpose" for
whichever actor waits in it, including the tasks that actor has started.
"""

from contextlib import nullcontext
from contextvars import ContextVar
from types import TracebackType

import anyio


class Heart:
    """Also the context manager of `waiting()`: it nests, and it costs no allocation."""

    __slots__ = ("beat_at", "waits")

    def __init__(self) -> None:
        self.beat_at = anyio.current_time()
        self.waits = 0

    def beat(self) -> None:
        self.beat_at = anyio.current_time()

    def __enter__(self) -> None:
        self.waits += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.waits -= 1
        self.beat()


beating: ContextVar[Heart | None] = ContextVar("beating", default=None)
_NO_ACTOR = nullcontext()


def on_purpose() -> Heart | nullcontext[None]:
    """Marks a wait of the current actor as intended; outside any actor there is nobody to tell."""
    return beating.get() or _NO_ACTOR

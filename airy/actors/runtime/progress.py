"""Progress of one actor: when it last made progress, and whether it waits as expected.

Not a timer: a mark writes one number, and the worker reads it when the stall limit could have passed. The current mark
is a context variable, so that a mailbox can declare an expected wait for the actor that waits in it, including the
tasks that actor has started.
"""

from contextlib import nullcontext
from contextvars import ContextVar
from types import TracebackType

import anyio


class ProgressMark:
    """Also the context manager of `waiting()`: it nests and allocates nothing."""

    __slots__ = ("marked_at", "parts", "steps", "waits")

    def __init__(self) -> None:
        self.marked_at = anyio.current_time()
        self.waits = 0
        self.steps = 0  # marks since the start
        self.parts: list[ProgressMark] = []  # of an actor that consists of several loops

    def progress_at(self, now: float) -> float:
        """When it last made progress: now, in an expected wait; of several loops, the one that is furthest behind."""
        if self.parts:
            return min(part.progress_at(now) for part in self.parts)
        return now if self.waits else self.marked_at

    def steps_total(self) -> int:
        """Its own and those of its loops."""
        return self.steps + sum(part.steps_total() for part in self.parts)

    def mark(self) -> None:
        self.marked_at = anyio.current_time()
        self.steps += 1

    def __enter__(self) -> None:
        self.waits += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.waits -= 1
        self.mark()


current_mark: ContextVar[ProgressMark | None] = ContextVar("current_mark", default=None)
_NO_ACTOR = nullcontext()


def expected_wait() -> ProgressMark | nullcontext[None]:
    """Exempts a wait of the current actor from its stall limit; does nothing outside an actor."""
    return current_mark.get() or _NO_ACTOR

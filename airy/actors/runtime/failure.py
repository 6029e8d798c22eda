"""Errors of the runtime, and the classification of any error: bug, unavailable dependency or misconfiguration.

The type decides, see `airy.errors`: `Unavailable` is the dependency's failure, `Misconfigured` ends the tree,
everything else is a bug. Exception groups are taken apart only here.
"""

from collections.abc import Iterator
from typing import Literal

import anyio
from msgspec import Struct

from airy.errors import AiryError, Misconfigured, Unavailable


class StrayCancellation(AiryError):
    """An actor was cancelled, but not by its supervisor."""


class Stalled(AiryError):
    """An actor made no progress for longer than `stall_s`, outside `ctx.waiting()`."""


class NotReady(AiryError):
    """An actor did not become ready within `ready_s`."""


class EndedEarly(AiryError):
    """A permanent actor returned without being stopped."""


class TooManyBugs(AiryError):
    """More bugs than the restart intensity allows: a supervisor stops its children and fails to its own supervisor."""


class TooManyAbandoned(AiryError):
    """So many actors ignored their cancellation and still run that only a new process removes them."""


class TreeFailed(AiryError):
    """The root supervisor failed. The process should end with exit code 70."""

    exit_code = 70


class Crashed(Unavailable):
    """The actor ended after it received the request, or before. After its restart it may reply."""


class TimedOut(Unavailable):
    """The actor did not reply in time. It may still act on the request."""


ExitKind = Literal["returned", "stopped", "bug", "unavailable", "misconfigured"]


class ActorExit(Struct, frozen=True):
    """How one run of an actor ended. The error of `stopped` is one raised while stopping."""

    kind: ExitKind
    error: Exception | None = None


def crash(error: Exception) -> ActorExit:
    match error:
        case Unavailable():
            return ActorExit("unavailable", error)
        case Misconfigured():
            return ActorExit("misconfigured", error)
        case _:
            return ActorExit("bug", error)


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def primary_error(error: BaseException) -> Exception | None:
    """The one error of a group that decides: the first bug, else the first `Unavailable`; cancellations are ignored.

    None if there are only cancellations. A leaf that is not an `Exception` (interrupt, exit) raises the group again.
    """
    cancelled = anyio.get_cancelled_exc_class()
    found = [leaf for leaf in leaves(error) if not isinstance(leaf, cancelled)]
    errors = [leaf for leaf in found if isinstance(leaf, Exception)]
    if len(errors) < len(found):
        raise error
    bugs = [each for each in errors if not isinstance(each, Unavailable)]
    return next(iter(bugs or errors), None)

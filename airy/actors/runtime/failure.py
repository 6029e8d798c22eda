"""Ways to fail, and the two questions asked of any of them: what was it, and whose fault is it?

The verdict is by type, see `airy.errors`: `Unavailable` is the dependency's, everything else is a bug. This
is the only place that takes exception groups apart.
"""

from collections.abc import Iterator
from typing import Literal

import anyio
from msgspec import Struct

from airy.errors import AiryError, Unavailable


class StrayCancellation(AiryError):
    """An actor ended by a cancellation that nobody asked for."""


class Stalled(AiryError):
    """An actor said nothing for longer than its limit, and did not say that it waits."""


class NotReady(AiryError):
    """An actor did not become ready within its limit."""


class EndedEarly(AiryError):
    """A permanent actor returned though nobody told it to stop."""


class TooManyBugs(AiryError):
    """A supervisor gives up on its children; the next one above decides."""


class TooManyAbandoned(AiryError):
    """So many incarnations ignored their cancellation that only a new process gets rid of them."""


class TreeFailed(AiryError):
    """The root gave up. The process should end with exit code 70."""

    exit_code = 70


class Crashed(Unavailable):
    """The actor that had taken the question, or would have, has ended. Its successor may answer."""


class TimedOut(Unavailable):
    """The actor did not answer in time. It may still act on the question."""


Ending = Literal["returned", "stopped", "bug", "unavailable"]


class Outcome(Struct, frozen=True):
    """How an incarnation ended. After `stopped` the error, if any, is one that came while stopping."""

    ending: Ending
    error: Exception | None = None


def crash(error: Exception) -> Outcome:
    return Outcome("unavailable" if isinstance(error, Unavailable) else "bug", error)


def leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def essence(error: BaseException) -> Exception | None:
    """The one error that decides: a bug before a dependency, the first before the others, cancellations not
    at all.

    None if nothing but cancellation is left. What is not an `Exception` (an interrupt, an exit) is raised
    again.
    """
    cancelled = anyio.get_cancelled_exc_class()
    found = [leaf for leaf in leaves(error) if not isinstance(leaf, cancelled)]
    faults = [leaf for leaf in found if isinstance(leaf, Exception)]
    if len(faults) < len(found):
        raise error
    bugs = [fault for fault in faults if not isinstance(fault, Unavailable)]
    return next(iter(bugs or faults), None)

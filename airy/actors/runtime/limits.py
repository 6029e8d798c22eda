"""Which limit of an incarnation comes next, and what happens then. Pure: the worker waits and acts."""

from typing import Literal, Protocol

from msgspec import Struct

GRACE_S = 0.5  # a clean-up that is cut off at its limit still has to unwind

Step = Literal["not_ready", "stalled", "cancel", "abandon"]


class Limits(Protocol):
    """The part of a `Child` that is read here."""

    @property
    def ready_s(self) -> float: ...
    @property
    def drain_s(self) -> float: ...
    @property
    def cleanup_s(self) -> float: ...
    @property
    def stall_s(self) -> float: ...


class Moment(Struct, frozen=True, kw_only=True):
    """What happened so far; None is not yet."""

    started_at: float
    moved_at: float
    ready: bool = False
    stop_at: float | None = None
    hurry: bool = False
    cancelled_at: float | None = None


def next_limit(limits: Limits, moment: Moment) -> tuple[float, Step]:
    if moment.cancelled_at is not None:
        return moment.cancelled_at + limits.cleanup_s + GRACE_S, "abandon"
    if moment.stop_at is not None:
        return moment.stop_at + (0.0 if moment.hurry else limits.drain_s), "cancel"
    stalled: tuple[float, Step] = (moment.moved_at + limits.stall_s, "stalled")
    if moment.ready:
        return stalled
    return min(stalled, (moment.started_at + limits.ready_s, "not_ready"))

"""The next time limit of a running actor and what the worker does when it passes. Pure: the worker waits and acts."""

from typing import Literal, Protocol

from msgspec import Struct

GRACE_S = 0.5  # a clean-up cut off at `cleanup_s` still needs time to unwind

LimitAction = Literal["not_ready", "stalled", "cancel", "abandon"]


class ChildLimits(Protocol):
    """The fields of `Child` used here."""

    @property
    def ready_s(self) -> float: ...
    @property
    def drain_s(self) -> float: ...
    @property
    def cleanup_s(self) -> float: ...
    @property
    def stall_s(self) -> float: ...


class Timeline(Struct, frozen=True, kw_only=True):
    """When things happened in one run of an actor; None: not yet."""

    started_at: float
    progress_at: float
    ready: bool = False
    stop_at: float | None = None
    immediate: bool = False
    cancelled_at: float | None = None


def next_limit(limits: ChildLimits, timeline: Timeline) -> tuple[float, LimitAction]:
    if timeline.cancelled_at is not None:
        return timeline.cancelled_at + limits.cleanup_s + GRACE_S, "abandon"
    if timeline.stop_at is not None:
        return timeline.stop_at + (0.0 if timeline.immediate else limits.drain_s), "cancel"
    stalled: tuple[float, LimitAction] = (timeline.progress_at + limits.stall_s, "stalled")
    if timeline.ready:
        return stalled
    return min(stalled, (timeline.started_at + limits.ready_s, "not_ready"))

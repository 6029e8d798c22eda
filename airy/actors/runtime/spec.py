"""The specification of a tree as a value: the same value is run, drawn in the console and asserted in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from airy.actors.runtime.actor import Actor
from airy.actors.runtime.backoff import Backoff
from airy.actors.runtime.mailbox import Mailbox

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "rest_for_one", "one_for_all"]


class Child(Struct, frozen=True, kw_only=True):
    """An actor and its limits.

    permanent: always restarted, so returning is a bug; transient: restarted after a crash; temporary: never restarted,
    its crash is only logged. `math.inf` lifts a limit.
    """

    name: str
    start: Callable[[], Actor]  # a factory: a restart never inherits state
    restart: Restart = "permanent"
    ready_s: float = 30.0  # from start to `ctx.ready()`
    drain_s: float = 10.0  # from `ctx.draining` to cancellation
    cleanup_s: float = 5.0  # from cancellation to being abandoned
    stall_s: float = 30.0  # no progress for this long is a crash
    mailbox: Mailbox[Any] | None = None  # created outside the actor, so that addresses survive restarts

    def __post_init__(self) -> None:
        _check_name(self.name)
        if min(self.ready_s, self.stall_s) <= 0 or min(self.drain_s, self.cleanup_s) < 0:
            raise ValueError(f"child {self.name!r}: ready_s and stall_s must be positive, no limit negative")


class Supervision(Struct, frozen=True, kw_only=True):
    """A supervisor and its children, which start in order, each after the earlier ones are ready, and stop in reverse.

    one_for_one restarts the crashed child, rest_for_one also the later siblings, one_for_all every sibling. A sibling
    that ended for good is not restarted. More than `bugs_max` bugs within `bugs_period_s` crash the supervisor itself.
    A supervisor ends when all its children have ended.
    """

    name: str
    strategy: Strategy = "one_for_one"
    children: tuple[Child | Supervision, ...] = ()
    bugs_max: int = 5
    bugs_period_s: float = 60.0
    backoff: Backoff = Backoff()

    def __post_init__(self) -> None:
        _check_name(self.name)
        names = [child.name for child in self.children]
        if len(set(names)) < len(names):
            raise ValueError(f"supervision {self.name!r}: child names must be unique: {names}")
        if self.bugs_max < 0 or self.bugs_period_s <= 0:
            raise ValueError(f"{self.name!r}: bugs_period_s must be positive, bugs_max not negative")


def _check_name(name: str) -> None:
    if not name or "/" in name:
        raise ValueError(f"a name is one segment of a path, without a slash: {name!r}")

"""The phases of a node and the legal transitions between them."""

from typing import Final, Literal

Phase = Literal["starting", "ready", "backing_off", "draining", "stopped", "failed"]

TRANSITIONS: Final[dict[Phase, frozenset[Phase]]] = {
    "starting": frozenset({"ready", "draining", "stopped", "failed"}),
    "ready": frozenset({"draining", "stopped", "failed"}),
    "draining": frozenset({"stopped", "failed"}),
    "stopped": frozenset({"starting"}),
    "failed": frozenset({"backing_off", "starting"}),
    "backing_off": frozenset({"starting", "stopped"}),
}
LIVE: Final[frozenset[Phase]] = frozenset({"starting", "ready", "draining"})


class IllegalTransition(AssertionError):
    """A bug of the runtime."""


def move(now: Phase, to: Phase) -> Phase:
    if to not in TRANSITIONS[now]:
        raise IllegalTransition(f"no transition from {now} to {to}")
    return to

"""The phases of a node, and every legal move between them."""

from typing import Final, Literal

Phase = Literal["starting", "ready", "backing_off", "draining", "stopped", "failed"]

MOVES: Final[dict[Phase, frozenset[Phase]]] = {
    "starting": frozenset({"ready", "draining", "stopped", "failed"}),
    "ready": frozenset({"draining", "stopped", "failed"}),
    "draining": frozenset({"stopped", "failed"}),
    "stopped": frozenset({"starting"}),
    "failed": frozenset({"backing_off", "starting"}),
    "backing_off": frozenset({"starting", "stopped"}),
}
LIVE: Final[frozenset[Phase]] = frozenset({"starting", "ready", "draining"})


class IllegalMove(AssertionError):
    """A bug of the kernel itself."""


def move(now: Phase, to: Phase) -> Phase:
    if to not in MOVES[now]:
        raise IllegalMove(f"{now} may not become {to}")
    return to

"""What all nodes of one running tree share."""

from random import Random

from structlog.typing import FilteringBoundLogger

from airy.actors.runtime.leash import Leash
from airy.clock import Clock

ABANDONED_MAX = 10


class Run:
    def __init__(self, *, clock: Clock, seed: int, log: FilteringBoundLogger) -> None:
        self.clock = clock
        self.log = log
        self._seed = seed
        self._abandoned: list[Leash] = []

    def random(self, path: str) -> Random:
        """Each path has its own stream, so one actor's appetite for chance does not change another's luck."""
        return Random(f"{self._seed}:{path}")  # noqa: S311 -- replay needs a seed, secrets come from elsewhere

    def abandon(self, leash: Leash) -> None:
        self._abandoned.append(leash)

    def abandoned(self) -> list[str]:
        """Paths of incarnations that were let go and still run."""
        self._abandoned = [leash for leash in self._abandoned if not leash.ended]
        return [leash.path for leash in self._abandoned]

"""State shared by all nodes of one running tree."""

from random import Random

from structlog.typing import FilteringBoundLogger

from airy.actors.runtime.detached_task import DetachedTask
from airy.clock import Clock

ABANDONED_MAX = 10


class TreeState:
    def __init__(self, *, clock: Clock, seed: int, log: FilteringBoundLogger) -> None:
        self.clock = clock
        self.log = log
        self._seed = seed
        self._abandoned: list[DetachedTask] = []

    def random(self, path: str) -> Random:
        """Each path has its own random stream, so actors do not affect each other's values."""
        return Random(f"{self._seed}:{path}")  # noqa: S311 -- replay needs a seed, secrets come from elsewhere

    def abandon(self, task: DetachedTask) -> None:
        self._abandoned.append(task)

    def abandoned(self) -> list[str]:
        """Paths of abandoned tasks that still run."""
        self._abandoned = [task for task in self._abandoned if not task.ended]
        return [task.path for task in self._abandoned]

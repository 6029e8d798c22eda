"""How much of the log may be in memory, and what goes first: the oldest, wherever it is."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from airy.bus.log import Log

EVICT_TO: Final = 0.75
"""In steps, because dropping one record costs as much as dropping a thousand."""


class Cache:
    """Only over a journal: without one, what is forgotten is lost."""

    def __init__(self, logs: Mapping[str, Log], *, bytes_max: int) -> None:
        self._logs = logs
        self._bytes_max = bytes_max
        self._held = 0
        self._entered: deque[tuple[str, int, int]] = deque()  # topic, the offset after what came, its bytes

    @property
    def bytes_held(self) -> int:
        return self._held

    def entered(self, topic: str, bytes_held: int) -> None:
        self._entered.append((topic, self._logs[topic].next, bytes_held))
        self._held += bytes_held
        if self._held > self._bytes_max:
            self._evict()

    def freed(self, bytes_freed: int) -> None:
        """By retention, which drops what is oldest too."""
        self._held -= bytes_freed

    def _evict(self) -> None:
        target = round(self._bytes_max * EVICT_TO)
        while self._held > target:  # again, when retention had taken some of it already
            below: dict[str, int] = {}
            excess = self._held - target
            while excess > 0:
                topic, offset, bytes_held = self._entered.popleft()
                below[topic] = offset
                excess -= bytes_held
            for topic, offset in below.items():
                self._held -= self._logs[topic].forget(offset)

"""Bounds the records of all topics in memory. Evicts the oldest first, whichever topic they belong to."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from airy.bus.memory.log import Log

EVICT_TO: Final = 0.75
"""Fraction of the limit. Evicting one record costs as much as evicting a thousand, so eviction goes in steps."""


class RecordCache:
    """Needs a journal that still has the evicted records."""

    def __init__(self, logs: Mapping[str, Log], *, bytes_max: int) -> None:
        self._logs = logs
        self._bytes_max = bytes_max
        self._bytes_held = 0
        self._added: deque[tuple[str, int, int]] = deque()  # topic, offset after the records, their bytes

    @property
    def bytes_held(self) -> int:
        return self._bytes_held

    def added(self, topic: str, bytes_held: int) -> None:
        self._added.append((topic, self._logs[topic].next, bytes_held))
        self._bytes_held += bytes_held
        if self._bytes_held > self._bytes_max:
            self._evict()

    def freed(self, bytes_freed: int) -> None:
        """Retention removed records of this size."""
        self._bytes_held -= bytes_freed

    def _evict(self) -> None:
        target = round(self._bytes_max * EVICT_TO)
        while self._bytes_held > target:  # repeated when retention had already removed part of it
            below: dict[str, int] = {}
            excess = self._bytes_held - target
            while excess > 0:
                topic, offset, bytes_held = self._added.popleft()
                below[topic] = offset
                excess -= bytes_held
            for topic, offset in below.items():
                self._bytes_held -= self._logs[topic].evict(offset)

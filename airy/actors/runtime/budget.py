"""How many bugs are too many: a sliding window that has no clock of its own."""

from collections import deque


class Budget:
    def __init__(self, *, bugs_max: int, period_s: float) -> None:
        self._bugs_max = bugs_max
        self._period_s = period_s
        self._at: deque[float] = deque(maxlen=bugs_max + 1)

    def spend(self, now: float) -> bool:
        """Record one bug. False: there have been more than `bugs_max` within the period."""
        self._at.append(now)
        return len(self._at) <= self._bugs_max or self._at[0] <= now - self._period_s

"""OTP's restart intensity: how many bugs a supervisor tolerates in a sliding window. The caller passes the time."""

from collections import deque


class RestartIntensity:
    def __init__(self, *, bugs_max: int, period_s: float) -> None:
        self._bugs_max = bugs_max
        self._period_s = period_s
        self._at: deque[float] = deque(maxlen=bugs_max + 1)

    def record(self, now: float) -> bool:
        """Record one bug. False: more than `bugs_max` within `period_s`."""
        self._at.append(now)
        return len(self._at) <= self._bugs_max or self._at[0] <= now - self._period_s

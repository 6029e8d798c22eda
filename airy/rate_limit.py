"""Requests per caller, limited by a token bucket for each: a rate that holds on average, and a burst above it."""

from collections import OrderedDict
from collections.abc import Callable

import anyio
from msgspec import Struct


class RateLimits(Struct, frozen=True, kw_only=True):
    requests_per_s: float = 1_000.0
    burst: int = 2_000  # requests at once after a pause
    callers_max: int = 10_000  # whose buckets are kept


class RateLimiter:
    """`now` is a monotonic clock. Beyond `callers_max` the bucket of the caller that was idle longest is forgotten: a
    new one is full, and that one had most time to fill.
    """

    def __init__(self, limits: RateLimits | None = None, *, now: Callable[[], float] = anyio.current_time) -> None:
        self._limits = limits or RateLimits()
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when that was
        self.rejected = 0

    def take(self, caller_id: str) -> float:
        """0 if the caller may go on; else the seconds until it may."""
        limits, now = self._limits, self._now()
        left, at = self._buckets.get(caller_id, (float(limits.burst), now))
        left = min(float(limits.burst), left + (now - at) * limits.requests_per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / limits.requests_per_s
        if wait_s:
            self.rejected += 1
        else:
            left -= 1
        self._buckets[caller_id] = left, now
        self._buckets.move_to_end(caller_id)
        if len(self._buckets) > limits.callers_max:
            self._buckets.popitem(last=False)
        return wait_s

"""Requests per caller, limited by a token bucket for each."""

from collections import OrderedDict
from collections.abc import Callable

import anyio
from msgspec import Struct

from airy.token_bucket import TokenBucket


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
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self.rejected = 0

    def take(self, caller_id: str) -> float:
        """0 if the caller may go on; else the seconds until it may."""
        limits, now_ms = self._limits, self._now() * 1000
        bucket = self._buckets.get(caller_id)
        if bucket is None:
            bucket = self._buckets[caller_id] = TokenBucket(limits.burst, now_ms)
        self._buckets.move_to_end(caller_id)
        if len(self._buckets) > limits.callers_max:
            self._buckets.popitem(last=False)
        wait_ms = bucket.take(now_ms, rate_per_s=limits.requests_per_s, burst=limits.burst)
        if wait_ms:
            self.rejected += 1
        return wait_ms / 1000

"""A token bucket: a rate that holds on average, and a burst above it. Pure; times are of a monotonic clock."""

from msgspec import Struct


class TokenBucket(Struct):
    tokens: float
    refilled_ms: float

    def take(self, now_ms: float, *, rate_per_s: float, burst: float) -> float:
        """0: a token was taken; otherwise the milliseconds until there is one."""
        self.tokens = min(burst, self.tokens + (now_ms - self.refilled_ms) / 1000 * rate_per_s)
        self.refilled_ms = now_ms
        if self.tokens < 1:
            return (1 - self.tokens) / rate_per_s * 1000
        self.tokens -= 1
        return 0.0

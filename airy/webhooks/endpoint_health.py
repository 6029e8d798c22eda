"""How many requests an endpoint can take now: a circuit breaker and a throttle. Pure; one per webhook, in memory.

The breaker is for endpoints that cannot be reached: after several consecutive connection failures only one probe at a
time is sent, so that a dead endpoint never occupies workers. The throttle is for endpoints that answer that they are
overloaded: it halves their concurrency and pauses.
"""

from random import Random

from msgspec import Struct

from airy.webhooks.retry import JITTER, AttemptOutcome

FAILURES_TO_OPEN = 5  # consecutive connection failures
OPEN_S_MIN = 30.0
OPEN_S_MAX = 600.0
THROTTLE_STATUSES = frozenset({429, 502, 503, 504})
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 60.0
RETRY_AFTER_PAUSE_S_MAX = 3_600.0
DOUBLINGS_MAX = 16


class EndpointHealth(Struct):
    concurrency_max: int
    concurrency: int  # current limit, between one and `concurrency_max`
    in_flight: int = 0
    failures: int = 0  # consecutive connection failures
    times_opened: int = 0  # consecutive openings of the breaker; 0: closed
    open_until_ms: int = 0  # while the breaker is open; afterwards it lets one probe through
    times_throttled: int = 0  # consecutive pauses
    paused_until_ms: int = 0

    def capacity(self, now_ms: int) -> int:
        """How many more requests may be sent. A breaker whose open time is over admits one probe."""
        if now_ms < max(self.open_until_ms, self.paused_until_ms):
            return 0
        return (1 if self.times_opened else self.concurrency) - self.in_flight

    def available_at_ms(self, now_ms: int) -> int | None:
        """When the breaker's open time and the pause are over; None if they are."""
        until_ms = max(self.open_until_ms, self.paused_until_ms)
        return until_ms if until_ms > now_ms else None

    def is_default(self, now_ms: int) -> bool:
        """Whether a new object would behave the same, so that this one can be dropped."""
        counters = self.in_flight or self.failures or self.times_opened or self.times_throttled
        return not counters and self.paused_until_ms <= now_ms and self.concurrency == self.concurrency_max

    def pause(self, until_ms: int) -> None:
        """Send nothing until then, for a reason that is not the endpoint's."""
        self.paused_until_ms = max(self.paused_until_ms, until_ms)

    def record(self, outcome: AttemptOutcome, now_ms: int, random: Random) -> None:
        if outcome.status is None:
            self._connection_failed(now_ms, random)
            return
        self.failures = self.times_opened = self.open_until_ms = 0
        if outcome.status in THROTTLE_STATUSES:
            self._throttle(outcome, now_ms, random)
        elif outcome.succeeded and now_ms >= self.paused_until_ms:  # not a response to a request sent before the pause
            self.times_throttled = 0
            self.concurrency = min(self.concurrency + 1, self.concurrency_max)

    def _connection_failed(self, now_ms: int, random: Random) -> None:
        self.failures += 1
        # Requests that were in flight when the breaker opened do not open it again.
        if self.failures < FAILURES_TO_OPEN or now_ms < self.open_until_ms:
            return
        open_s = min(OPEN_S_MIN * 2**self.times_opened, OPEN_S_MAX)
        self.times_opened = min(self.times_opened + 1, DOUBLINGS_MAX)
        self.open_until_ms = now_ms + _jittered_ms(open_s, random)

    def _throttle(self, outcome: AttemptOutcome, now_ms: int, random: Random) -> None:
        if now_ms < self.paused_until_ms:
            return
        pause_s = min(PAUSE_S_MIN * 2**self.times_throttled, PAUSE_S_MAX)
        self.times_throttled = min(self.times_throttled + 1, DOUBLINGS_MAX)
        self.concurrency = max(1, self.concurrency // 2)
        self.paused_until_ms = now_ms + _jittered_ms(pause_s, random)
        if outcome.retry_after_s is not None:
            requested_ms = now_ms + round(min(outcome.retry_after_s, RETRY_AFTER_PAUSE_S_MAX) * 1000)
            self.paused_until_ms = max(self.paused_until_ms, requested_ms)


def _jittered_ms(seconds: float, random: Random) -> int:
    return round(seconds * random.uniform(1 - JITTER, 1 + JITTER) * 1000)

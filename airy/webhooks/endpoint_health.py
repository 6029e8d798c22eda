"""How many requests an endpoint can take now, judged by its recent outcomes. Pure; one per webhook, in memory. Times
are seconds of a monotonic clock.

- The throttle lowers concurrency to the fraction of recent attempts that did not fail. A single failure says nothing.
- A pause stops all requests for as long as a 429 or a `Retry-After` demands.
- The circuit breaker opens when every request fails. After its open time it admits one probe at a time.
"""

from math import ceil
from random import Random

from msgspec import Struct, field

from airy.webhooks.outcome_window import WINDOW_S, OutcomeWindow
from airy.webhooks.retry import JITTER, AttemptOutcome
from airy.webhooks.slot_division import EndpointLoad, Pace

TOO_MANY_REQUESTS = 429
THROTTLE_ATTEMPTS_MIN = 10  # in the window; fewer are no rate
FAILURES_TO_OPEN = 5  # consecutive, without a success in the window
FAILURES_TO_OPEN_MAX = 20  # consecutive, after a success: one in 10^6 where half of the attempts fail at random
OPEN_S_MIN = 30.0  # after failed connections and time-outs
OPEN_S_MAX = 600.0
FAILING_OPEN_S_MIN = 1.0  # after responses
FAILING_OPEN_S_MAX = 60.0
PAUSE_S_MIN = 1.0  # after a 429 without `Retry-After`
PAUSE_S_MAX = 60.0
RETRY_AFTER_PAUSE_S_MAX = 3_600.0
DOUBLINGS_MAX = 16
SLOW_S = 1.0
LATENCY_WEIGHT = 0.25  # of the last request in the moving average
FORGET_S = 3_600.0  # without an outcome


class EndpointHealth(Struct):
    concurrency_max: int
    started_s: list[float] = field(default_factory=list)  # start of each request in flight, oldest first
    outcomes: OutcomeWindow = field(default_factory=OutcomeWindow)
    failures: int = 0  # consecutive, none older than the window
    last_at_s: float = 0.0  # of the last outcome
    last_failed_at_s: float = -WINDOW_S
    latency_s: float | None = None  # moving average; None before the first outcome
    times_opened: int = 0  # consecutive openings of the breaker; 0: closed
    open_until_s: float = 0.0  # while the breaker is open; afterwards it lets one probe through
    times_paused: int = 0  # consecutive pauses after 429
    paused_until_s: float = 0.0

    def start(self, now_s: float) -> None:
        self.started_s.append(now_s)

    def finish(self, started_s: float) -> None:
        self.started_s.remove(started_s)

    @property
    def in_flight(self) -> int:
        return len(self.started_s)

    def concurrency(self, now_s: float) -> int:
        """How many requests may be in flight. A breaker whose open time is over admits one probe."""
        if self.available_at_s(now_s) is not None:
            return 0
        if self.times_opened:
            return 1
        if now_s - self.last_failed_at_s >= WINDOW_S:
            return self.concurrency_max
        return throttled(self.concurrency_max, *self.outcomes.counts(now_s))

    def available_at_s(self, now_s: float) -> float | None:
        """When the breaker's open time and the pause are over; None if they are."""
        until_s = max(self.open_until_s, self.paused_until_s)
        return until_s if until_s > now_s else None

    def load(self, now_s: float) -> EndpointLoad:
        """Slow: a request is expected to take longer than `SLOW_S`, or does already."""
        if (self.latency_s or 0.0) > SLOW_S or (self.started_s and now_s - self.started_s[0] > SLOW_S):
            return EndpointLoad(self.in_flight, Pace.SLOW)
        return EndpointLoad(self.in_flight, Pace.UNKNOWN if self.latency_s is None else Pace.QUICK)

    def is_outdated(self, now_s: float) -> bool:
        """Whether this object can be replaced by a new one."""
        in_use = self.started_s or self.available_at_s(now_s) is not None
        return not in_use and now_s - self.last_at_s >= FORGET_S

    def pause(self, until_s: float) -> None:
        """Send nothing until then."""
        self.paused_until_s = max(self.paused_until_s, until_s)

    def record(self, outcome: AttemptOutcome, took_s: float, now_s: float, random: Random) -> None:
        failed = is_failure(outcome)
        if now_s - self.last_at_s >= WINDOW_S:
            self.failures = 0
        self.last_at_s = now_s
        self.latency_s = (
            took_s if self.latency_s is None else self.latency_s + (took_s - self.latency_s) * LATENCY_WEIGHT
        )
        self.outcomes.add(now_s, failed=failed)
        if failed:
            self.failures += 1
            self.last_failed_at_s = now_s
            self._open_if_everything_fails(outcome, now_s, random)
            self._pause_if_asked(outcome, now_s, random)
        else:
            self.failures = self.times_opened = 0
            self.open_until_s = 0.0
            if now_s >= self.paused_until_s:  # not a response to a request sent before the pause
                self.times_paused = 0

    def _open_if_everything_fails(self, outcome: AttemptOutcome, now_s: float, random: Random) -> None:
        attempts, failures = self.outcomes.counts(now_s)
        limit = FAILURES_TO_OPEN if failures == attempts else FAILURES_TO_OPEN_MAX
        # Requests that were in flight when the breaker opened do not open it again; a probe does.
        if now_s < self.open_until_s or (self.failures < limit and not self.times_opened):
            return
        least_s, most_s = (
            (OPEN_S_MIN, OPEN_S_MAX) if outcome.status is None else (FAILING_OPEN_S_MIN, FAILING_OPEN_S_MAX)
        )
        open_s = min(least_s * 2**self.times_opened, most_s)
        self.times_opened = min(self.times_opened + 1, DOUBLINGS_MAX)
        self.open_until_s = now_s + _jittered(open_s, random)

    def _pause_if_asked(self, outcome: AttemptOutcome, now_s: float, random: Random) -> None:
        if outcome.retry_after_s is not None:
            self.pause(now_s + min(outcome.retry_after_s, RETRY_AFTER_PAUSE_S_MAX))
        elif outcome.status == TOO_MANY_REQUESTS and now_s >= self.paused_until_s:
            pause_s = min(PAUSE_S_MIN * 2**self.times_paused, PAUSE_S_MAX)
            self.times_paused = min(self.times_paused + 1, DOUBLINGS_MAX)
            self.pause(now_s + _jittered(pause_s, random))


def is_failure(outcome: AttemptOutcome) -> bool:
    """Whether an outcome says that the endpoint fails or is overloaded; other 4xx concern the delivery."""
    return outcome.status is None or outcome.status == TOO_MANY_REQUESTS or outcome.status >= 500


def throttled(concurrency_max: int, attempts: int, failures: int) -> int:
    """In proportion to the attempts that did not fail, at least one."""
    if attempts < THROTTLE_ATTEMPTS_MIN:
        return concurrency_max
    return max(1, ceil(concurrency_max * (attempts - failures) / attempts))


def _jittered(seconds: float, random: Random) -> float:
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)

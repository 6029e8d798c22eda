"""What follows an attempt: done, again later, buried, or the webhook switched off. Pure; the schedule is
data.

The delays are those between attempts, each spread by a fifth so that what failed together does not come
back together.
"""

from email.utils import parsedate_to_datetime
from random import Random

from msgspec import Struct

from airy.fetch import Answer

SCHEDULE_S = (
    0,
    5,
    300,
    1_800,
    7_200,
    18_000,
    36_000,
    50_400,
    72_000,
    86_400,
)  # before each attempt; 75 h 35 m
ATTEMPTS_MAX = len(SCHEDULE_S)
JITTER = 0.2
RETRY_AFTER_S_MAX = 86_400  # as long as the longest delay of our own
POSTPONED_S_MAX = 432_000  # a receiver cannot put a delivery off beyond five days after its first attempt
FAILING_S_MAX = 432_000  # nothing but failures for so long, in at least so many attempts: switched off
FAILING_ATTEMPTS_MIN = 20
GONE = 410


class Outcome(Struct, frozen=True):
    """Of one attempt: a complete answer's status, or None and what went wrong."""

    status: int | None
    error: str = ""
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def reason(self) -> str:
        return self.error if self.status is None else f"answered {self.status}"


class Done(Struct, frozen=True, tag=True):
    pass


class Again(Struct, frozen=True, tag=True):
    due_ms: int
    reason: str


class Bury(Struct, frozen=True, tag=True):
    reason: str


class Disable(Struct, frozen=True, tag=True):
    reason: str


Decision = Done | Again | Bury | Disable


def decide(attempt: int, outcome: Outcome, first_at_ms: int, now_ms: int, random: Random) -> Decision:
    """`attempt` counts from 1; `first_at_ms` is when the delivery was first attempted."""
    if outcome.succeeded:
        return Done()
    if outcome.status == GONE:
        return Disable("the endpoint answered 410 Gone")
    if attempt >= ATTEMPTS_MAX:
        return Bury(f"{attempt} attempts failed; the last: {outcome.reason}")
    due_ms = now_ms + round(SCHEDULE_S[attempt] * random.uniform(1 - JITTER, 1 + JITTER) * 1000)
    if outcome.retry_after_s is not None:
        asked_ms = now_ms + round(min(outcome.retry_after_s, RETRY_AFTER_S_MAX) * 1000)
        due_ms = max(due_ms, min(asked_ms, first_at_ms + POSTPONED_S_MAX * 1000))
    return Again(due_ms, outcome.reason)


def given_up(failing_since_ms: int, attempts: int, now_ms: int) -> Disable | None:
    """Whether a webhook has failed so long that it is switched off, whatever becomes of single deliveries."""
    if attempts < FAILING_ATTEMPTS_MIN or now_ms - failing_since_ms < FAILING_S_MAX * 1000:
        return None
    return Disable(f"nothing but failures for {FAILING_S_MAX // 86_400} days, in {attempts} attempts")


def answered(answer: Answer, now_ms: int) -> Outcome:
    return Outcome(answer.status, retry_after_s=_retry_after_s(answer.headers.get("retry-after"), now_ms))


def _retry_after_s(text: str | None, now_ms: int) -> float | None:
    """Seconds, or a date; anything else was not said."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), RETRY_AFTER_S_MAX))
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_ms / 1000)
    except (ValueError, OverflowError):
        return None

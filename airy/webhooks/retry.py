"""What follows an attempt: delivered, retry, dead letter, or disable the webhook. Pure; the schedule is data.

Delays are between attempts, each with a jitter of 20 %, so that deliveries that failed together are not retried
together.
"""

from random import Random

from msgspec import Struct

from airy.http_client import Response

SCHEDULE_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)  # before each attempt; 75 h 35 m
ATTEMPTS_MAX = len(SCHEDULE_S)
JITTER = 0.2
RETRY_AFTER_S_MAX = 86_400  # the longest delay of the schedule
POSTPONED_S_MAX = 432_000  # Retry-After cannot postpone a delivery beyond five days after its first attempt
FAILING_S_MAX = 432_000  # a webhook is disabled after failures only for this long,
FAILING_ATTEMPTS_MIN = 20  # and in at least this many attempts
GONE = 410


class AttemptOutcome(Struct, frozen=True):
    """Of one attempt: the status of a response, however its body was framed, or None and the error."""

    status: int | None
    error: str = ""
    retry_after_s: float | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def reason(self) -> str:
        return self.error if self.status is None else f"answered {self.status}"


class Delivered(Struct, frozen=True, tag=True):
    pass


class Retry(Struct, frozen=True, tag=True):
    now_ms: int  # when it was decided
    due_ms: int
    reason: str


class DeadLetter(Struct, frozen=True, tag=True):
    reason: str


class DisableWebhook(Struct, frozen=True, tag=True):
    reason: str


Decision = Delivered | Retry | DeadLetter | DisableWebhook


def decide(attempt: int, outcome: AttemptOutcome, first_at_ms: int, now_ms: int, random: Random) -> Decision:
    """`attempt` counts from 1; `first_at_ms` is when the delivery was first attempted."""
    if outcome.succeeded:
        return Delivered()
    if outcome.status == GONE:
        return DisableWebhook("the endpoint answered 410 Gone")
    if attempt >= ATTEMPTS_MAX:
        return DeadLetter(f"{attempt} attempts failed; the last: {outcome.reason}")
    due_ms = now_ms + round(SCHEDULE_S[attempt] * random.uniform(1 - JITTER, 1 + JITTER) * 1000)
    if outcome.retry_after_s is not None:
        asked_ms = now_ms + round(min(outcome.retry_after_s, RETRY_AFTER_S_MAX) * 1000)
        due_ms = max(due_ms, min(asked_ms, first_at_ms + POSTPONED_S_MAX * 1000))
    return Retry(now_ms, due_ms, outcome.reason)


def disable_if_failing(failing_since_ms: int, attempts: int, now_ms: int) -> DisableWebhook | None:
    """Whether a webhook has failed so long that it is disabled, independent of single deliveries."""
    if attempts < FAILING_ATTEMPTS_MIN or now_ms - failing_since_ms < FAILING_S_MAX * 1000:
        return None
    return DisableWebhook(f"nothing but failures for {FAILING_S_MAX // 86_400} days, in {attempts} attempts")


def outcome_of(answer: Response, now_ms: int) -> AttemptOutcome:
    return AttemptOutcome(answer.status, retry_after_s=answer.retry_after_s(now_ms))

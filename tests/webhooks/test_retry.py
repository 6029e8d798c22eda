"""The retry schedule, as a whole and at its bounds."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.http_client import Response
from airy.webhooks.retry import (
    ATTEMPTS_MAX,
    FAILING_ATTEMPTS_MIN,
    FAILING_S_MAX,
    JITTER,
    POSTPONED_S_MAX,
    RETRY_AFTER_S_MAX,
    SCHEDULE_S,
    AttemptOutcome,
    DeadLetter,
    Delivered,
    DisableWebhook,
    Retry,
    decide,
    disable_if_failing,
    outcome_of,
)

NOW_MS = 1_767_225_600_000  # Thu, 01 Jan 2026 00:00:00 GMT
BROKEN = AttemptOutcome(None, "connection refused")


class Middle(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def test_the_whole_schedule_takes_75_hours_and_35_minutes() -> None:
    attempt_at_s, now_ms, attempt = [], NOW_MS, 1
    while True:
        attempt_at_s.append((now_ms - NOW_MS) / 1000)
        decision = decide(attempt, BROKEN, NOW_MS, now_ms, Middle())
        if isinstance(decision, DeadLetter):
            break
        assert isinstance(decision, Retry)
        now_ms, attempt = decision.due_ms, attempt + 1
    assert [later - earlier for earlier, later in pairwise(attempt_at_s)] == [
        5,
        300,
        1_800,
        2 * 3_600,
        5 * 3_600,
        10 * 3_600,
        14 * 3_600,
        20 * 3_600,
        24 * 3_600,
    ]
    assert attempt_at_s[-1] == 75 * 3_600 + 35 * 60 + 5
    assert len(attempt_at_s) == 10
    assert decision.reason == "10 attempts failed; the last: connection refused"


@given(st.integers(1, ATTEMPTS_MAX - 1), st.randoms(use_true_random=False))
def test_every_delay_has_a_jitter_of_a_fifth(attempt: int, random: Random) -> None:
    decision = decide(attempt, BROKEN, NOW_MS, NOW_MS, random)
    assert isinstance(decision, Retry)
    delay_s = (decision.due_ms - NOW_MS) / 1000
    assert SCHEDULE_S[attempt] * (1 - JITTER) <= delay_s <= SCHEDULE_S[attempt] * (1 + JITTER)


def test_the_jitter_uses_its_whole_range() -> None:
    random = Random(1)
    delays = [decide(9, BROKEN, 0, 0, random).due_ms / 86_400_000 for _ in range(500)]  # type: ignore[union-attr]
    assert min(delays) < 0.82
    assert max(delays) > 1.18


def test_only_2xx_is_success_and_only_410_is_final() -> None:
    for status in range(100, 600):
        decision = decide(1, AttemptOutcome(status), NOW_MS, NOW_MS, Random(0))
        expected = Delivered if 200 <= status < 300 else DisableWebhook if status == 410 else Retry
        assert type(decision) is expected, status


def test_gone_is_final_even_at_the_last_attempt_and_success_too() -> None:
    assert isinstance(decide(ATTEMPTS_MAX, AttemptOutcome(410), 0, 0, Random(0)), DisableWebhook)
    assert decide(ATTEMPTS_MAX, AttemptOutcome(204), 0, 0, Random(0)) == Delivered()
    assert isinstance(decide(ATTEMPTS_MAX + 3, AttemptOutcome(500), 0, 0, Random(0)), DeadLetter)


def due_s(retry_after: str, *, attempt: int = 1, first_at_ms: int = NOW_MS) -> float:
    outcome = outcome_of(Response(503, {"retry-after": retry_after}, b""), NOW_MS)
    decision = decide(attempt, outcome, first_at_ms, NOW_MS, Middle())
    assert isinstance(decision, Retry)
    return (decision.due_ms - NOW_MS) / 1000


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        ("0", 5),
        ("3", 5),
        ("7200", 7_200),
        ("999999999999", RETRY_AFTER_S_MAX),
        ("Thu, 01 Jan 2026 00:10:00 GMT", 600),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 5),
        ("Fri, 01 Jan 2100 00:00:00 GMT", RETRY_AFTER_S_MAX),
        ("Thu, 01 Jan 2026 01:10:00 +0100", 600),
        ("soon", 5),
        ("-5", 5),
        ("1.5", 5),
        ("", 5),
        ("²", 5),
        ("Thu, 32 Jan 2026", 5),
        ("1" * 5_000, RETRY_AFTER_S_MAX),
    ],
)
def test_retry_after_is_honoured_within_bounds_and_never_shortens(said: str, seconds: float) -> None:
    assert due_s(said) == seconds


def test_a_date_counts_from_the_date_of_the_answer_because_clocks_differ() -> None:
    headers = {"retry-after": "Fri, 02 Jan 2026 05:10:00 GMT", "date": "Fri, 02 Jan 2026 05:00:00 GMT"}
    assert outcome_of(Response(503, headers, b""), NOW_MS).retry_after_s == 600


def test_retry_after_cannot_postpone_a_delivery_for_ever() -> None:
    first_at_ms = NOW_MS - POSTPONED_S_MAX * 1000 + 60_000
    assert due_s("7200", first_at_ms=first_at_ms) == 60
    assert due_s("7200", attempt=2, first_at_ms=first_at_ms) == 300


@pytest.mark.parametrize(
    ("days", "attempts", "off"),
    [
        (5, FAILING_ATTEMPTS_MIN, True),
        (5, FAILING_ATTEMPTS_MIN - 1, False),
        (4.99, 1_000, False),
        (30, 20, True),
    ],
)
def test_a_webhook_is_disabled_after_five_days_and_twenty_attempts_of_failures(
    days: float, attempts: int, off: bool
) -> None:
    assert FAILING_S_MAX == 5 * 86_400
    verdict = disable_if_failing(NOW_MS, attempts, NOW_MS + round(days * 86_400_000))
    assert (verdict is not None) == off

"""The circuit breaker and the throttle of an endpoint."""

from random import Random

import pytest

from airy.webhooks.endpoint_health import FAILURES_TO_OPEN, OPEN_S_MAX, OPEN_S_MIN, PAUSE_S_MAX, EndpointHealth
from airy.webhooks.retry import AttemptOutcome

BROKEN = AttemptOutcome(None, "connection refused")
FINE = AttemptOutcome(200)


class Middle(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def endpoint(*, failures: int = 0, now_ms: int = 0) -> EndpointHealth:
    made = EndpointHealth(8, 8)
    for _ in range(failures):
        made.record(BROKEN, now_ms, Middle())
    return made


def test_the_breaker_opens_at_the_limit_of_failures() -> None:
    assert endpoint(failures=FAILURES_TO_OPEN - 1).capacity(0) == 8
    shut = endpoint(failures=FAILURES_TO_OPEN)
    assert (shut.capacity(0), shut.available_at_ms(0)) == (0, OPEN_S_MIN * 1000)


def test_only_consecutive_failures_open_the_breaker() -> None:
    made = endpoint(failures=FAILURES_TO_OPEN - 1)
    made.record(AttemptOutcome(500), 0, Middle())
    for _ in range(FAILURES_TO_OPEN - 1):
        made.record(BROKEN, 0, Middle())
    assert made.capacity(0) == 8


def test_an_open_breaker_admits_one_probe_after_its_open_time() -> None:
    made = endpoint(failures=FAILURES_TO_OPEN)
    now_ms = round(OPEN_S_MIN * 1000)
    assert made.capacity(now_ms - 1) == 0
    assert (made.capacity(now_ms), made.available_at_ms(now_ms)) == (1, None)
    made.in_flight = 1
    assert made.capacity(now_ms) == 0


def test_a_successful_probe_closes_the_breaker_and_a_failed_one_doubles_the_open_time() -> None:
    made, now_ms, waits_s = endpoint(failures=FAILURES_TO_OPEN), 0, []
    for _ in range(8):
        available_at_ms = made.available_at_ms(now_ms)
        assert available_at_ms is not None
        waits_s.append((available_at_ms - now_ms) / 1000)
        now_ms = available_at_ms
        made.record(BROKEN, now_ms, Middle())
    assert waits_s == [30, 60, 120, 240, 480, OPEN_S_MAX, OPEN_S_MAX, OPEN_S_MAX]
    made.record(FINE, made.available_at_ms(now_ms) or 0, Middle())
    assert made.capacity(now_ms) == 8
    assert made.is_default(now_ms)


def test_failures_of_requests_in_flight_do_not_extend_the_open_time() -> None:
    made = endpoint(failures=FAILURES_TO_OPEN + 15)
    assert made.available_at_ms(0) == OPEN_S_MIN * 1000


def test_any_response_closes_the_breaker() -> None:
    made = endpoint(failures=FAILURES_TO_OPEN)
    made.record(AttemptOutcome(500), 40_000, Middle())
    assert made.capacity(40_000) == 8


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_overloaded_endpoint_is_paused_and_its_concurrency_halved(status: int) -> None:
    made = endpoint()
    made.record(AttemptOutcome(status), 0, Middle())
    assert (made.capacity(0), made.available_at_ms(0), made.capacity(1_000)) == (0, 1_000, 4)


def test_concurrent_429_responses_throttle_once() -> None:
    made = endpoint()
    for _ in range(8):
        made.record(AttemptOutcome(429), 0, Middle())
    assert (made.available_at_ms(0), made.concurrency) == (1_000, 4)


def test_pauses_are_bounded_and_concurrency_stays_at_least_one() -> None:
    made, now_ms, pauses_s = endpoint(), 0, []
    for _ in range(9):
        made.record(AttemptOutcome(429), now_ms, Middle())
        pauses_s.append(((made.available_at_ms(now_ms) or 0) - now_ms) / 1000)
        now_ms = made.available_at_ms(now_ms) or 0
    assert pauses_s == [1, 2, 4, 8, 16, 32, PAUSE_S_MAX, PAUSE_S_MAX, PAUSE_S_MAX]
    assert made.capacity(now_ms) == 1


def test_successes_restore_concurrency_step_by_step() -> None:
    made = endpoint()
    made.record(AttemptOutcome(429), 0, Middle())
    made.record(FINE, 500, Middle())
    assert made.capacity(1_000) == 4, "a response to a request from before the pause is ignored"
    for _ in range(4):
        made.record(FINE, 1_000, Middle())
    assert made.is_default(1_000)


def test_retry_after_lengthens_the_pause_up_to_an_hour() -> None:
    for said_s, pause_s in ((120.0, 120), (0.5, 1), (86_400.0, 3_600)):
        made = endpoint()
        made.record(AttemptOutcome(429, retry_after_s=said_s), 0, Middle())
        assert made.available_at_ms(0) == pause_s * 1000


def test_open_times_have_jitter() -> None:
    random = Random(2)
    openings = set()
    for _ in range(50):
        made = EndpointHealth(8, 8)
        for _ in range(FAILURES_TO_OPEN):
            made.record(BROKEN, 0, random)
        openings.add(made.available_at_ms(0))
    assert len(openings) > 40
    assert all(24_000 <= opening <= 36_000 for opening in openings if opening)


def test_an_endpoint_can_be_paused_without_an_outcome() -> None:
    made = endpoint()
    made.pause(700)
    assert (made.capacity(0), made.is_default(0), made.capacity(700), made.is_default(700)) == (0, False, 8, True)

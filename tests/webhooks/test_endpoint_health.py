"""The throttle, the pause and the circuit breaker of an endpoint."""

from random import Random

import pytest

from airy.webhooks.endpoint_health import (
    FAILURES_TO_OPEN,
    FAILURES_TO_OPEN_MAX,
    FORGET_S,
    OPEN_S_MAX,
    OPEN_S_MIN,
    PAUSE_S_MAX,
    SLOW_S,
    THROTTLE_ATTEMPTS_MIN,
    EndpointHealth,
    throttled,
)
from airy.webhooks.outcome_window import WINDOW_S, OutcomeWindow
from airy.webhooks.retry import AttemptOutcome
from airy.webhooks.slot_division import EndpointLoad, Pace

BROKEN = AttemptOutcome(None, "connection refused")
BUSY = AttemptOutcome(503)
FINE = AttemptOutcome(200)


class Middle(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def record(health: EndpointHealth, *outcomes: AttemptOutcome, now_s: float = 0.0, took_s: float = 0.1) -> None:
    for outcome in outcomes:
        health.record(outcome, took_s, now_s, Middle())


def endpoint(*outcomes: AttemptOutcome, now_s: float = 0.0) -> EndpointHealth:
    health = EndpointHealth(20)
    record(health, *outcomes, now_s=now_s)
    return health


# --- the window


def test_the_window_forgets_what_is_older() -> None:
    window = OutcomeWindow()
    for second in range(100):
        window.add(second, failed=second < 50)
    assert window.counts(99) == (28, 0), "the oldest bucket is counted in whole or not at all"
    assert window.counts(99 + WINDOW_S) == (0, 0)
    assert len(window.buckets) <= 10


# --- the throttle


@pytest.mark.parametrize(
    ("attempts", "failures", "concurrency"),
    [
        (0, 0, 20),
        (1, 1, 20),
        (THROTTLE_ATTEMPTS_MIN - 1, THROTTLE_ATTEMPTS_MIN - 1, 20),
        (100, 0, 20),
        (100, 1, 20),
        (100, 5, 19),
        (100, 20, 16),
        (100, 50, 10),
        (100, 99, 1),
        (100, 100, 1),
    ],
)
def test_concurrency_falls_in_proportion_to_failures(attempts: int, failures: int, concurrency: int) -> None:
    assert throttled(20, attempts, failures) == concurrency


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_single_failure_says_nothing(status: int) -> None:
    health = endpoint(AttemptOutcome(status))
    assert (health.concurrency(0), health.available_at_s(0)) == (20, None)


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_a_rejected_delivery_does_not_count_against_its_endpoint(status: int) -> None:
    assert endpoint(*[AttemptOutcome(status)] * 100).concurrency(0) == 20


@pytest.mark.parametrize("failure", [BUSY, BROKEN])
def test_half_of_the_attempts_failing_halves_the_concurrency_and_stops_nothing(failure: AttemptOutcome) -> None:
    health, random = EndpointHealth(20), Random(7)
    for number in range(5_000):
        health.record(failure if random.random() < 0.5 else FINE, 0.1, number / 10, random)
        if number > 100:
            assert 6 <= health.concurrency(number / 10) <= 14


def test_concurrency_returns_when_failures_have_left_the_window() -> None:
    health = endpoint(*[FINE, BUSY] * 10)
    assert health.concurrency(0) == 10
    assert health.concurrency(WINDOW_S) == 20


# --- the pause


def test_a_429_pauses_for_longer_each_time_until_a_success() -> None:
    health, now_s, pauses_s = endpoint(), 0.0, []
    for _ in range(9):
        record(health, *[AttemptOutcome(429)] * 3, now_s=now_s)
        until_s = health.paused_until_s
        pauses_s.append(until_s - now_s)
        now_s = until_s
    assert pauses_s == [1, 2, 4, 8, 16, 32, PAUSE_S_MAX, PAUSE_S_MAX, PAUSE_S_MAX], "concurrent ones pause once"
    record(health, FINE, now_s=now_s)
    record(health, AttemptOutcome(429), now_s=now_s)
    assert health.paused_until_s - now_s == 1


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(("asked_s", "pause_s"), [(120.0, 120), (0.5, 0.5), (86_400.0, 3_600)])
def test_retry_after_pauses_as_long_as_asked_up_to_an_hour(status: int, asked_s: float, pause_s: float) -> None:
    health = endpoint(AttemptOutcome(status, retry_after_s=asked_s))
    assert (health.concurrency(0), health.available_at_s(0)) == (0, pause_s)
    record(health, AttemptOutcome(status, retry_after_s=0.1))
    assert health.available_at_s(0) == pause_s, "a shorter one does not end it"
    record(health, FINE)
    assert health.available_at_s(0) == pause_s, "nor does a response to a request from before"


def test_an_endpoint_can_be_paused_without_an_outcome() -> None:
    health = endpoint()
    health.pause(0.7)
    assert (health.concurrency(0), health.concurrency(0.7)) == (0, 20)


# --- the breaker


def test_the_breaker_opens_when_everything_fails() -> None:
    assert endpoint(*[BROKEN] * (FAILURES_TO_OPEN - 1)).concurrency(0) == 20
    health = endpoint(*[BROKEN] * FAILURES_TO_OPEN)
    assert (health.concurrency(0), health.available_at_s(0)) == (0, OPEN_S_MIN)


@pytest.mark.parametrize("failure", [BUSY, BROKEN])
def test_after_a_success_in_the_window_it_takes_more_failures_to_open_the_breaker(failure: AttemptOutcome) -> None:
    health = endpoint(FINE, *[failure] * (FAILURES_TO_OPEN_MAX - 1))
    assert health.available_at_s(0) is None
    record(health, failure)
    assert health.available_at_s(0) is not None


def test_failures_far_apart_do_not_open_the_breaker() -> None:
    health = endpoint()
    for number in range(100):
        record(health, BUSY, now_s=number * WINDOW_S)
        assert health.concurrency(number * WINDOW_S) == 20


def test_an_open_breaker_admits_one_probe_after_its_open_time() -> None:
    health = endpoint(*[BROKEN] * FAILURES_TO_OPEN)
    assert health.concurrency(OPEN_S_MIN - 0.001) == 0
    assert (health.concurrency(OPEN_S_MIN), health.available_at_s(OPEN_S_MIN)) == (1, None)


@pytest.mark.parametrize(
    ("failure", "waits_s"),
    [
        (BROKEN, [OPEN_S_MIN, 60, 120, 240, 480, OPEN_S_MAX, OPEN_S_MAX, OPEN_S_MAX]),
        (AttemptOutcome(500), [1, 2, 4, 8, 16, 32, 60, 60]),
    ],
)
def test_each_failed_probe_doubles_the_open_time_and_a_success_closes_the_breaker(
    failure: AttemptOutcome, waits_s: list[float]
) -> None:
    health, now_s, waited_s = endpoint(*[failure] * FAILURES_TO_OPEN), 0.0, []
    for _ in waits_s:
        waited_s.append(health.open_until_s - now_s)
        now_s = health.open_until_s
        record(health, failure, now_s=now_s)
    assert waited_s == waits_s
    now_s = health.open_until_s
    record(health, FINE, now_s=now_s)
    assert health.concurrency(now_s) == 20


def test_after_a_breaker_closed_concurrency_grows_with_successes() -> None:
    health = endpoint(*[BUSY] * 20)
    grown = []
    for number in range(1, 61):
        record(health, FINE, now_s=1.0)
        grown.append(health.concurrency(1.0))
        assert number < 60 or grown[-1] == 15
    assert grown[0] == 1
    assert grown == sorted(grown)


def test_failures_of_requests_in_flight_do_not_extend_the_open_time() -> None:
    assert endpoint(*[BROKEN] * (FAILURES_TO_OPEN + 15)).available_at_s(0) == OPEN_S_MIN


def test_open_times_have_jitter() -> None:
    random, openings = Random(2), set()
    for _ in range(50):
        health = EndpointHealth(8)
        for _ in range(FAILURES_TO_OPEN):
            health.record(BROKEN, 0.1, 0.0, random)
        openings.add(health.open_until_s)
    assert len(openings) > 40
    assert all(24 <= opening <= 36 for opening in openings)


# --- pace


def test_an_endpoint_is_slow_by_its_requests_in_flight_and_by_those_that_ended() -> None:
    health = endpoint()
    assert health.load(0.0) == EndpointLoad(0, Pace.UNKNOWN)
    health.start(0.0)
    assert (health.load(SLOW_S), health.load(SLOW_S + 0.1)) == (
        EndpointLoad(1, Pace.UNKNOWN),
        EndpointLoad(1, Pace.SLOW),
    )
    health.finish(0.0)
    record(health, FINE, took_s=13.0)
    assert health.load(13.0) == EndpointLoad(0, Pace.SLOW)
    record(health, *[FINE] * 9, took_s=0.1)
    assert health.load(13.0) == EndpointLoad(0, Pace.SLOW)
    record(health, FINE, took_s=0.1)
    assert health.load(13.0) == EndpointLoad(0, Pace.QUICK)


def test_what_is_known_of_an_endpoint_is_forgotten_an_hour_after_its_last_outcome() -> None:
    fine, paused, busy = endpoint(FINE), endpoint(FINE), endpoint(FINE)
    paused.pause(FORGET_S + 1)
    busy.start(0.0)
    assert not fine.is_outdated(FORGET_S - 1)
    assert [health.is_outdated(FORGET_S) for health in (fine, paused, busy)] == [True, False, False]

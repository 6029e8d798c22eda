"""The breaker and the brake of an endpoint."""

from random import Random

import pytest

from airy.actors.webhooks.endpoint import BREAKS_AFTER, PAUSE_S_MAX, SHUT_S_MAX, SHUT_S_MIN, Endpoint
from airy.actors.webhooks.retry import Outcome

BROKEN = Outcome(None, "connection refused")
FINE = Outcome(200)


class Middle(Random):
    """No jitter."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def endpoint(*, failures: int = 0, now_ms: int = 0) -> Endpoint:
    made = Endpoint(8, 8)
    for _ in range(failures):
        made.record(BROKEN, now_ms, Middle())
    return made


def test_a_few_failures_change_nothing_and_one_more_shuts_it() -> None:
    assert endpoint(failures=BREAKS_AFTER - 1).room(0) == 8
    shut = endpoint(failures=BREAKS_AFTER)
    assert (shut.room(0), shut.opens_at_ms(0)) == (0, SHUT_S_MIN * 1000)


def test_failures_must_be_in_a_row() -> None:
    made = endpoint(failures=BREAKS_AFTER - 1)
    made.record(Outcome(500), 0, Middle())
    for _ in range(BREAKS_AFTER - 1):
        made.record(BROKEN, 0, Middle())
    assert made.room(0) == 8


def test_a_shut_one_lets_a_single_probe_through_when_its_time_has_come() -> None:
    made = endpoint(failures=BREAKS_AFTER)
    now_ms = round(SHUT_S_MIN * 1000)
    assert made.room(now_ms - 1) == 0
    assert (made.room(now_ms), made.opens_at_ms(now_ms)) == (1, None)
    made.in_flight = 1
    assert made.room(now_ms) == 0


def test_a_probe_that_succeeds_opens_it_and_one_that_fails_shuts_it_for_longer() -> None:
    made, now_ms, waits_s = endpoint(failures=BREAKS_AFTER), 0, []
    for _ in range(8):
        opens_at_ms = made.opens_at_ms(now_ms)
        assert opens_at_ms is not None
        waits_s.append((opens_at_ms - now_ms) / 1000)
        now_ms = opens_at_ms
        made.record(BROKEN, now_ms, Middle())
    assert waits_s == [30, 60, 120, 240, 480, SHUT_S_MAX, SHUT_S_MAX, SHUT_S_MAX]
    made.record(FINE, made.opens_at_ms(now_ms) or 0, Middle())
    assert made.room(now_ms) == 8
    assert made.at_rest(now_ms)


def test_the_rest_of_a_volley_does_not_shut_it_for_longer() -> None:
    made = endpoint(failures=BREAKS_AFTER + 15)
    assert made.opens_at_ms(0) == SHUT_S_MIN * 1000


def test_any_answer_proves_that_it_is_there() -> None:
    made = endpoint(failures=BREAKS_AFTER)
    made.record(Outcome(500), 40_000, Middle())
    assert made.room(40_000) == 8


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_one_that_has_too_much_is_paused_and_gets_less_at_once(status: int) -> None:
    made = endpoint()
    made.record(Outcome(status), 0, Middle())
    assert (made.room(0), made.opens_at_ms(0), made.room(1_000)) == (0, 1_000, 4)


def test_a_whole_volley_of_429_slows_it_down_once() -> None:
    made = endpoint()
    for _ in range(8):
        made.record(Outcome(429), 0, Middle())
    assert (made.opens_at_ms(0), made.parallel) == (1_000, 4)


def test_pauses_grow_to_a_limit_and_parallelism_never_ends() -> None:
    made, now_ms, pauses_s = endpoint(), 0, []
    for _ in range(9):
        made.record(Outcome(429), now_ms, Middle())
        pauses_s.append(((made.opens_at_ms(now_ms) or 0) - now_ms) / 1000)
        now_ms = made.opens_at_ms(now_ms) or 0
    assert pauses_s == [1, 2, 4, 8, 16, 32, PAUSE_S_MAX, PAUSE_S_MAX, PAUSE_S_MAX]
    assert made.room(now_ms) == 1


def test_success_brings_it_back_step_by_step() -> None:
    made = endpoint()
    made.record(Outcome(429), 0, Middle())
    made.record(FINE, 500, Middle())
    assert made.room(1_000) == 4, "an answer to a request from before the pause says nothing"
    for _ in range(4):
        made.record(FINE, 1_000, Middle())
    assert made.at_rest(1_000)


def test_retry_after_lengthens_the_pause_up_to_an_hour() -> None:
    for said_s, pause_s in ((120.0, 120), (0.5, 1), (86_400.0, 3_600)):
        made = endpoint()
        made.record(Outcome(429, retry_after_s=said_s), 0, Middle())
        assert made.opens_at_ms(0) == pause_s * 1000


def test_jitter_spreads_the_openings() -> None:
    random = Random(2)
    openings = set()
    for _ in range(50):
        made = Endpoint(8, 8)
        for _ in range(BREAKS_AFTER):
            made.record(BROKEN, 0, random)
        openings.add(made.opens_at_ms(0))
    assert len(openings) > 40
    assert all(24_000 <= opening <= 36_000 for opening in openings if opening)


def test_it_can_be_held_for_reasons_of_our_own() -> None:
    made = endpoint()
    made.hold(700)
    assert (made.room(0), made.at_rest(0), made.room(700), made.at_rest(700)) == (0, False, 8, True)

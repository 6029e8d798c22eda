"""The pure parts of the runtime: back-off, restart intensity, limits, phase transitions, error classification."""

import math
from random import Random
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.actors import runtime
from airy.actors.runtime import Backoff, Child, Crashed, Phase, TimedOut
from airy.actors.runtime.failure import crash, primary_error
from airy.actors.runtime.limits import GRACE_S, LimitAction, Timeline, next_limit
from airy.actors.runtime.phase import LIVE, TRANSITIONS, IllegalTransition, move
from airy.actors.runtime.restart_intensity import RestartIntensity
from airy.errors import Unavailable
from tests.kit.running_tree import actor_of, idle


def test_the_package_exports_exactly_its_public_names() -> None:
    exported = {name for name, value in vars(runtime).items() if not isinstance(value, ModuleType)}
    assert {name for name in exported if not name.startswith("_")} == set(runtime.__all__)


@given(failures=st.integers(1, 5000), seed=st.integers(), at_least_s=st.floats(0, 1e6))
def test_a_delay_stays_within_its_jitter_and_its_ceiling(failures: int, seed: int, at_least_s: float) -> None:
    backoff = Backoff(initial_s=0.2, factor=2, ceiling_s=30, jitter=0.2)
    delay_s = backoff.delay_s(failures, Random(seed), at_least_s=at_least_s)
    middle_s = min(30, max(0.2 * 2 ** min(failures - 1, 20), at_least_s))
    assert 0.8 * middle_s - 1e-9 <= delay_s <= 1.2 * middle_s + 1e-9


@pytest.mark.parametrize(
    "invalid", [{"initial_s": 0}, {"initial_s": 31}, {"factor": 0.5}, {"jitter": 1.0}, {"jitter": -0.1}]
)
def test_invalid_back_offs_are_refused(invalid: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need 0 < initial_s"):
        Backoff(**invalid)


@given(gaps=st.lists(st.integers(0, 30), max_size=40), bugs_max=st.integers(0, 5), period_s=st.integers(1, 60))
def test_restart_intensity_counts_bugs_within_its_period(gaps: list[int], bugs_max: int, period_s: int) -> None:
    intensity, now, before = RestartIntensity(bugs_max=bugs_max, period_s=period_s), 0.0, []
    for gap in gaps:
        now += gap
        before.append(now)
        within = sum(at > now - period_s for at in before)
        assert intensity.record(now) == (within <= bugs_max)


CHILD = Child(name="a", start=actor_of(idle), ready_s=30, drain_s=10, cleanup_s=5, stall_s=20)


@pytest.mark.parametrize(
    ("timeline", "due", "action"),
    [
        (Timeline(started_at=0, progress_at=0), 20, "stalled"),
        (Timeline(started_at=0, progress_at=15), 30, "not_ready"),
        (Timeline(started_at=0, progress_at=15, ready=True), 35, "stalled"),
        (Timeline(started_at=0, progress_at=15, ready=True, stop_at=100), 110, "cancel"),
        (Timeline(started_at=0, progress_at=15, stop_at=100), 110, "cancel"),
        (Timeline(started_at=0, progress_at=15, stop_at=100, immediate=True), 100, "cancel"),
        (Timeline(started_at=0, progress_at=15, stop_at=100, cancelled_at=104), 109 + GRACE_S, "abandon"),
        (Timeline(started_at=0, progress_at=15, ready=True, cancelled_at=50), 55 + GRACE_S, "abandon"),
    ],
)
def test_which_limit_comes_next(timeline: Timeline, due: float, action: LimitAction) -> None:
    assert next_limit(CHILD, timeline) == (due, action)


def test_limits_may_be_lifted() -> None:
    free = Child(name="a", start=actor_of(idle), ready_s=math.inf, stall_s=math.inf)
    assert next_limit(free, Timeline(started_at=0, progress_at=0))[0] == math.inf


@pytest.mark.parametrize("now", TRANSITIONS)
def test_transitions_outside_the_table_are_refused(now: Phase) -> None:
    for to in TRANSITIONS:
        if to in TRANSITIONS[now]:
            assert move(now, to) == to
        else:
            with pytest.raises(IllegalTransition):
                move(now, to)


def test_every_live_phase_can_end_and_every_other_phase_can_start() -> None:
    assert all(TRANSITIONS[phase] & {"stopped", "failed"} for phase in LIVE)
    assert all("starting" in TRANSITIONS[phase] for phase in set(TRANSITIONS) - LIVE)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable("x"), "unavailable"),
        (Crashed("x"), "unavailable"),
        (TimedOut("x"), "unavailable"),
        (KeyError(), "bug"),
    ],
)
def test_the_type_of_an_error_classifies_it(error: Exception, kind: str) -> None:
    assert crash(error).kind == kind


async def test_a_bug_in_a_group_outranks_unavailable_dependencies() -> None:
    deep = ExceptionGroup("a", [Unavailable("1"), ExceptionGroup("b", [Unavailable("2"), KeyError("3")])])
    assert isinstance(primary_error(deep), KeyError)
    assert str(primary_error(ExceptionGroup("a", [Unavailable("1"), Unavailable("2")]))) == "1"
    assert primary_error(error := KeyError("3")) is error

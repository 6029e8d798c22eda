"""The pure parts of the kernel: back-off, budget, limits, moves."""

import math
from random import Random
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.actors import runtime
from airy.actors.runtime import Backoff, Child, Crashed, Phase, TimedOut
from airy.actors.runtime.budget import Budget
from airy.actors.runtime.failure import crash, essence
from airy.actors.runtime.lifecycle import LIVE, MOVES, IllegalMove, move
from airy.actors.runtime.limits import GRACE_S, Moment, Step, next_limit
from airy.errors import Unavailable
from tests.kit.stage import acting, idle


def test_the_door_is_exact() -> None:
    offered = {name for name, value in vars(runtime).items() if not isinstance(value, ModuleType)}
    assert {name for name in offered if not name.startswith("_")} == set(runtime.__all__)


@given(failures=st.integers(1, 5000), seed=st.integers(), wish_s=st.floats(0, 1e6))
def test_a_delay_stays_within_its_jitter_and_its_ceiling(failures: int, seed: int, wish_s: float) -> None:
    backoff = Backoff(initial_s=0.2, factor=2, ceiling_s=30, jitter=0.2)
    delay_s = backoff.delay_s(failures, Random(seed), at_least_s=wish_s)
    middle_s = min(30, max(0.2 * 2 ** min(failures - 1, 20), wish_s))
    assert 0.8 * middle_s - 1e-9 <= delay_s <= 1.2 * middle_s + 1e-9


@pytest.mark.parametrize(
    "nonsense", [{"initial_s": 0}, {"initial_s": 31}, {"factor": 0.5}, {"jitter": 1.0}, {"jitter": -0.1}]
)
def test_a_back_off_refuses_nonsense(nonsense: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need 0 < initial_s"):
        Backoff(**nonsense)


@given(gaps=st.lists(st.integers(0, 30), max_size=40), bugs_max=st.integers(0, 5), period_s=st.integers(1, 60))
def test_a_budget_counts_what_lies_within_its_period(gaps: list[int], bugs_max: int, period_s: int) -> None:
    budget, now, before = Budget(bugs_max=bugs_max, period_s=period_s), 0.0, []
    for gap in gaps:
        now += gap
        before.append(now)
        within = sum(at > now - period_s for at in before)
        assert budget.spend(now) == (within <= bugs_max)


CHILD = Child(name="a", start=acting(idle), ready_s=30, drain_s=10, cleanup_s=5, stall_s=20)


@pytest.mark.parametrize(
    ("moment", "due", "step"),
    [
        (Moment(started_at=0, moved_at=0), 20, "stalled"),
        (Moment(started_at=0, moved_at=15), 30, "not_ready"),
        (Moment(started_at=0, moved_at=15, ready=True), 35, "stalled"),
        (Moment(started_at=0, moved_at=15, ready=True, stop_at=100), 110, "cancel"),
        (Moment(started_at=0, moved_at=15, stop_at=100), 110, "cancel"),
        (Moment(started_at=0, moved_at=15, stop_at=100, hurry=True), 100, "cancel"),
        (Moment(started_at=0, moved_at=15, stop_at=100, cancelled_at=104), 109 + GRACE_S, "abandon"),
        (Moment(started_at=0, moved_at=15, ready=True, cancelled_at=50), 55 + GRACE_S, "abandon"),
    ],
)
def test_which_limit_comes_next(moment: Moment, due: float, step: Step) -> None:
    assert next_limit(CHILD, moment) == (due, step)


def test_limits_may_be_lifted() -> None:
    free = Child(name="a", start=acting(idle), ready_s=math.inf, stall_s=math.inf)
    assert next_limit(free, Moment(started_at=0, moved_at=0))[0] == math.inf


@pytest.mark.parametrize("now", MOVES)
def test_every_move_that_is_not_in_the_table_is_refused(now: Phase) -> None:
    for to in MOVES:
        if to in MOVES[now]:
            assert move(now, to) == to
        else:
            with pytest.raises(IllegalMove):
                move(now, to)


def test_every_phase_can_come_back_to_life_and_every_life_can_end() -> None:
    assert all(MOVES[phase] & {"stopped", "failed"} for phase in LIVE)
    assert all("starting" in MOVES[phase] for phase in set(MOVES) - LIVE)


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (Unavailable("x"), "unavailable"),
        (Crashed("x"), "unavailable"),
        (TimedOut("x"), "unavailable"),
        (KeyError(), "bug"),
    ],
)
def test_the_type_of_an_error_is_the_verdict(error: Exception, ending: str) -> None:
    assert crash(error).ending == ending


async def test_a_group_is_as_bad_as_its_worst_member() -> None:
    deep = ExceptionGroup("a", [Unavailable("1"), ExceptionGroup("b", [Unavailable("2"), KeyError("3")])])
    assert isinstance(essence(deep), KeyError)
    assert str(essence(ExceptionGroup("a", [Unavailable("1"), Unavailable("2")]))) == "1"
    assert essence(error := KeyError("3")) is error

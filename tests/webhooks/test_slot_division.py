"""How slots are divided over endpoints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airy.webhooks.slot_division import EndpointLoad, Pace, divide_slots


def quick(in_flight: int = 0) -> EndpointLoad:
    return EndpointLoad(in_flight, Pace.QUICK)


def slow(in_flight: int = 0) -> EndpointLoad:
    return EndpointLoad(in_flight, Pace.SLOW)


def new(in_flight: int = 0) -> EndpointLoad:
    return EndpointLoad(in_flight)


@pytest.mark.parametrize(
    ("loads", "wanted", "granted"),
    [
        ({"a": quick()}, {"a": 20}, {"a": 20}),
        ({"a": quick()}, {"a": 500}, {"a": 100}),
        ({"a": quick(), "b": quick()}, {"a": 500, "b": 500}, {"a": 67, "b": 67}),
        ({"a": quick(), "b": quick()}, {"a": 500, "b": 3}, {"a": 99, "b": 3}),
        ({"a": quick(100), "b": quick()}, {"a": 500, "b": 500}, {"a": 0, "b": 66}),
        ({"a": quick(100), "b": quick(66), "c": quick()}, {"a": 1, "b": 1, "c": 500}, {"a": 0, "b": 0, "c": 34}),
        ({"a": slow()}, {"a": 500}, {"a": 50}),
        ({"a": slow(), "b": quick()}, {"a": 500, "b": 20}, {"a": 50, "b": 20}),
        ({"a": slow(50), "b": quick()}, {"a": 500, "b": 500}, {"a": 0, "b": 75}),
        ({}, {"a": 500}, {"a": 50}),
        ({"a": new(100)}, {"b": 20}, {"b": 1}),
        ({"a": slow(100), "b": slow()}, {"b": 20}, {"b": 0}),
        ({"a": quick(200)}, {"b": 1}, {"b": 0}),
        ({}, {}, {}),
    ],
)
def test_two_hundred_slots(loads: dict[str, EndpointLoad], wanted: dict[str, int], granted: dict[str, int]) -> None:
    assert divide_slots(200, loads, wanted) == granted


def test_twelve_quick_endpoints_leave_a_thirteenth_its_share_should_they_become_slow() -> None:
    names = [f"busy {number}" for number in range(12)]
    granted = divide_slots(200, dict.fromkeys(names, quick()), dict.fromkeys(names, 20))
    assert set(granted.values()) <= {15, 16}
    loads = {name: slow(count) for name, count in granted.items()}
    assert divide_slots(200, {**loads, "quick": quick()}, {"quick": 20})["quick"] >= 14


@pytest.mark.parametrize("count", [1, 12, 100, 1_000])
def test_slow_endpoints_however_many_leave_half_of_the_slots_to_quick_ones(count: int) -> None:
    names = [f"slow {number}" for number in range(count)]
    granted = divide_slots(200, dict.fromkeys(names, slow()), dict.fromkeys(names, 20))
    assert sum(granted.values()) <= 100
    loads = {name: slow(number) for name, number in granted.items()}
    assert divide_slots(200, {**loads, "quick": quick()}, {"quick": 20})["quick"] == 20


@pytest.mark.parametrize("count", [12, 150])
def test_a_new_endpoint_gets_a_slot_beside_many_others(count: int) -> None:
    names = [f"new {number}" for number in range(count)]
    granted = divide_slots(200, {}, dict.fromkeys(names, 20))
    assert min(granted.values()) >= 1
    loads = {name: new(number) for name, number in granted.items()}
    assert divide_slots(200, loads, {"another": 1}) == {"another": 1}


def test_one_of_many_light_endpoints_may_use_what_the_others_leave() -> None:
    loads = {"busy": quick(), **{f"light {number}": quick(1) for number in range(50)}}
    assert divide_slots(200, loads, {"busy": 20}) == {"busy": 20}


def test_a_single_slot_goes_to_the_least_busy_and_among_equals_to_the_first() -> None:
    assert divide_slots(1, {}, {"b": 1, "a": 1}) == {"b": 1, "a": 0}
    assert divide_slots(2, {"a": quick(1)}, {"a": 1, "b": 1}) == {"a": 0, "b": 1}


endpoints = st.dictionaries(
    st.integers(0, 30).map(str), st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from(Pace)), max_size=30
)


@given(st.integers(1, 200), endpoints)
def test_slots_are_never_exceeded_and_a_new_endpoint_gets_one_while_one_is_free(
    slots_max: int, cases: dict[str, tuple[int, int, Pace]]
) -> None:
    loads = {name: EndpointLoad(in_flight, pace) for name, (in_flight, _, pace) in cases.items()}
    wanted = {name: count for name, (_, count, _) in cases.items()}
    granted = divide_slots(slots_max, loads, wanted)
    used = sum(one.in_flight for one in loads.values())
    assert granted.keys() == wanted.keys()
    assert all(0 <= granted[name] <= wanted[name] for name in wanted)
    assert sum(granted.values()) <= max(0, slots_max - used)
    left_out = [name for name in wanted if wanted[name] and not granted[name] and loads[name] == new()]
    if left_out:
        assert used + sum(granted.values()) >= slots_max

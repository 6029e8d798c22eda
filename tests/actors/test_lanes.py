"""Lanes: how fast and how wide one channel may send."""

from airy.actors.lanes import Lanes


def test_a_lane_lets_in_its_burst_and_then_its_rate() -> None:
    lanes = Lanes(rate_per_s=2, parallel_max=100)

    assert [lanes.enter("page", 0) for _ in range(3)] == [0, 0, 500]
    assert lanes.enter("page", 500) == 0
    assert lanes.enter("page", 500) == 500


def test_a_lane_is_no_wider_than_its_parallel_max() -> None:
    lanes = Lanes(rate_per_s=100, parallel_max=2)

    assert [lanes.enter("page", 0) for _ in range(2)] == [0, 0]
    assert lanes.enter("page", 0) > 0
    lanes.leave("page")
    assert lanes.enter("page", 0) == 0


def test_channels_do_not_wait_for_each_other() -> None:
    lanes = Lanes(rate_per_s=1, parallel_max=1)

    assert lanes.enter("one", 0) == 0
    assert lanes.enter("one", 0) > 0
    assert lanes.enter("two", 0) == 0


def test_a_paused_lane_says_for_how_long() -> None:
    lanes = Lanes(rate_per_s=10, parallel_max=10)
    lanes.enter("page", 0)
    lanes.pause("page", 60_000)

    assert lanes.enter("page", 1_000) == 59_000
    assert lanes.paused(1_000) == ["page"]
    assert lanes.enter("page", 60_000) == 0


def test_idle_lanes_take_no_memory() -> None:
    lanes = Lanes(rate_per_s=10, parallel_max=10)
    for number in range(1_000):
        lanes.enter(f"page {number}", 0)
        lanes.leave(f"page {number}")

    assert len(lanes._lanes) == 0

"""Lanes: how fast and how wide one channel may send."""

from airy.actors.lanes import LANES_KEPT, Lanes


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
        lanes.enter(f"page {number}", 2_000 * number)
        lanes.leave(f"page {number}")

    assert len(lanes._lanes) <= LANES_KEPT


def test_one_send_after_the_other_keeps_to_the_rate_too() -> None:
    lanes = Lanes(rate_per_s=2, parallel_max=10)
    entered = 0
    for now_ms in range(0, 10_000, 10):
        if lanes.enter("page", now_ms) == 0:
            entered += 1
            lanes.leave("page")

    assert entered == 2 + 19  # the burst, and then two each second


def test_whoever_owns_a_share_of_the_partitions_takes_that_share_of_rate_and_width() -> None:
    """Four connectors together send no faster and no wider than one alone."""
    lanes = Lanes(rate_per_s=40, parallel_max=16)
    lanes.share = 0.25

    assert [lanes.enter("page", 0) for _ in range(5)] == [0, 0, 0, 0, 50]
    for _ in range(4):
        lanes.leave("page")
    entered = sum(lanes.enter("page", now_ms) == 0 and lanes.leave("page") is None for now_ms in range(10_000))
    assert 90 <= entered <= 110


def test_no_share_so_small_that_nothing_is_sent() -> None:
    lanes = Lanes(rate_per_s=40, parallel_max=2)
    lanes.share = 1 / 64

    assert lanes.enter("page", 0) == 0
    lanes.leave("page")
    assert 0 < lanes.enter("page", 0) < 2_000

"""SendLimiter: rate and parallel sends of one channel."""

from airy.actors.send_limits import ENTRIES_KEPT, SendLimiter


def test_a_channel_may_send_its_burst_and_then_at_its_rate() -> None:
    limiter = SendLimiter(rate_per_s=2, parallel_max=100)

    assert [limiter.try_acquire("page", 0) for _ in range(3)] == [0, 0, 500]
    assert limiter.try_acquire("page", 500) == 0
    assert limiter.try_acquire("page", 500) == 500


def test_a_channel_has_at_most_parallel_max_sends_in_flight() -> None:
    limiter = SendLimiter(rate_per_s=100, parallel_max=2)

    assert [limiter.try_acquire("page", 0) for _ in range(2)] == [0, 0]
    assert limiter.try_acquire("page", 0) > 0
    limiter.release("page")
    assert limiter.try_acquire("page", 0) == 0


def test_channels_are_limited_independently() -> None:
    limiter = SendLimiter(rate_per_s=1, parallel_max=1)

    assert limiter.try_acquire("one", 0) == 0
    assert limiter.try_acquire("one", 0) > 0
    assert limiter.try_acquire("two", 0) == 0


def test_a_paused_channel_returns_the_remaining_time() -> None:
    limiter = SendLimiter(rate_per_s=10, parallel_max=10)
    limiter.try_acquire("page", 0)
    limiter.pause("page", 60_000)

    assert limiter.try_acquire("page", 1_000) == 59_000
    assert limiter.paused(1_000) == ["page"]
    assert limiter.try_acquire("page", 60_000) == 0


def test_idle_channels_are_dropped() -> None:
    limiter = SendLimiter(rate_per_s=10, parallel_max=10)
    for number in range(1_000):
        limiter.try_acquire(f"page {number}", 2_000 * number)
        limiter.release(f"page {number}")

    assert len(limiter._channels) <= ENTRIES_KEPT


def test_sequential_sends_keep_to_the_rate() -> None:
    limiter = SendLimiter(rate_per_s=2, parallel_max=10)
    entered = 0
    for now_ms in range(0, 10_000, 10):
        if limiter.try_acquire("page", now_ms) == 0:
            entered += 1
            limiter.release("page")

    assert entered == 2 + 19  # the burst, and then two each second


def test_a_share_of_the_partitions_takes_that_share_of_rate_and_parallel_sends() -> None:
    """Four connectors together send at the rate and width of one."""
    limiter = SendLimiter(rate_per_s=40, parallel_max=16)
    limiter.share = 0.25

    assert [limiter.try_acquire("page", 0) for _ in range(5)] == [0, 0, 0, 0, 50]
    for _ in range(4):
        limiter.release("page")
    entered = sum(
        limiter.try_acquire("page", now_ms) == 0 and limiter.release("page") is None for now_ms in range(10_000)
    )
    assert 90 <= entered <= 110


def test_the_smallest_share_can_still_send() -> None:
    limiter = SendLimiter(rate_per_s=40, parallel_max=2)
    limiter.share = 1 / 64

    assert limiter.try_acquire("page", 0) == 0
    limiter.release("page")
    assert 0 < limiter.try_acquire("page", 0) < 2_000


def test_a_contact_gets_a_burst_that_silence_pays_back() -> None:
    limiter = SendLimiter(rate_per_s=1_000, parallel_max=1_000, conversation_per_s=0.5, conversation_burst=3)

    def taken(now_ms: int) -> int:
        return limiter.try_acquire("number", now_ms, conversation_id="c")

    assert [taken(0) for _ in range(4)] == [0, 0, 0, 2_000]
    assert [taken(2_000), taken(2_000)] == [0, 2_000]
    assert [taken(60_000) for _ in range(4)] == [0, 0, 0, 2_000]
    assert limiter.try_acquire("number", 60_000, conversation_id="another") == 0

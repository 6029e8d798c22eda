"""The server's clock between two readings. No Redis is needed."""

import anyio

from airy.queue.redis.server_clock import TOLERANCE_MS, ServerClock


async def test_the_time_passes_between_readings_whatever_the_clock_of_the_process_says() -> None:
    clock = ServerClock()
    assert clock.now_ms(5) == 5, "no reading yet"
    clock.read(1_000_000)
    await anyio.sleep(2.0)
    assert clock.now_ms(5) == 1_002_000


async def test_a_reading_that_is_late_does_not_set_the_time_back() -> None:
    clock = ServerClock()
    clock.read(1_000_000)
    clock.read(1_000_000 - TOLERANCE_MS)
    assert clock.now_ms(5) == 1_000_000


async def test_a_server_whose_clock_was_set_is_followed() -> None:
    clock = ServerClock()
    clock.read(1_000_000)
    clock.read(500_000)
    assert clock.now_ms(5) == 500_000

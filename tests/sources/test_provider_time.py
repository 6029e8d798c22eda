"""Times that providers write: their unit, their range, and what replaces an impossible one."""

import pytest

from airy.sources.provider_time import AFTER_ARRIVAL_MAX_MS, EventTime, event_time, time_ms, watermark

ARRIVED_MS = 1_735_689_600_987
YEAR_MS = 365 * 86_400_000
AHEAD_MS = ARRIVED_MS + 10 * YEAR_MS


@pytest.mark.parametrize(
    "written",
    [
        ARRIVED_MS,
        str(ARRIVED_MS),
        f" {ARRIVED_MS} ",
        float(ARRIVED_MS),
        ARRIVED_MS / 1000,
        "1735689600.987",
        ARRIVED_MS * 1000,
        f"{ARRIVED_MS}000",
        "2025-01-01T00:00:00.987Z",
        "2025-01-01T01:00:00.987654321+01:00",
        "2024-12-31t21:30:00.987-02:30",
    ],
)
def test_a_time_is_read_in_the_unit_it_must_be(written: object) -> None:
    assert time_ms(written) == pytest.approx(ARRIVED_MS, abs=1)


@pytest.mark.parametrize(
    "written",
    [
        0,
        -1,
        5,
        True,
        None,
        "soon",
        "",
        "\u0661\u0662\u0663",
        10**30,
        1e300,
        float("inf"),
        float("nan"),
        "9" * 40,
        "2025-01-01",
        "2025-13-01T00:00:00Z",
        "2025-01-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
        [],
        {},
    ],
)
def test_anything_else_is_no_time(written: object) -> None:
    assert time_ms(written) is None


def test_an_event_has_its_own_time_within_a_range_around_its_arrival() -> None:
    for at_ms in (ARRIVED_MS - YEAR_MS, ARRIVED_MS, ARRIVED_MS + AFTER_ARRIVAL_MAX_MS):
        assert event_time(ARRIVED_MS, at_ms, 7) == EventTime(at_ms)
    assert event_time(ARRIVED_MS, ARRIVED_MS // 1000) == EventTime(ARRIVED_MS // 1000 * 1000)


@pytest.mark.parametrize(
    "written", [AHEAD_MS, AHEAD_MS // 1000, ARRIVED_MS - 2 * YEAR_MS, ARRIVED_MS // 10**6, 0, "soon"]
)
def test_an_impossible_time_is_replaced_by_the_next_best_and_kept(written: object) -> None:
    kept = f'"{written}"' if isinstance(written, str) else str(written)
    assert event_time(ARRIVED_MS, written, ARRIVED_MS - 9) == EventTime(ARRIVED_MS - 9, kept)
    assert event_time(ARRIVED_MS, written, None) == EventTime(ARRIVED_MS, kept)
    assert event_time(ARRIVED_MS, None, written).headers == {"time.replaced": kept}


def test_no_time_is_the_arrival_and_replaces_nothing() -> None:
    assert event_time(ARRIVED_MS, None, None) == EventTime(ARRIVED_MS)
    assert event_time(ARRIVED_MS).headers == {}


def test_a_watermark_covers_nothing_that_was_sent_after_its_event() -> None:
    event = EventTime(ARRIVED_MS - 50)
    for at_ms in (ARRIVED_MS, ARRIVED_MS - 2 * YEAR_MS):
        assert watermark(at_ms, event, ARRIVED_MS) == EventTime(at_ms)
    assert watermark(ARRIVED_MS // 1000, event, ARRIVED_MS) == EventTime(ARRIVED_MS // 1000 * 1000)
    assert watermark(AHEAD_MS, event, ARRIVED_MS) == EventTime(ARRIVED_MS - 50, str(AHEAD_MS))
    assert watermark(AHEAD_MS, EventTime(ARRIVED_MS + 50), ARRIVED_MS) == EventTime(ARRIVED_MS, str(AHEAD_MS))
    assert watermark(5, event, ARRIVED_MS) is None

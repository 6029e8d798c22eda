"""Times as providers write them: seconds, milliseconds or microseconds, numbers or text, RFC 3339, and sometimes
impossible.

The unit of a number follows from the magnitude, as no two of the three share a time between 1973 and 5138. An event can
hardly be later than the arrival of its webhook, because both clocks are kept, nor much earlier; what is outside of that
range is replaced by the next best time, in the end the arrival. Pure.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from airy.sources import payload

BEFORE_ARRIVAL_MAX_MS = 366 * 86_400_000  # providers repeat webhooks for days; histories go back half a year
AFTER_ARRIVAL_MAX_MS = 10 * 60_000  # the difference of two clocks
EARLIEST_MS = 10**11  # 1973, as of numbers
REPLACED = "time.replaced"
"""The header of a message whose time was replaced: what the provider wrote, as JSON."""
REPLACED_CHARACTERS_MAX = 64

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_RFC_3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})", re.ASCII | re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]{1,19}(?:\.[0-9]{1,9})?")
_PER_MS = ((1e8, 1e11, 1000.0), (1e11, 1e14, 1.0), (1e14, 1e17, 0.001))  # from, below, milliseconds in one


class EventTime(NamedTuple):
    """A time that can be, and what it replaced."""

    at_ms: int
    replaced: str = ""  # what the provider wrote, if it is not `at_ms`

    @property
    def headers(self) -> dict[str, str]:
        return {REPLACED: self.replaced} if self.replaced else {}


def time_ms(written: object) -> int | None:
    """Milliseconds, or None if `written` is no time."""
    number = written
    if isinstance(written, str):
        text = written.strip()
        if not _NUMBER.fullmatch(text):
            return _rfc_3339_ms(text)
        number = float(text) if "." in text else int(text)
    if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
        return None
    factor = next((factor for low, high, factor in _PER_MS if low <= number < high), None)
    return None if factor is None else int(number if factor == 1 else number * factor)


def _rfc_3339_ms(text: str) -> int | None:
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        at_ms = (datetime.fromisoformat(text.upper()) - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None
    return at_ms if at_ms >= EARLIEST_MS else None


def event_time(arrived_at_ms: int, *written: object, before_max_ms: int = BEFORE_ARRIVAL_MAX_MS) -> EventTime:
    """The first of the times that can be one of an event whose webhook arrived then; best first, None for no time.

    `before_max_ms`: how long before.
    """
    replaced = ""
    for each in written:
        at_ms = time_ms(each)
        if at_ms is not None and -before_max_ms <= at_ms - arrived_at_ms <= AFTER_ARRIVAL_MAX_MS:
            return EventTime(at_ms, replaced)
        if each is not None and not replaced:
            replaced = _as_written(each)
    return EventTime(arrived_at_ms, replaced)


def watermark(written: object, event: EventTime, arrived_at_ms: int) -> EventTime | None:
    """Up to when messages are covered: at most up to the event, as one sent later cannot be. None: no time."""
    stated_ms = time_ms(written)
    if stated_ms is None or stated_ms <= arrived_at_ms:
        return None if stated_ms is None else EventTime(stated_ms)
    return EventTime(min(stated_ms, event.at_ms, arrived_at_ms), _as_written(written))


def _as_written(written: object) -> str:
    return payload.canonical(written)[:REPLACED_CHARACTERS_MAX]

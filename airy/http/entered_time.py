"""Times as callers of the API write them."""

from datetime import datetime

TIME_MS_MAX = 253_402_300_799_999  # the end of the year 9999


def entered_time_ms(value: object) -> int:
    """Milliseconds since 1970, from a number of them or from ISO 8601 text with a zone. Raises `ValueError`."""
    found: object = value
    if isinstance(value, str):
        try:
            written = datetime.fromisoformat(value.strip())
            found = round(written.timestamp() * 1000) if written.tzinfo else None
        except (ValueError, OverflowError):
            found = None
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= TIME_MS_MAX:
        raise ValueError("must be a time: milliseconds since 1970, or ISO 8601 with a zone")
    return int(found)

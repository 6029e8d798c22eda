"""The `Retry-After` header of an answer."""

from airy.http_client import Response

RETRY_AFTER_MAX_S = 3_600.0


def retry_after_s(answer: Response) -> float | None:
    """What `Retry-After` asks for in seconds, at most an hour; dates are not understood."""
    asked = answer.headers.get("retry-after", "").strip()
    return min(float(asked), RETRY_AFTER_MAX_S) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None

"""The `Retry-After` header of an answer."""

from airy.http_client import Response

RETRY_AFTER_MAX_S = 3_600.0


def retry_after_s(answer: Response) -> float | None:
    """What `Retry-After` asks for in seconds, at most an hour."""
    asked_s = answer.retry_after_s()
    return None if asked_s is None else min(asked_s, RETRY_AFTER_MAX_S)

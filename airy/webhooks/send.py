"""Sends one delivery to its endpoint: the request that the dispatcher makes, and the test that an operator asks for."""

from msgspec import Struct

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response, ResponseLost
from airy.queue.api import Job
from airy.webhooks.request import DeliveryTarget, request_headers
from airy.webhooks.retry import AttemptOutcome, outcome_of

RESPONSE_BYTES_MAX = 16_384  # read, so that the connection can be reused
RESPONSE_CHARS_MAX = 1_024  # recorded


class DeliveryTimeouts(Struct, frozen=True, kw_only=True):
    connect_s: float = 5.0
    total_s: float = 15.0


async def send(
    http: HttpClient, target: DeliveryTarget, job: Job, now_ms: int, timeouts: DeliveryTimeouts
) -> tuple[AttemptOutcome, str]:
    """The outcome, and the beginning of the response without the secrets that were sent."""
    try:
        response = await _post(http, target, job, now_ms, timeouts)
    except (Unavailable, Refused) as error:
        return AttemptOutcome(None, str(error)), ""
    text = target.redact(response.body.decode("utf-8", "replace")) if response.body else ""
    return outcome_of(response, now_ms), text[:RESPONSE_CHARS_MAX]


async def _post(
    http: HttpClient, target: DeliveryTarget, job: Job, now_ms: int, timeouts: DeliveryTimeouts
) -> Response:
    """Without the rest of a body that is badly framed or too slow: once the head is complete the status decides."""
    try:
        return await http(
            "POST",
            target.url,
            headers=request_headers(target, job, now_ms),
            body=job.entry.body,
            connect_s=timeouts.connect_s,
            total_s=timeouts.total_s,
            body_bytes_max=RESPONSE_BYTES_MAX,
        )
    except ResponseLost as error:
        if error.received is None:
            raise
        return error.received

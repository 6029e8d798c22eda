"""Google's answer becomes an outcome. Pure, and never raises.

An error document of Google's is a recorded failure, except for an id that exists: an earlier attempt was taken. An
answer that is not Google's proves nothing, so the call is not repeated.
"""

from collections.abc import Sequence

from msgspec import Raw

from airy.http_client import Response
from airy.model.fact import ErrorKind
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.google_api import names
from airy.sources.retry_after import retry_after_s

BUSY_S = 1.0
RATE_S = 5.0
DETAIL_BYTES_MAX = 8_192
ERROR_CHARACTERS_MAX = 500
KINDS: dict[int, ErrorKind] = {401: "auth", 403: "auth", 404: "not_found", 429: "rate"}


def interpret(answers: Sequence[Response]) -> Outcome:
    answer = answers[-1]
    found = payload.object_of(answer.body) or {}
    if 200 <= answer.status < 300:
        provider_id = payload.text(found.get("messageId")) or names.last(found.get("name"))
        text = f"google answered {answer.status} without a message"
        return Lost(provider_answer.said(text, answer)) if provider_id is None else Sent(provider_id)
    error = payload.record(found.get("error"))
    code = provider_answer.number(error.get("code"))
    if answer.status == 409 or code == 409:
        return Lost("google has a message with this id: an earlier attempt was taken, and its receipts will say so")
    if answer.status >= 500 and code is None:
        text = f"google answered {answer.status} without saying whether it took the message"
        return Lost(provider_answer.said(text, answer))
    return _refused(answer, error, code)


def _refused(answer: Response, error: dict[str, object], code: int | None) -> Failed:
    number = code or answer.status
    said = payload.text(error.get("message")) or provider_answer.said(f"google answered {answer.status}", answer)
    status = payload.text(error.get("status"))
    kind = KINDS.get(number, "provider" if number >= 500 else "invalid" if code else "unknown")
    again_s = {"provider": BUSY_S, "rate": RATE_S}.get(kind)
    delay_s = retry_after_s(answer)
    return Failed(
        kind=kind,
        error=said[:ERROR_CHARACTERS_MAX],
        code=f"http/{answer.status}" if code is None else f"{code}/{status}" if status else str(code),
        detail=Raw(answer.body) if error and len(answer.body) <= DETAIL_BYTES_MAX else None,
        again_s=again_s if again_s is None or delay_s is None else delay_s,
        stop_lane=kind == "auth",
    )

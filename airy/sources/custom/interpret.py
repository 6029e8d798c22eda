"""The answer of a source's action endpoint becomes an outcome. Pure, and never raises.

An answer with `error`, or with a status that says that nothing was done, is a recorded failure. Any other server error
proves nothing, so the call is not repeated.
"""

from collections.abc import Mapping, Sequence

from msgspec import Raw

from airy.errors import Refused
from airy.http_client import Response
from airy.model import metadata
from airy.model.fact import ErrorKind
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.retry_after import retry_after_s

ACCEPTED = 202
BUSY_S = 1.0
RATE_S = 5.0
DETAIL_BYTES_MAX = 8_192
KINDS: Mapping[int, ErrorKind] = {401: "auth", 403: "auth", 404: "not_found", 410: "not_found", 429: "rate"}
AGAIN_S: Mapping[int, float] = {408: BUSY_S, 425: BUSY_S, 429: RATE_S, 503: BUSY_S}  # of statuses that nothing was done


def interpret(answers: Sequence[Response]) -> Outcome:
    answer = answers[-1]
    found = payload.object_of(answer.body) or {}
    error = payload.text(found.get("error"))
    if 200 <= answer.status < 300 and error is None:
        return _taken(answer, found)
    if answer.status >= 500 and answer.status not in AGAIN_S and error is None:
        text = f"the action endpoint answered {answer.status} without saying whether it took the message"
        return Lost(provider_answer.said(text, answer))
    return _refused(answer, error)


def _taken(answer: Response, found: Mapping[str, object]) -> Outcome:
    source_message_id = payload.identifier(found.get("source_message_id"))
    if source_message_id is None and answer.status != ACCEPTED:
        text = f"the action endpoint answered {answer.status} without a source_message_id"
        return Failed(kind="unknown", error=provider_answer.said(text, answer), code=f"http/{answer.status}")
    try:
        settings = metadata.flatten(payload.record(found.get("metadata")))
    except Refused:  # the message is sent all the same
        settings = {}
    return Sent(source_message_id, metadata=settings)


def _refused(answer: Response, error: str | None) -> Failed:
    text = error or provider_answer.said(f"the action endpoint answered {answer.status}", answer)
    again_s = AGAIN_S.get(answer.status, BUSY_S if answer.status >= 500 else None)
    if again_s is not None:
        again_s = max(again_s, retry_after_s(answer) or 0.0)
    return Failed(
        kind=KINDS.get(answer.status, "invalid" if again_s is None else "provider"),
        error=text,
        code=f"http/{answer.status}",
        detail=Raw(answer.body) if error is not None and len(answer.body) <= DETAIL_BYTES_MAX else None,
        again_s=again_s,
    )

"""The Send API's answer becomes an outcome. Pure, and never raises: whatever came back has one meaning.

An answer in which Graph itself says no is a recorded failure: the message was not taken. An answer that is
not Graph's own (a gateway's page, half a body, success without a receipt) proves nothing, and what proves
nothing is not repeated.
"""

import math
from typing import NamedTuple

import msgspec
from msgspec import Raw

from airy.http_client import Response
from airy.model.fact import ErrorKind
from airy.sources import payload
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.facebook import graph
from airy.sources.facebook.graph import GraphError

RATE_S = 60.0  # until we ask again when Meta does not say
BUSY_S = 1.0
USAGE_HEADER = "x-business-use-case-usage"
DETAIL_BYTES_MAX = 8192


class _Meaning(NamedTuple):
    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False


CODES: dict[int, _Meaning] = {
    **dict.fromkeys(graph.BUSY_CODES, _Meaning("provider", BUSY_S)),
    **dict.fromkeys(graph.RATE_CODES, _Meaning("rate", RATE_S)),
    **dict.fromkeys(graph.TOKEN_CODES, _Meaning("auth", stop_lane=True)),
    **dict.fromkeys((3, 10, *range(200, 300)), _Meaning("auth")),  # a good token without the permission
    100: _Meaning("invalid"),
    551: _Meaning("blocked"),
}
SUBCODES: dict[tuple[int, int], _Meaning] = {  # where the subcode says more than its code
    (10, 2018278): _Meaning("window"),
    (10, 2018065): _Meaning("window"),
    (100, 2018001): _Meaning("not_found"),
    (200, 1545041): _Meaning("blocked"),
}
STATUSES: dict[int, _Meaning] = {  # without a word from Graph
    401: _Meaning("auth", stop_lane=True),
    403: _Meaning("auth"),
    408: _Meaning("provider", BUSY_S),
    413: _Meaning("invalid"),
    429: _Meaning("rate", RATE_S),
    503: _Meaning("provider", BUSY_S),
}


def interpret(answer: Response) -> Outcome:
    found = graph.document(answer)
    error = graph.error_of(found)
    if error is not None:
        return _refused(answer, error)
    if 200 <= answer.status < 300:
        return _taken(answer, found)
    meaning = STATUSES.get(answer.status)
    if meaning is None and answer.status >= 500:
        return Lost(f"messenger answered {answer.status} without saying whether it took the message")
    meaning = meaning or _Meaning("unknown")
    text = f"messenger answered {answer.status} without an error we know; check graph_url and graph_version"
    return _failed(answer, meaning, text, f"http/{answer.status}")


def _taken(answer: Response, found: dict[str, object] | None) -> Outcome:
    if found is None:
        return Lost(f"messenger answered {answer.status}, but not with JSON")
    provider_id = payload.identifier(found.get("message_id"))
    if provider_id is None:
        return Lost(f"messenger answered {answer.status} without a message id")
    return Sent(provider_id)


def _refused(answer: Response, error: GraphError) -> Failed:
    meaning = SUBCODES.get((error.code, error.subcode or 0)) or CODES.get(error.code)
    if meaning is None:
        busy = error.transient or answer.status >= 500
        meaning = _Meaning("provider", BUSY_S) if busy else STATUSES.get(answer.status, _Meaning("unknown"))
    return _failed(answer, meaning, error.message, error.name)


def _failed(answer: Response, meaning: _Meaning, text: str, code: str) -> Failed:
    again_s = meaning.again_s
    if again_s is not None:
        asked_s = graph.retry_after_s(answer)
        again_s = max(again_s if asked_s is None else asked_s, _usage_s(answer))
    return Failed(
        kind=meaning.kind,
        error=text,
        code=code,
        detail=_detail(answer),
        again_s=again_s,
        stop_lane=meaning.stop_lane,
    )


def _usage_s(answer: Response) -> float:
    """How long Meta's usage header says we are shut out; 0 when it does not."""
    try:
        usage = msgspec.json.decode(answer.headers.get(USAGE_HEADER, "{}"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return 0.0
    minutes = [
        payload.record(entry).get("estimated_time_to_regain_access")
        for entries in payload.record(usage).values()
        if isinstance(entries, list)
        for entry in entries
    ]
    known = [float(minute) for minute in minutes if isinstance(minute, int | float) and math.isfinite(minute)]
    return min(max(known, default=0.0) * 60, 3600.0)


def _detail(answer: Response) -> Raw | None:
    """Meta's error details for diagnosis, without tokens; None unless they are JSON."""
    if len(answer.body) > DETAIL_BYTES_MAX or graph.document(answer) is None:
        return None
    return Raw(graph.masked(answer.body.decode()).encode())

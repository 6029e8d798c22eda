"""The Send API's answer becomes an outcome. Pure, and never raises: every answer has one meaning.

An answer in which Graph itself refuses is a recorded failure: the message was not taken. An answer that is not Graph's
own (a gateway's page, half a body, success without a message id) proves nothing, so the call is not repeated.
"""

import math
from typing import NamedTuple

import msgspec
from msgspec import Raw

from airy.http_client import Response
from airy.model.fact import ErrorKind
from airy.sources import payload
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.meta import graph
from airy.sources.meta.graph import GraphError
from airy.sources.retry_after import retry_after_s

RATE_S = graph.RATE_S
RESTRICTED_S = 3_600.0  # an account that Meta restricted for its conduct is tried again after this
BUSY_S = 1.0
USAGE_HEADER = "x-business-use-case-usage"
DETAIL_BYTES_MAX = 8192


class _GraphMeaning(NamedTuple):
    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False


_BAD_TOKEN = _GraphMeaning("auth", stop_lane=True)
_RESTRICTED = _GraphMeaning("auth", RESTRICTED_S, stop_lane=True)

CODES: dict[int, _GraphMeaning] = {
    **dict.fromkeys(graph.BUSY_CODES, _GraphMeaning("provider", BUSY_S)),
    **dict.fromkeys(graph.RATE_CODES, _GraphMeaning("rate", RATE_S)),
    **dict.fromkeys(graph.TOKEN_CODES, _BAD_TOKEN),
    **dict.fromkeys((3, 10, *range(200, 300)), _GraphMeaning("auth")),  # a good token without the permission
    100: _GraphMeaning("invalid"),
    551: _GraphMeaning("blocked"),
    2022: _RESTRICTED,
    2018300: _GraphMeaning("invalid"),  # another app owns the thread
    2018321: _GraphMeaning("invalid"),
    9000001: _GraphMeaning("not_found"),
}
SUBCODES: dict[tuple[int, int], _GraphMeaning] = {  # where the subcode says more than its code
    **dict.fromkeys(((10, 2018278), (10, 2018065), (10, 2534022)), _GraphMeaning("window")),
    **dict.fromkeys(((100, 2018001), (100, 2534014), (100, 33)), _GraphMeaning("not_found")),
    **dict.fromkeys(((200, 1545041), (10, 2018108)), _GraphMeaning("blocked")),
    **dict.fromkeys(((10, 1893063), (10, 1404170), (100, 2534029)), _RESTRICTED),
    **dict.fromkeys(((10, 2018028), (200, 2018028), (200, 2534041), (10, 2534077)), _BAD_TOKEN),
    **dict.fromkeys(((4, 2018354), (613, 1893016), (613, 2018338), (10, 1893015)), _GraphMeaning("invalid")),
}
STATUSES: dict[int, _GraphMeaning] = {  # where the answer holds no Graph error
    401: _BAD_TOKEN,
    403: _GraphMeaning("auth"),
    408: _GraphMeaning("provider", BUSY_S),
    413: _GraphMeaning("invalid"),
    429: _GraphMeaning("rate", RATE_S),
    503: _GraphMeaning("provider", BUSY_S),
}


def interpret(answer: Response, title: str) -> Outcome:
    found = payload.object_of(answer.body)
    error = graph.error_of(found)
    if error is not None:
        return _refused(answer, error)
    if 200 <= answer.status < 300:
        return _taken(answer, found, title)
    meaning = STATUSES.get(answer.status)
    if meaning is None and answer.status >= 500:
        return Lost(f"{title} answered {answer.status} without saying whether it took the message")
    meaning = meaning or _GraphMeaning("unknown")
    text = f"{title} answered {answer.status} without an error we know; check graph_url and graph_version"
    return _failed(answer, meaning, text, f"http/{answer.status}")


def _taken(answer: Response, found: dict[str, object] | None, title: str) -> Outcome:
    if found is None:
        return Lost(f"{title} answered {answer.status}, but not with JSON")
    provider_id = payload.identifier(found.get("message_id"))
    if provider_id is None:
        return Lost(f"{title} answered {answer.status} without a message id")
    return Sent(provider_id)


def _refused(answer: Response, error: GraphError) -> Failed:
    meaning = SUBCODES.get((error.code, error.subcode or 0)) or CODES.get(error.code)
    if meaning is None:
        busy = error.transient or answer.status >= 500
        meaning = _GraphMeaning("provider", BUSY_S) if busy else STATUSES.get(answer.status, _GraphMeaning("unknown"))
    return _failed(answer, meaning, error.message, error.name)


def _failed(answer: Response, meaning: _GraphMeaning, text: str, code: str) -> Failed:
    again_s = meaning.again_s
    if again_s is not None:
        asked_s = retry_after_s(answer)
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
    """The seconds until access returns by Meta's usage header; 0 without one."""
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
    """Meta's own words, without tokens, for the failed message; None unless they are JSON."""
    if len(answer.body) > DETAIL_BYTES_MAX or payload.object_of(answer.body) is None:
        return None
    return Raw(graph.masked(answer.body.decode()).encode())

"""The Send API's answer becomes an outcome. Pure, and never raises: every answer has one meaning.

An answer in which Graph itself refuses is a recorded failure: the message was not taken. An answer that is not Graph's
own (a gateway's page, half a body, success without a message id) proves nothing, so the call is not repeated.
"""

from typing import NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from airy.http_client import Response
from airy.model.fact import ErrorKind
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.meta import graph, usage
from airy.sources.meta.graph import GraphError
from airy.sources.retry_after import retry_after_s

RATE_S = graph.RATE_S
RESTRICTED_S = 3_600.0  # an account that Meta restricted for its conduct is tried again after this
BUSY_S = 1.0
UNCLEAR_S, UNCLEAR_ATTEMPTS_MAX = 10.0, 3
DETAIL_BYTES_MAX = 8192


class _GraphMeaning(NamedTuple):
    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False
    attempts_max: int | None = None


_BUSY = _GraphMeaning("provider", BUSY_S)
_UNCLEAR = _GraphMeaning("provider", UNCLEAR_S, attempts_max=UNCLEAR_ATTEMPTS_MAX)  # or a contact who blocks us
_BAD_TOKEN = _GraphMeaning("auth", stop_lane=True)
_RESTRICTED = _GraphMeaning("auth", RESTRICTED_S, stop_lane=True)
_WINDOW = _GraphMeaning("window")
_BLOCKED = _GraphMeaning("blocked")
_NOT_FOUND = _GraphMeaning("not_found")
_INVALID = _GraphMeaning("invalid")

CODES: dict[int, _GraphMeaning] = {
    **dict.fromkeys(graph.BUSY_CODES, _UNCLEAR),
    **dict.fromkeys(graph.RATE_CODES, _GraphMeaning("rate", RATE_S)),
    **dict.fromkeys(graph.TOKEN_CODES, _BAD_TOKEN),
    **dict.fromkeys((3, 10, *range(200, 300)), _GraphMeaning("auth")),  # a good token without the permission
    100: _INVALID,
    551: _BLOCKED,
    2022: _RESTRICTED,
    9000001: _NOT_FOUND,
}
SUBCODES: dict[int, _GraphMeaning] = {  # they say more than their code, and come under several
    **dict.fromkeys((2018278, 2018065, 2534022), _WINDOW),
    **dict.fromkeys((1545041, 2018108), _BLOCKED),
    **dict.fromkeys((2018001, 2534014), _NOT_FOUND),
    **dict.fromkeys((1893063, 1404170, 2534029), _RESTRICTED),
    **dict.fromkeys((2018028, 2534041, 2534077), _BAD_TOKEN),
    **dict.fromkeys((2018354, 2018352, 1893016, 1893015, 2018338), _INVALID),  # how often, and after a stop
    **dict.fromkeys((2018300, 2534037, 2018321), _INVALID),  # another app, or a flow of Meta's, owns the thread
    **dict.fromkeys((2018014, 2018047, 2018074, 2018109, 2534068), _INVALID),  # of what is sent
    **dict.fromkeys((2018008, 2018294), _GraphMeaning("invalid", BUSY_S, attempts_max=2)),  # our media was not fetched
    2534040: _GraphMeaning("rate", RATE_S),
}
PAIRS: dict[tuple[int, int], _GraphMeaning] = {  # subcodes too short to mean the same under every code
    (1, 99): _GraphMeaning("auth"),
    (100, 33): _NOT_FOUND,
}
WORDS: tuple[tuple[str, _GraphMeaning], ...] = (  # of codes that also mean a missing permission
    ("outside of allowed window", _WINDOW),
    ("outside the allowed window", _WINDOW),
    ("isn't receiving messages", _BLOCKED),
    ("isn't available right now", _BLOCKED),
    ("cannot receive messages", _BLOCKED),
)
STATUSES: dict[int, _GraphMeaning] = {  # where the answer holds no Graph error
    401: _BAD_TOKEN,
    403: _GraphMeaning("auth"),
    408: _BUSY,
    413: _INVALID,
    429: _GraphMeaning("rate", RATE_S),
    503: _BUSY,
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
        return Lost(_said(answer, f"{title} answered {answer.status} without saying whether it took the message"))
    meaning = meaning or _GraphMeaning("unknown")
    text = f"{title} answered {answer.status} without an error we know; check graph_url and graph_version"
    return _failed(answer, meaning, _said(answer, text), f"http/{answer.status}")


def _said(answer: Response, text: str) -> str:
    return graph.masked(provider_answer.said(text, answer))


def _taken(answer: Response, found: dict[str, object] | None, title: str) -> Outcome:
    if found is None:
        return Lost(_said(answer, f"{title} answered {answer.status}, but not with JSON"))
    provider_id = payload.identifier(found.get("message_id"))
    if provider_id is None and payload.identifier(found.get("recipient_id")) is None:
        return Lost(_said(answer, f"{title} answered {answer.status} without a message id"))
    pauses = usage.pauses(answer)
    return Sent(provider_id, pause_s=pauses.account_s, app_pause_s=pauses.app_s)  # a reaction has no id of its own


def _refused(answer: Response, error: GraphError) -> Failed:
    meaning = _known(error)
    if error.is_transient and (meaning is None or meaning.again_s is None or meaning is _UNCLEAR):
        meaning = _BUSY
    if meaning is _UNCLEAR and answer.status >= 500:
        meaning = _BUSY  # an outage: until the message expires
    if meaning is None:
        meaning = _BUSY if answer.status >= 500 else STATUSES.get(answer.status, _GraphMeaning("unknown"))
    failed = _failed(answer, meaning, error.message, error.name or f"http/{answer.status}")
    return replace(failed, app_wide=meaning.kind == "rate" and error.code in graph.APP_RATE_CODES)


def _known(error: GraphError) -> _GraphMeaning | None:
    """The most specific meaning: of the subcode, of the words, of the code."""
    code, subcode = error.code or 0, error.subcode or 0
    found = PAIRS.get((code, subcode)) or SUBCODES.get(subcode) or SUBCODES.get(code)
    if found is None and CODES.get(code, _INVALID).kind in {"auth", "invalid"} and code not in graph.TOKEN_CODES:
        sentence = error.message.lower().replace("\u2019", "'")
        found = next((meaning for words, meaning in WORDS if words in sentence), None)
    return found or CODES.get(code)


def _failed(answer: Response, meaning: _GraphMeaning, text: str, code: str) -> Failed:
    again_s = meaning.again_s
    if again_s is not None:
        asked_s = retry_after_s(answer)
        again_s = max(again_s if asked_s is None else asked_s, usage.regain_s(answer))
    return Failed(
        kind=meaning.kind,
        error=text,
        code=code,
        detail=_detail(answer),
        again_s=again_s,
        stop_lane=meaning.stop_lane,
        attempts_max=meaning.attempts_max,
    )


def _detail(answer: Response) -> Raw | None:
    """Meta's own words, without tokens, for the failed message; None unless they are JSON."""
    if len(answer.body) > DETAIL_BYTES_MAX or payload.object_of(answer.body) is None:
        return None
    return Raw(graph.masked(answer.body.decode()).encode())

"""Twilio's answer becomes an outcome. Pure, and never raises.

An error document of Twilio's is a recorded failure: the message was not taken. Anything else that is no created
message (a gateway's page, half a body) proves nothing, so the call is not repeated.
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Raw

from airy.http_client import Response
from airy.model.fact import ErrorKind
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.retry_after import retry_after_s

BUSY_S = 1.0
RATE_S = 10.0
QUEUE_S = 300.0  # this sender has hours of messages queued at Twilio
DETAIL_BYTES_MAX = 8_192
ERROR_CHARACTERS_MAX = 500


class _CodeMeaning(NamedTuple):
    kind: ErrorKind
    again_s: float | None = None
    stop_lane: bool = False
    attempts_max: int | None = None


CODES: dict[int, _CodeMeaning] = {
    **dict.fromkeys((20429, 14107, 63018, 30001, 30022), _CodeMeaning("rate", RATE_S)),
    **dict.fromkeys((20003, 20005, 30002), _CodeMeaning("auth", stop_lane=True)),
    **dict.fromkeys((21211, 21214, 21217, 21614, 21612, 30005, 30006, 63003, 63024), _CodeMeaning("not_found")),
    **dict.fromkeys((21408, 21601, 21606, 30034, 63007, 63051, 63112), _CodeMeaning("auth")),
    **dict.fromkeys((63010, 63012, 63009, 30036), _CodeMeaning("provider", BUSY_S)),
    **dict.fromkeys((30003, 30008), _CodeMeaning("provider", BUSY_S, attempts_max=2)),
    **dict.fromkeys((21610, 30004, 30007, 63013, 63032, 63033, 63049), _CodeMeaning("blocked")),
    **dict.fromkeys((21617, 21656, 63005, 63021, 63027, 63028, 63030), _CodeMeaning("invalid")),
    63019: _CodeMeaning("invalid", BUSY_S, attempts_max=2),  # our media was not fetched
    21611: _CodeMeaning("rate", QUEUE_S),
    63016: _CodeMeaning("window"),
}
DELIVERY_CODES = (range(30000, 31000), range(63000, 64000))  # of the network behind Twilio
STATUSES: dict[int, _CodeMeaning] = {
    401: _CodeMeaning("auth", stop_lane=True),
    403: _CodeMeaning("auth"),
    429: _CodeMeaning("rate", RATE_S),
    503: _CodeMeaning("provider", BUSY_S),
}


def interpret(answers: Sequence[Response]) -> Outcome:
    answer = answers[-1]
    found = payload.object_of(answer.body)
    if 200 <= answer.status < 300:
        sid = payload.text((found or {}).get("sid"))
        if sid is None:
            return Lost(provider_answer.said(f"twilio answered {answer.status} without a message sid", answer))
        return Sent(sid)
    code = provider_answer.number((found or {}).get("code"))
    if found is not None and (code is not None or _is_twilios(found)):
        return _refused(answer, found, code)
    meaning = STATUSES.get(answer.status)
    if meaning is None and answer.status >= 500:
        text = f"twilio answered {answer.status} without saying whether it took the message"
        return Lost(provider_answer.said(text, answer))
    text = f"twilio answered {answer.status} without an error we know; check api_url"
    said = provider_answer.said(text, answer)
    return _failed(answer, meaning or _CodeMeaning("unknown"), said, f"http/{answer.status}")


def _is_twilios(found: dict[str, object]) -> bool:
    """Whether an error document without a code is Twilio's."""
    return payload.text(found.get("message")) is not None and provider_answer.number(found.get("status")) is not None


def message_of(found: dict[str, object], code: int | None) -> str:
    said = payload.text(found.get("message")) or payload.text(found.get("detail"))
    return (said or f"error {'without a code' if code is None else code}")[:ERROR_CHARACTERS_MAX]


def _refused(answer: Response, found: dict[str, object], code: int | None) -> Failed:
    meaning = CODES.get(code or 0) or STATUSES.get(answer.status)
    if meaning is None and answer.status >= 500:
        meaning = _CodeMeaning("provider", BUSY_S)
    if meaning is None:
        meaning = _CodeMeaning("provider" if any(code in codes for codes in DELIVERY_CODES) else "invalid")
    return _failed(answer, meaning, message_of(found, code), f"http/{answer.status}" if code is None else str(code))


def _failed(answer: Response, meaning: _CodeMeaning, text: str, code: str) -> Failed:
    again_s = meaning.again_s
    if again_s is not None:
        again_s = max(again_s, retry_after_s(answer) or 0.0)
    small = len(answer.body) <= DETAIL_BYTES_MAX and payload.object_of(answer.body) is not None
    return Failed(
        kind=meaning.kind,
        error=text,
        code=code,
        detail=Raw(answer.body) if small else None,
        again_s=again_s,
        stop_lane=meaning.stop_lane,
        attempts_max=meaning.attempts_max,
    )

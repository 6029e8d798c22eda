"""Twilio's answer becomes an outcome. Pure, and never raises.

An error document of Twilio's is a recorded failure: the message was not taken. Anything else that is no created
message (a gateway's page, half a body) proves nothing, so the call is not repeated.
"""

from collections.abc import Sequence

from msgspec import Raw

from airy.http_client import Response
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.retry_after import retry_after_s
from airy.sources.twilio.error_codes import BUSY_S, RATE_S, CodeMeaning, meaning_of, unknown_code

DETAIL_BYTES_MAX = 8_192
ERROR_CHARACTERS_MAX = 500


STATUSES: dict[int, CodeMeaning] = {
    401: CodeMeaning("auth", stop_lane=True),
    403: CodeMeaning("auth"),
    429: CodeMeaning("rate", RATE_S),
    503: CodeMeaning("provider", BUSY_S),
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
    return _failed(answer, meaning or CodeMeaning("unknown"), said, f"http/{answer.status}")


def _is_twilios(found: dict[str, object]) -> bool:
    """Whether an error document without a code is Twilio's."""
    return payload.text(found.get("message")) is not None and provider_answer.number(found.get("status")) is not None


def message_of(found: dict[str, object], code: int | None) -> str:
    said = payload.text(found.get("message")) or payload.text(found.get("detail"))
    return (said or f"error {'without a code' if code is None else code}")[:ERROR_CHARACTERS_MAX]


def _refused(answer: Response, found: dict[str, object], code: int | None) -> Failed:
    meaning = meaning_of(code) or STATUSES.get(answer.status)
    if meaning is None:
        meaning = CodeMeaning("provider", BUSY_S) if answer.status >= 500 else unknown_code(code)
    return _failed(answer, meaning, message_of(found, code), f"http/{answer.status}" if code is None else str(code))


def _failed(answer: Response, meaning: CodeMeaning, text: str, code: str) -> Failed:
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

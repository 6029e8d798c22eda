"""Viber's answer becomes an outcome. Pure, and never raises.

A status other than 0 is a recorded failure: the message was not taken. An answer without a status is not Viber's and
proves nothing, so the call is not repeated.
"""

from collections.abc import Sequence

from msgspec import Raw

from airy.http_client import Response
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.retry_after import retry_after_s
from airy.sources.viber import bot_api
from airy.sources.viber.error_codes import RATE, meaning_of

RATE_S = 5.0
DETAIL_BYTES_MAX = 8_192
ERROR_CHARACTERS_MAX = 500


def interpret(answers: Sequence[Response]) -> Outcome:
    answer = answers[-1]
    status = bot_api.status_of(answer)
    if status is not None and status != 0:
        return _refused(answer, status)
    if status == 0:
        token = payload.identifier((payload.object_of(answer.body) or {}).get("message_token"))
        return Lost("viber took the message and named no message_token") if token is None else Sent(token)
    if 200 <= answer.status < 300 or answer.status >= 500:
        text = f"viber answered {answer.status} without saying whether it took the message"
        return Lost(provider_answer.said(text, answer))
    code = f"http/{answer.status}"
    if answer.status == 429:
        delay_s = retry_after_s(answer)
        said = provider_answer.said("viber answered 429", answer)
        return Failed(kind="rate", error=said, code=code, again_s=RATE_S if delay_s is None else delay_s)
    text = f"viber answered {answer.status} with something that is not its API's; check api_url"
    return Failed(kind="unknown", error=provider_answer.said(text, answer), code=code)


def _refused(answer: Response, status: int) -> Failed:
    meaning, delay_s = meaning_of(status), retry_after_s(answer)
    asked = delay_s is not None and status == RATE
    return Failed(
        kind=meaning.kind,
        error="; ".join(part for part in (said_of(answer, status), meaning.advice) if part),
        code=str(status),
        detail=Raw(answer.body) if len(answer.body) <= DETAIL_BYTES_MAX else None,
        again_s=delay_s if asked else meaning.again_s,
        stop_lane=meaning.stop_lane,
        attempts_max=None if asked else meaning.attempts_max,
    )


def said_of(answer: Response, status: int) -> str:
    said = payload.text((payload.object_of(answer.body) or {}).get("status_message"))
    return (said or f"status {status}")[:ERROR_CHARACTERS_MAX]

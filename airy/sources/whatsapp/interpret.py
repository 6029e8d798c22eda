"""The Cloud API's answer becomes an outcome. Pure, and never raises: every answer has one meaning.

An answer in which Graph itself refuses is a recorded failure: the message was not taken. An answer that is not Graph's
own proves nothing, so the call is not repeated. What was taken may still fail; its status says so.
"""

from collections.abc import Sequence

from msgspec import Raw

from airy.http_client import Response
from airy.sources import payload, provider_answer
from airy.sources.api import Failed, Lost, Outcome, Sent
from airy.sources.meta import graph, usage
from airy.sources.meta.graph import GraphError
from airy.sources.retry_after import retry_after_s
from airy.sources.whatsapp.error_codes import APP_RATE_CODES, BUSY_S, CODES, STATUSES, ErrorMeaning

DETAIL_BYTES_MAX = 8_192


def interpret(answers: Sequence[Response]) -> Outcome:
    answer = answers[-1]
    found = payload.object_of(answer.body)
    error = graph.error_of(found)
    if error is not None:
        return _refused(answer, error, found or {})
    if 200 <= answer.status < 300:
        return _taken(answer, found)
    meaning = STATUSES.get(answer.status)
    if meaning is None and answer.status >= 500:
        return Lost(_said(answer, f"whatsapp answered {answer.status} without saying whether it took the message"))
    text = f"whatsapp answered {answer.status} without an error we know; check graph_url and graph_version"
    return _failed(answer, meaning or ErrorMeaning("unknown"), _said(answer, text), f"http/{answer.status}")


def _taken(answer: Response, found: dict[str, object] | None) -> Outcome:
    if found is None:
        return Lost(_said(answer, f"whatsapp answered {answer.status}, but not with JSON"))
    messages = found.get("messages")
    first = payload.record(messages[0]) if isinstance(messages, list) and messages else {}
    provider_id = payload.identifier(first.get("id"))
    if provider_id is None:
        return Lost(_said(answer, f"whatsapp answered {answer.status} without a message id"))
    pauses = usage.pauses(answer)
    return Sent(provider_id, pause_s=pauses.account_s, app_pause_s=pauses.app_s)


def _refused(answer: Response, error: GraphError, found: dict[str, object]) -> Failed:
    meaning = None if error.code is None else CODES.get(error.code)
    if error.is_transient and (meaning is None or meaning.again_s is None):
        meaning = ErrorMeaning("provider", BUSY_S)
    if meaning is None:
        busy = ErrorMeaning("provider", BUSY_S)
        meaning = busy if answer.status >= 500 else STATUSES.get(answer.status, ErrorMeaning("unknown"))
    data = payload.record(payload.record(found.get("error")).get("error_data"))
    details = payload.text(data.get("details"))
    said = error.message if details is None or details in error.message else f"{error.message}: {graph.masked(details)}"
    app_wide = meaning.kind == "rate" and error.code in APP_RATE_CODES
    name = error.name or f"http/{answer.status}"
    return _failed(answer, meaning, said[: graph.MESSAGE_CHARACTERS_MAX], name, app_wide=app_wide)


def _failed(answer: Response, meaning: ErrorMeaning, text: str, code: str, *, app_wide: bool = False) -> Failed:
    again_s = meaning.again_s
    if again_s is not None:
        asked_s = retry_after_s(answer)
        again_s = max(again_s if asked_s is None else asked_s, usage.regain_s(answer))
    small = len(answer.body) <= DETAIL_BYTES_MAX and payload.object_of(answer.body) is not None
    return Failed(
        kind=meaning.kind,
        error=text,
        code=code,
        detail=Raw(graph.masked(answer.body.decode()).encode()) if small else None,
        again_s=again_s,
        stop_lane=meaning.stop_lane,
        attempts_max=meaning.attempts_max,
        app_wide=app_wide,
        contact_only=meaning.contact_only,
    )


def _said(answer: Response, text: str) -> str:
    return graph.masked(provider_answer.said(text, answer))

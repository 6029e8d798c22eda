"""Makes a source's calls: the one place where their URL and headers are revealed.

What the client says about a call may quote its address, so errors are raised again with the secrets masked.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from airy.errors import AiryError
from airy.http_client import AddressBlocked, ConnectFailed, HttpClient, Response, ResponseLost
from airy.sources.api import Call, Failed, Lost, Outcome, Source

CALL_S = 15.0  # one provider call


async def call(client: HttpClient, request: Call, *, total_s: float = CALL_S) -> Response:
    """Raises `ConnectFailed`, `ResponseLost`, `AddressBlocked`."""
    failure: AiryError
    try:
        return await client(
            request.method,
            request.url.reveal(),
            headers={name: value.reveal() for name, value in request.headers.items()},
            body=request.body,
            total_s=total_s,
        )
    except ConnectFailed as error:
        failure = ConnectFailed(request.masked(str(error)), retry_after_s=error.retry_after_s)
    except ResponseLost as error:
        failure = ResponseLost(request.masked(str(error)), retry_after_s=error.retry_after_s)
    except AddressBlocked as error:
        failure = AddressBlocked(request.masked(str(error)))
    raise failure


def _always() -> bool:
    return True


async def send(
    client: HttpClient,
    source: Source,
    calls: Sequence[Call],
    now_ms: int,
    *,
    may_deliver: Callable[[], bool] = _always,
) -> Outcome:
    """Makes `calls` in order until one is not a success, and returns what became of the message.

    `may_deliver` is asked right before the last call: preparing calls may have taken too long.
    """
    answers: list[Response] = []
    for number, request in enumerate(calls, start=1):
        if number == len(calls) and not may_deliver():
            return Failed(kind="provider", error="preparing the message at the provider took too long", again_s=0.0)
        try:
            answer = await call(client, request)
        except ConnectFailed as error:
            return Failed(kind="provider", error=str(error), again_s=error.retry_after_s or 0.0)
        except ResponseLost as error:
            if number < len(calls):  # it only prepared: nothing was delivered
                return Failed(kind="provider", error=str(error), again_s=error.retry_after_s or 0.0)
            return Lost(str(error))
        except AddressBlocked as error:
            return Failed(kind="invalid", error=str(error))
        if not 200 <= answer.status < 300:
            answers.append(_without_secrets(answer, request))
            break
        answers.append(answer)
    return _masked(source.interpret(answers, now_ms), calls)


def _without_secrets(answer: Response, request: Call) -> Response:
    """Masked before a source cuts words out of it, unless it is JSON and would be none any more."""
    body = request.masked_bytes(answer.body)
    if body == answer.body or (_is_json(answer.body) and not _is_json(body)):
        return answer
    return replace(answer, body=body)


def _masked(outcome: Outcome, calls: Sequence[Call]) -> Outcome:
    """Providers quote what they refuse."""
    if isinstance(outcome, Failed):
        detail = None if outcome.detail is None else bytes(outcome.detail).decode("utf-8", "replace")
        for request in calls:
            outcome = replace(outcome, error=request.masked(outcome.error))
            detail = None if detail is None else request.masked(detail)
        return replace(outcome, detail=None if detail is None else _json(detail))
    if isinstance(outcome, Lost):
        for request in calls:
            outcome = Lost(request.masked(outcome.reason))
    return outcome


def _json(text: str) -> Raw | None:
    """`text` as it is; None if masking left no JSON: a fact holds it verbatim and could not be read again."""
    body = text.encode()
    return Raw(body) if _is_json(body) else None


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True

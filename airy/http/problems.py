"""Error responses of the HTTP API: one format, rendered in one place.

`{"message": …, "code": …, "fields": [{"field": …, "message": …}]}`: the message is for people, the code for programs,
`fields` names each invalid field. No other module builds an error body, so no error differs in format or reveals more.
"""

import math
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from litestar.exceptions import HTTPException
from msgspec import Struct

from airy import topics
from airy.bus.api import RecordTooLarge
from airy.commands import Conflict, Forbidden, NotFound, TooManyRequests, Unauthenticated, WriteUnconfirmed
from airy.errors import AiryError, Refused, Unavailable
from airy.http.asgi import Send
from airy.http.field_error import FieldError
from airy.live_config.live_config import FingerprintMismatch
from airy.media.storage import NotStored

RETRY_AFTER_S = 1.0
JSON = b"application/json"

Headers = list[tuple[bytes, bytes]]

CODES = {
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timed_out",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "unprocessable",
    429: "rate_limited",
    431: "too_large",
    500: "internal",
    503: "unavailable",
}


class Problem(AiryError):
    """An error response. `headers` are added to it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        fields: Sequence[FieldError] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = tuple(fields)
        self.headers = tuple(headers)


class _ProblemBody(Struct, frozen=True):
    message: str
    code: str
    fields: tuple[FieldError, ...]


def problem_of(error: Exception) -> Problem:
    """The response for `error`. The response to an unexpected error holds nothing of it."""
    match error:
        case Problem():
            return error
        case Refused():
            fields = [FieldError(error.field, str(error), error.offset)] if error.field else []
            return Problem(_status_of(error), str(error), fields=fields)
        case WriteUnconfirmed():
            position = topics.position_token(error.position).encode()
            return Problem(503, str(error), headers=[_retry_after(error), (b"x-airy-position", position)])
        case Unavailable():
            status = 429 if isinstance(error, TooManyRequests) else 503
            return Problem(status, str(error), headers=[_retry_after(error)])
        case HTTPException():
            return Problem(error.status_code, _http_message(error), headers=_raw_headers(error.headers or {}))
        case _:
            return Problem(500, "internal error; the server's log has the reason under this request id")


def render(problem: Problem) -> tuple[int, Headers, bytes]:
    code = CODES.get(problem.status, "error")
    fields = tuple(FieldError(_encodable(each.field), _encodable(each.message), each.offset) for each in problem.fields)
    body = msgspec.json.encode(_ProblemBody(_encodable(problem.message), code, fields))
    headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *problem.headers]
    return problem.status, headers, body


async def send_problem(send: Send, problem: Problem) -> None:
    status, headers, body = render(problem)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def unavailable(message: str, retry_after_s: float = RETRY_AFTER_S) -> Problem:
    return problem_of(Unavailable(message, retry_after_s=retry_after_s))


def _status_of(error: Refused) -> int:
    match error:
        case Unauthenticated():
            return 401
        case NotFound() | NotStored():
            return 404
        case Conflict() | FingerprintMismatch():
            return 409
        case Forbidden():
            return 403
        case RecordTooLarge():
            return 413
        case _:
            return 400


def _retry_after(error: Unavailable) -> tuple[bytes, bytes]:
    wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return b"retry-after", b"%d" % max(1, math.ceil(wait_s))


def _http_message(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "no such path; /schema/openapi.json lists all paths"
        case 405:
            return "method not allowed on this path; the allow header lists the allowed ones"
        case status if status >= 500:
            return "internal error"
        case status:
            return error.detail or HTTPStatus(status).phrase.lower()


def _raw_headers(headers: dict[str, str]) -> Headers:
    skipped = {"content-type", "content-length"}
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.items()
        if name.lower() not in skipped
    ]


def _encodable(text: str) -> str:
    """`text` with unpaired surrogates, which JSON cannot carry, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()

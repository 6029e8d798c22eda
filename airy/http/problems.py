"""Every error the edge answers with, in one shape, rendered in one place.

`{"message": …, "code": …, "fields": [{"field": …, "message": …}]}`: the message is for people, the code for
programs, the fields say what to mend. Nothing else in the edge builds an error body, so no error can look
different or leak more.
"""

import math
from collections.abc import Sequence
from http import HTTPStatus

import msgspec
from litestar.exceptions import HTTPException
from msgspec import Struct

from airy import topics
from airy.actors.commands import Conflict, Forbidden, Unconfirmed, Unknown
from airy.errors import AiryError, Refused, Unavailable

RETRY_AFTER_S = 1.0
JSON = b"application/json"

Headers = list[tuple[bytes, bytes]]

CODES = {
    400: "invalid",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timed_out",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    431: "too_large",
    500: "internal",
    503: "unavailable",
}


class Fault(Struct, frozen=True):
    """One field that is wrong, as a dotted path into the body, and why."""

    field: str
    message: str


class Problem(AiryError):
    """An answer that is an error. `headers` are added to it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.faults = tuple(faults)
        self.headers = tuple(headers)


class _Body(Struct, frozen=True):
    message: str
    code: str
    fields: tuple[Fault, ...]


def problem_of(error: Exception) -> Problem:
    """What the caller is told about `error`. An error nobody foresaw says nothing about itself."""
    match error:
        case Problem():
            return error
        case Refused():
            faults = [Fault(error.field, str(error))] if error.field else []
            return Problem(_status_of(error), str(error), faults=faults)
        case Unconfirmed():
            position = topics.position_token(error.position).encode()
            return Problem(503, str(error), headers=[_retry_after(error), (b"x-airy-position", position)])
        case Unavailable():
            return Problem(503, str(error), headers=[_retry_after(error)])
        case HTTPException():
            return Problem(error.status_code, _http_message(error), headers=_encoded(error.headers or {}))
        case _:
            return Problem(500, "something failed here; the log has the reason under this request id")


def render(problem: Problem) -> tuple[int, Headers, bytes]:
    code = CODES.get(problem.status, "error")
    faults = tuple(Fault(_clean(fault.field), _clean(fault.message)) for fault in problem.faults)
    body = msgspec.json.encode(_Body(_clean(problem.message), code, faults))
    headers = [(b"content-type", JSON), (b"content-length", b"%d" % len(body)), *problem.headers]
    return problem.status, headers, body


def unavailable(message: str, retry_after_s: float = RETRY_AFTER_S) -> Problem:
    return problem_of(Unavailable(message, retry_after_s=retry_after_s))


def _status_of(error: Refused) -> int:
    match error:
        case Unknown():
            return 404
        case Conflict():
            return 409
        case Forbidden():
            return 403
        case _:
            return 400


def _retry_after(error: Unavailable) -> tuple[bytes, bytes]:
    wait_s = RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
    return b"retry-after", b"%d" % max(1, math.ceil(wait_s))


def _http_message(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "no such path; /schema/openapi.json lists them all"
        case 405:
            return "this path does not take that method; the allow header lists those it takes"
        case status if status >= 500:
            return "something failed here"
        case status:
            return error.detail or HTTPStatus(status).phrase.lower()


def _encoded(headers: dict[str, str]) -> Headers:
    skipped = {"content-type", "content-length"}
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.items()
        if name.lower() not in skipped
    ]


def _clean(text: str) -> str:
    """Lone surrogates, which JSON cannot carry, shown as their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()

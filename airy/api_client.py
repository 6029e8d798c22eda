"""A client of Airy's own HTTP API, for the terminal views, the demo and `airy status`.

It maps statuses to errors and knows no endpoint: a response that permits a retry is `Unavailable`, any other error is
`RequestRefused`.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.secret import Secret

RESPONSE_BYTES_MAX = 16_777_216
TOTAL_S = 10.0
CONNECT_S = 2.0
FORBIDDEN = "forbidden"  # the message of the API about credentials; other reasons have their own

T = TypeVar("T")


class RequestRefused(Refused):
    """A response with an error status that permits no retry."""

    def __init__(
        self, message: str, *, status: int, reason: str = "", invalid: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason or message  # in the words of the API
        self.invalid = invalid or {}  # what is wrong with each invalid field


class _InvalidField(Struct, frozen=True):
    field: str = ""
    message: str = ""


class _ErrorMessage(Struct, frozen=True):
    message: str = ""
    fields: list[_InvalidField] = []


class ApiClient:
    def __init__(self, http: HttpClient, url: str, token: Secret | None) -> None:
        self.url = url.rstrip("/")
        self._http = http
        self._headers = {"content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token.reveal()}"

    async def call(self, path: str, body: object, shape: type[T], *, headers: Mapping[str, str] | None = None) -> T:
        """`POST path`; the response decoded as `shape`. Raises `RequestRefused`, `Refused`, `Unavailable`."""
        response = await self._request("POST", path, headers or {}, msgspec.json.encode(body))
        self._check(path, response)
        return _decode(path, response, shape)

    async def get(self, path: str, shape: type[T], *, may_fail: bool = False) -> T:
        """`GET path`. `may_fail`: decode responses with an error status too, as of health probes."""
        response = await self._request("GET", path, {}, None)
        if not may_fail:
            self._check(path, response)
        return _decode(path, response, shape)

    async def text(self, path: str) -> str:
        response = await self._request("GET", path, {}, None)
        self._check(path, response)
        return response.body.decode("utf-8", "replace")

    async def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        return await self._http(
            method,
            f"{self.url}{path}",
            headers={**self._headers, **headers},
            body=body,
            connect_s=CONNECT_S,
            total_s=TOTAL_S,
            body_bytes_max=RESPONSE_BYTES_MAX,
        )

    def _check(self, path: str, response: Response) -> None:
        if response.status < 400:
            return
        reason = f"{path} answered {response.status}: {_message(response) or 'without a reason'}"
        if response.status >= 500 or response.status in (408, 429):
            raise Unavailable(reason, retry_after_s=response.retry_after_s())
        if response.status == 403 and "authorization" not in self._headers:
            reason += "; no token was sent: pass --token, or --data with the data directory of the instance"
        told = _error_message(response)
        if response.status == 403 and told.message == FORBIDDEN and "authorization" in self._headers:
            reason += ": the token is not valid, or has no permission for this"
        invalid = {each.field: each.message for each in told.fields}
        raise RequestRefused(reason, status=response.status, reason=told.message, invalid=invalid)


def _message(response: Response) -> str:
    """The message of an error response, and what it does not say of the invalid fields."""
    problem = _error_message(response)
    unnamed = [f"{each.field}: {each.message}" for each in problem.fields if each.message not in problem.message]
    return "; ".join([problem.message, *unnamed])


def _error_message(response: Response) -> _ErrorMessage:
    """Empty, if the response has none."""
    try:
        return msgspec.json.decode(response.body, type=_ErrorMessage)
    except msgspec.MsgspecError:
        return _ErrorMessage()


def _decode(path: str, response: Response, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(response.body or b"null", type=shape, strict=False)
    except msgspec.MsgspecError as error:
        raise Refused(f"{path} returned an invalid response: {error}") from error

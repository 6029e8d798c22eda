"""A client of Airy's own HTTP API, for what is not the server: terminal views, demonstration, status.

It knows how to ask and what the status of an answer means, and no endpoint. Errors keep their meaning
across the wire: what may be asked again is `Unavailable`, what is wrong with the question is `Refused`.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from airy.errors import Refused, Unavailable
from airy.fetch import Answer, Fetch
from airy.secret import Secret

ANSWER_BYTES_MAX = 16_777_216
TOTAL_S = 10.0
CONNECT_S = 2.0

T = TypeVar("T")


class _Message(Struct, frozen=True):
    message: str = ""


class Client:
    def __init__(self, fetch: Fetch, url: str, token: Secret | None) -> None:
        self.url = url.rstrip("/")
        self._fetch = fetch
        self._headers = {"content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token.reveal()}"

    async def call(self, path: str, body: object, shape: type[T], *, headers: Mapping[str, str] | None = None) -> T:
        """`POST path`, and the answer as `shape`. Raises `Refused`, `Unavailable`."""
        answer = await self._ask("POST", path, headers or {}, msgspec.json.encode(body))
        _check(path, answer)
        return _decode(path, answer, shape)

    async def get(self, path: str, shape: type[T], *, may_fail: bool = False) -> T:
        """`GET path`. `may_fail`: an error status is an answer too, as when health says it is not well."""
        answer = await self._ask("GET", path, {}, None)
        if not may_fail:
            _check(path, answer)
        return _decode(path, answer, shape)

    async def text(self, path: str) -> str:
        answer = await self._ask("GET", path, {}, None)
        _check(path, answer)
        return answer.body.decode("utf-8", "replace")

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return await self._fetch(
            method,
            f"{self.url}{path}",
            headers={**self._headers, **headers},
            body=body,
            connect_s=CONNECT_S,
            total_s=TOTAL_S,
            body_bytes_max=ANSWER_BYTES_MAX,
        )


def _check(path: str, answer: Answer) -> None:
    if answer.status < 400:
        return
    reason = f"{path} answered {answer.status}: {_message(answer) or 'without a reason'}"
    if answer.status >= 500 or answer.status in (408, 429):
        after = answer.headers.get("retry-after", "")
        raise Unavailable(reason, retry_after_s=float(after) if after.isdigit() else None)
    raise Refused(reason)


def _message(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=_Message).message
    except msgspec.MsgspecError:
        return ""


def _decode(path: str, answer: Answer, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body or b"null", type=shape, strict=False)
    except msgspec.MsgspecError as error:
        raise Refused(f"{path} did not answer what it should: {error}") from error

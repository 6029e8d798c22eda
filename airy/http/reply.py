"""Answers made once, without the framework's response machinery."""

import msgspec
from litestar.response.base import ASGIResponse


def json_reply(body: object, status: int = 200, headers: dict[str, str] | None = None) -> ASGIResponse:
    """`body` as JSON; None is no body at all."""
    encoded = b"" if body is None else msgspec.json.encode(body)
    return ASGIResponse(body=encoded, status_code=status, headers=headers or {}, media_type="application/json")

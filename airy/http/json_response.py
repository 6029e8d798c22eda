"""JSON responses encoded by msgspec, without Litestar's response handling."""

import msgspec
from litestar.response.base import ASGIResponse


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> ASGIResponse:
    """`body` as JSON; None: an empty body."""
    encoded = b"" if body is None else msgspec.json.encode(body)
    return ASGIResponse(body=encoded, status_code=status, headers=headers or {}, media_type="application/json")

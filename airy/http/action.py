"""An action: one `POST /<resource>.<verb>` as a value, and the steps that are the same for every action.

A handler is a function from a typed body to a `Reply`. This module reads and validates the body, waits for the
positions the caller presents, and returns the position of the write.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from litestar import Request
from litestar.handlers import HTTPRouteHandler, post
from litestar.response.base import ASGIResponse
from msgspec import Struct

from airy import topics
from airy.bus.record import Position
from airy.commands import RequestContext
from airy.errors import Refused
from airy.http.asgi import RawHeaders, Receive
from airy.http.auth import ANONYMOUS, PERMISSION, Permission
from airy.http.json_response import json_response
from airy.http.ports import ApiContext
from airy.http.problems import unavailable
from airy.http.request_bodies import BodyReader, LongText, Text, convert, json_object

B = TypeVar("B", bound=Struct)

POSITIONS_MAX = 32
KEY_CHARS_MAX = 256
POSITION_HEADER = "x-airy-position"
KEY_HEADER = "idempotency-key"


class NoBody(Struct, frozen=True):
    """The body of an action without parameters."""


class CommonFields(Struct, frozen=True):
    """Fields that every body may have; headers of the same meaning exist."""

    position: LongText | None = None
    idempotency_key: Text | None = None


class Reply(Struct, frozen=True):
    """`body` None: an empty response. `position` and `more_positions` are those of the records the action wrote."""

    body: object = None
    position: Position | None = None
    more_positions: Sequence[Position] = ()


class ActionRequest(Struct, Generic[B], frozen=True):
    """A validated request."""

    body: B
    context: RequestContext


Handler = Callable[[ApiContext, ActionRequest[B]], Awaitable[Reply]]


class Action(Struct, frozen=True, kw_only=True):
    paths: tuple[str, ...]  # the first is the action's name, the others are older spellings
    permission: Permission
    status: int
    body: type[Struct]
    returns: Any  # the schema of the response body; None: it has none
    summary: str
    handler: Handler[Any]


def action(
    *paths: str,
    permission: Permission,
    body: type[B],
    returns: Any = None,
    status: int = 200,
) -> Callable[[Handler[B]], Action]:
    """Decorator: make an `Action` of a handler; its docstring becomes the summary."""

    def make(handler: Handler[B]) -> Action:
        summary = " ".join((handler.__doc__ or "").split())
        return Action(
            paths=paths,
            permission=permission,
            status=status,
            body=body,
            returns=returns,
            summary=summary,
            handler=handler,
        )

    return make


def route(action: Action, api: ApiContext, reader: BodyReader) -> HTTPRouteHandler:
    """The Litestar handler of an action."""

    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        headers = cast("RawHeaders", request.scope["headers"])
        request_id = cast("str", request.scope["state"]["request_id"])
        fields = json_object(await reader.read(cast("Receive", request.receive), headers), headers)
        body = convert(fields, action.body)
        common = convert(fields, CommonFields)
        caller = request.scope.get("user") or ANONYMOUS
        context = RequestContext(caller=caller.id, request_id=request_id, key=_idempotency_key(headers, common))
        await _wait_for_positions(api, _position_tokens(headers, common))
        return _response(await action.handler(api, ActionRequest(body, context)), action.status)

    return post(list(action.paths), opt={PERMISSION: action.permission}, name=action.paths[0])(handle)


def _response(reply: Reply, status: int) -> ASGIResponse:
    positions = (*([reply.position] if reply.position else ()), *reply.more_positions)
    headers = {POSITION_HEADER: ",".join(map(topics.position_token, positions))} if positions else None
    return json_response(reply.body, status, headers)


async def _wait_for_positions(api: ApiContext, tokens: list[str]) -> None:
    """Return once the store holds every position the caller presents (G6).

    Raises `Problem` 503 after `read_wait_s`, and at once while the store has not caught up since the start.
    """
    if not api.caught_up():
        raise unavailable("this replica is still folding the log: retry, or ask another replica")
    for token in tokens:
        position = topics.parse_position_token(token)
        if not await api.wait_for_position(position, api.read_wait_s):
            raise unavailable(f"this replica has not reached position {token} within {api.read_wait_s:g} s")


def _position_tokens(headers: RawHeaders, common: CommonFields) -> list[str]:
    tokens = [token.strip() for part in _values(headers, POSITION_HEADER, common.position) for token in part.split(",")]
    if len(tokens) > POSITIONS_MAX:
        raise Refused(f"at most {POSITIONS_MAX} positions", field="position")
    return [token for token in tokens if token]


def _idempotency_key(headers: RawHeaders, common: CommonFields) -> str | None:
    keys = set(_values(headers, KEY_HEADER, common.idempotency_key))
    if len(keys) > 1:
        raise Refused("two different idempotency keys", field="idempotency_key")
    key = keys.pop() if keys else None
    if key is not None and not 0 < len(key) <= KEY_CHARS_MAX:
        raise Refused(f"must have 1 to {KEY_CHARS_MAX} characters", field="idempotency_key")
    return key


def _values(headers: RawHeaders, name: str, in_body: str | None) -> list[str]:
    """Every value of a header, and the body's field of the same meaning."""
    encoded_name = name.encode()
    values = [value.decode("latin-1") for header, value in headers if header == encoded_name]
    return values if in_body is None else [*values, in_body]

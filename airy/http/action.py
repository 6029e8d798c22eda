"""An action: one `POST /<resource>.<verb>` as a value, and what happens around each of them.

Handlers are plain functions from a typed body to an answer; reading and checking the body, waiting for a
position, the position of the write and the id of the request are the same for all and live here.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from litestar import Request
from litestar.handlers import HTTPRouteHandler, post
from litestar.response.base import ASGIResponse
from msgspec import Struct

from airy import topics
from airy.actors.commands import Cause
from airy.bus.record import Position
from airy.errors import Refused
from airy.http import bodies
from airy.http.asgi import RawHeaders, Receive
from airy.http.auth import ANONYMOUS, PERMISSION, Permission
from airy.http.ports import Edge
from airy.http.problems import unavailable
from airy.http.reply import json_reply

B = TypeVar("B", bound=Struct)

POSITIONS_MAX = 32
KEY_CHARS_MAX = 256
POSITION_HEADER = "x-airy-position"
KEY_HEADER = "idempotency-key"


class Nothing(Struct, frozen=True):
    """The body of an action that takes none."""


class Common(Struct, frozen=True):
    """What any body may hold, besides headers of the same meaning."""

    position: bodies.LongText | None = None
    idempotency_key: bodies.Text | None = None


class Answer(Struct, frozen=True):
    """`body` None is an empty one; `position` is that of the write this answers, `also` those beside it."""

    body: object = None
    position: Position | None = None
    also: Sequence[Position] = ()


class Call(Struct, Generic[B], frozen=True):
    """One request, read and checked."""

    body: B
    cause: Cause


Handler = Callable[[Edge, Call[B]], Awaitable[Answer]]


class Action(Struct, frozen=True, kw_only=True):
    paths: tuple[str, ...]  # the first is its name, the others older spellings
    permission: Permission
    status: int
    body: type[Struct]
    returns: Any  # the shape of the answer's body; None: it has none
    summary: str
    handler: Handler[Any]


def action(
    *paths: str,
    permission: Permission,
    body: type[B],
    returns: Any = None,
    status: int = 200,
) -> Callable[[Handler[B]], Action]:
    """Make an `Action` of a handler; its docstring becomes the summary."""

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


def route(of: Action, edge: Edge, reader: bodies.BodyReader) -> HTTPRouteHandler:
    """The Litestar handler of an action."""

    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        headers = cast("RawHeaders", request.scope["headers"])
        request_id = cast("str", request.scope["state"]["request_id"])
        document = bodies.document(await reader.read(cast("Receive", request.receive), headers), headers)
        body = bodies.convert(document, of.body)
        common = bodies.convert(document, Common)
        caller = request.scope.get("user") or ANONYMOUS
        cause = Cause(caller=caller.id, request_id=request_id, key=_key(headers, common))
        await _catch_up(edge, _positions(headers, common))
        return _response(await of.handler(edge, Call(body, cause)), of.status)

    return post(list(of.paths), opt={PERMISSION: of.permission}, name=of.paths[0])(handle)


def _response(answer: Answer, status: int) -> ASGIResponse:
    positions = (*([answer.position] if answer.position else ()), *answer.also)
    headers = {POSITION_HEADER: ",".join(map(topics.position_token, positions))} if positions else None
    return json_reply(answer.body, status, headers)


async def _catch_up(edge: Edge, tokens: list[str]) -> None:
    """Wait until the store holds what the caller has already seen (G6); half a log answers nobody."""
    if not edge.caught_up():
        raise unavailable("this replica is folding the log, and does not know everything yet: ask again, or another")
    for token in tokens:
        position = topics.parse_position_token(token)
        if not await edge.reached(position, edge.read_wait_s):
            raise unavailable(f"this replica has not reached position {token} within {edge.read_wait_s:g} s")


def _positions(headers: RawHeaders, common: Common) -> list[str]:
    tokens = [token.strip() for part in _values(headers, POSITION_HEADER, common.position) for token in part.split(",")]
    if len(tokens) > POSITIONS_MAX:
        raise Refused(f"at most {POSITIONS_MAX} positions", field="position")
    return [token for token in tokens if token]


def _key(headers: RawHeaders, common: Common) -> str | None:
    keys = set(_values(headers, KEY_HEADER, common.idempotency_key))
    if len(keys) > 1:
        raise Refused("two different idempotency keys", field="idempotency_key")
    key = keys.pop() if keys else None
    if key is not None and not 0 < len(key) <= KEY_CHARS_MAX:
        raise Refused(f"must have 1 to {KEY_CHARS_MAX} characters", field="idempotency_key")
    return key


def _values(headers: RawHeaders, name: str, in_body: str | None) -> list[str]:
    """What was given under a header, however often, and in the body."""
    wanted = name.encode()
    given = [value.decode("latin-1") for header, value in headers if header == wanted]
    return given if in_body is None else [*given, in_body]

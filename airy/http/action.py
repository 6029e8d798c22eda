"""An action: one `POST /<resource>.<verb>` as a value, and the steps that are the same for every action.

A handler is a function from a typed request to a `Reply`. This module has the body read and validated (see
body_kinds.py), waits for the positions the caller presents, and returns the position of the write.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar, cast, overload

from litestar import Request
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import Struct

from airy import topics
from airy.bus.record import Position
from airy.commands import NotFound, RequestContext, UserProfile
from airy.errors import Refused
from airy.http.asgi import RawHeaders, Receive
from airy.http.audit import audited, is_audited
from airy.http.auth import PERMISSION, UNAUTHENTICATED, Caller, CallerKind, Permission, forbidden
from airy.http.body_kinds import BodyKind, BodySource, CommonFields, JsonObject
from airy.http.body_reader import BodyReader
from airy.http.json_response import json_response
from airy.http.path_template import NoPath, litestar_path
from airy.http.ports import ApiContext
from airy.http.problems import Problem, unavailable
from airy.http.request_bodies import convert

B = TypeVar("B")
S = TypeVar("S", bound=Struct)

Method = Literal["GET", "POST"]

POSITIONS_MAX = 32
KEY_CHARS_MAX = 256
POSITION_HEADER = "x-airy-position"
KEY_HEADER = "idempotency-key"


class Reply(Struct, frozen=True):
    """`body` None: an empty response. `position` and `more_positions` are those of the records the action wrote."""

    body: object = None
    position: Position | None = None
    more_positions: Sequence[Position] = ()
    status: int | None = None  # if it is not the action's


class ActionRequest(Struct, Generic[B], frozen=True):
    """A validated request. `path` is an instance of the action's `path`: the parameters of its URL.

    `origin` is that of the page that made it, where only a route that takes `any_origin` is given it; None for pages of
    allowed origins, and for programs.
    """

    body: B
    context: RequestContext
    caller: Caller = UNAUTHENTICATED
    path: Any = NoPath()
    origin: str | None = None


Handler = Callable[[ApiContext, ActionRequest[B]], Awaitable[Reply]]


class Action(Struct, frozen=True, kw_only=True):
    paths: tuple[str, ...]  # the first is the action's name, the others are older spellings
    method: Method
    permission: Permission
    status: int
    other_statuses: tuple[int, ...]  # of a success with the same body
    body: BodyKind[Any]
    path: type[Struct]  # of the parameters in `paths`, as `{name}`
    returns: Any  # the schema of the response body; None: it has none
    summary: str
    handler: Handler[Any]
    any_origin: bool = False  # the handler checks the origin; callers of another one have no cookies


@overload
def action(
    *paths: str,
    permission: Permission,
    body: type[S],
    returns: Any = None,
    status: int = 200,
    other_statuses: tuple[int, ...] = (),
    method: Method = "POST",
    path: type[Struct] = NoPath,
    any_origin: bool = False,
) -> Callable[[Handler[S]], Action]: ...
@overload
def action(
    *paths: str,
    permission: Permission,
    body: BodyKind[B],
    returns: Any = None,
    status: int = 200,
    other_statuses: tuple[int, ...] = (),
    method: Method = "POST",
    path: type[Struct] = NoPath,
    any_origin: bool = False,
) -> Callable[[Handler[B]], Action]: ...
def action(
    *paths: str,
    permission: Permission,
    body: type[Struct] | BodyKind[Any],
    returns: Any = None,
    status: int = 200,
    other_statuses: tuple[int, ...] = (),
    method: Method = "POST",
    path: type[Struct] = NoPath,
    any_origin: bool = False,
) -> Callable[[Handler[Any]], Action]:
    """Decorator: make an `Action` of a handler; its docstring becomes the summary. A struct means a JSON object."""

    def make(handler: Handler[Any]) -> Action:
        summary = " ".join((handler.__doc__ or "").split())
        return Action(
            paths=paths,
            method=method,
            permission=permission,
            status=status,
            other_statuses=other_statuses,
            body=body if isinstance(body, BodyKind) else JsonObject(body),
            path=path,
            returns=returns,
            summary=summary,
            handler=handler,
            any_origin=any_origin,
        )

    return make


def route(action: Action, api: ApiContext, reader: BodyReader) -> HTTPRouteHandler:
    """The Litestar handler of an action."""

    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        headers = cast("RawHeaders", request.scope["headers"])
        request_id = cast("str", request.scope["state"]["request_id"])
        path = _path_parameters(action, request.scope["path_params"])
        body, common = await action.body.read(BodySource(reader, cast("Receive", request.receive), headers))
        caller = cast("Caller", request.scope.get("user") or UNAUTHENTICATED)
        origin = cast("str | None", request.scope["state"].get("origin"))
        if origin is not None and caller.by_cookie:
            raise forbidden()
        context = RequestContext(caller=caller.id, request_id=request_id, key=_idempotency_key(headers, common))
        await _wait_for_positions(api, _position_tokens(headers, common))
        if caller.kind is CallerKind.USER and action.permission is not Permission.READ:
            await api.commands.users.seen(_profile(caller))
        request_of = ActionRequest(body, context, caller, path, origin)
        if not is_audited(action.permission, action.paths[0]):
            return _response(await action.handler(api, request_of), action.status)
        async with audited(api.commands.audit, action.paths[0], caller, request_id, body) as outcome:
            reply = await action.handler(api, request_of)
            outcome.answer, outcome.status = reply.body, reply.status or action.status
        return _response(reply, action.status)

    return HTTPRouteHandler(
        [litestar_path(path) for path in action.paths],
        http_method=HttpMethod(action.method),
        opt={PERMISSION: action.permission},
        name=action.paths[0],
    )(handle)


def _profile(caller: Caller) -> UserProfile:
    return UserProfile(id=caller.id, name=caller.name or None, avatar_url=caller.claims.get("picture"))


def _path_parameters(action: Action, given: Mapping[str, object]) -> Struct:
    """Raises `NotFound` for a parameter that cannot name anything, such as an id that is no UUID."""
    try:
        return convert(given, action.path)
    except Problem as problem:
        raise NotFound(problem.message, field=problem.fields[0].field) from problem


def _response(reply: Reply, status: int) -> ASGIResponse:
    positions = (*([reply.position] if reply.position else ()), *reply.more_positions)
    headers = {POSITION_HEADER: ",".join(map(topics.position_token, positions))} if positions else None
    return json_response(reply.body, reply.status or status, headers)


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

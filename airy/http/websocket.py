"""Websocket routes as values, behind the same checks as every action: permission, trace, a limit on open sessions.

A request that fails a check is answered with an HTTP problem before the handshake is accepted. `RootAsgiApp` has
checked the origin before.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from msgspec import Struct

from airy.bug_fields import bug_fields
from airy.errors import AiryError
from airy.http.admission import AdmissionControl, AdmissionLimits
from airy.http.asgi import RawHeaders, Receive, Scope, Send
from airy.http.auth import UNAUTHENTICATED, Caller, Guard, Permission, forbidden, is_authorised
from airy.http.path_template import NoPath, pattern
from airy.http.ports import ApiContext
from airy.http.problems import Problem, problem_of, send_problem, unavailable
from airy.http.request_bodies import convert

CLOSE_NORMAL = 1000
CLOSE_POLICY_VIOLATION = 1008
CLOSE_TOO_BIG = 1009
CLOSE_INTERNAL_ERROR = 1011
CLOSE_TRY_AGAIN_LATER = 1013
CLOSE_REASON_BYTES_MAX = 123

log = structlog.get_logger("airy.http")


class WebsocketLimits(Struct, frozen=True, kw_only=True):
    sessions_max: int = 10_000  # open at once in this process
    unauthenticated_max: int = 500  # of them, those whose client has not authenticated itself yet; at most half
    message_bytes_max: int = 65_536  # of a message from the client


class WebsocketClosed(AiryError):
    """The client closed the session, or the connection is lost."""


class WebsocketSession:
    """An accepted websocket. It sends text, and receives text or binary messages, which mean the same.

    One task receives, any number of tasks may send.

    `caller` is None until `authorise` has succeeded, on a route that authenticates in its protocol.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        handshake: "Handshake",
        authorise: Callable[[RawHeaders], Awaitable[Caller]],
        message_bytes_max: int,
    ) -> None:
        self.caller = handshake.caller
        self.path: Any = handshake.path  # an instance of the route's `path`
        self.query: Any = handshake.query  # what the route's `parse_query` returned
        self.origin = handshake.origin  # of the page; None: an allowed one, or a program
        self._headers = handshake.headers
        self._authorise = authorise
        self._receive = receive
        self._send = send
        self.message_bytes_max = message_bytes_max
        self._closed = False

    async def authorise(self, authorization: str | None = None) -> Caller:
        """Check the credentials of the handshake once more, or with another `Authorization` in place of its own.

        Raises `Problem` 403 as the guard does.
        """
        headers = self._headers
        if authorization is not None:
            own = (b"authorization", authorization.encode("utf-8", "replace"))
            headers = (*(each for each in headers if each[0] != b"authorization"), own)
        self.caller = await self._authorise(headers)
        self._headers = headers
        return self.caller

    async def still_authorised(self) -> bool:
        """Whether the credentials are valid, as far as that can be told at present."""
        return await is_authorised(self.authorise)

    async def receive(self) -> bytes:
        """The next message, UTF-8 if it is text. Raises `WebsocketClosed`; closes the session on one that is too long.

        Clients without text messages that may contain NUL, such as those of React Native, send STOMP as binary ones.
        """
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise WebsocketClosed("the client disconnected")
        text: str | None = message.get("text")
        content: bytes = message["bytes"] if text is None else text.encode("utf-8", "replace")
        if len(content) > self.message_bytes_max:
            await self.close(CLOSE_TOO_BIG, f"a message has at most {self.message_bytes_max} bytes")
            raise WebsocketClosed("the message is too long")
        return content

    async def send(self, text: str) -> None:
        """Raises `WebsocketClosed`."""
        try:
            await self._send({"type": "websocket.send", "text": text})
        except OSError as error:
            raise WebsocketClosed("the client disconnected") from error

    async def close(self, code: int = CLOSE_NORMAL, reason: str = "") -> None:
        """Without effect on a session that is closed, or whose connection is lost."""
        if self._closed:
            return
        self._closed = True
        cut = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode("utf-8", "ignore")
        with suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": cut})


WebsocketHandler = Callable[[ApiContext, WebsocketSession], Awaitable[None]]


class WebsocketRoute(Struct, frozen=True, kw_only=True):
    path_template: str  # parameters as `{name}`
    permission: Permission
    summary: str
    handler: WebsocketHandler
    path: type[Struct] = NoPath  # of the parameters
    subprotocols: tuple[str, ...] = ()  # in the order of preference
    parse_query: Callable[[str], Any] = str  # raises `Problem` or `Refused`, which reject the handshake
    any_origin: bool = False  # the handler checks the origin; callers of another one have no cookies
    authenticates_later: bool = False  # a handshake without credentials is accepted; the handler checks the permission


class Handshake(Struct, frozen=True):
    """A handshake that passed every check. `caller` is None if the route authenticates later."""

    route: WebsocketRoute
    path: Struct
    query: Any
    headers: RawHeaders
    caller: Caller | None
    subprotocol: str | None
    origin: str | None = None


class WebsocketRouter:
    """Serves websocket routes. `headers` of a handshake are added to its response."""

    def __init__(
        self, api: ApiContext, guard: Guard, routes: Iterable[WebsocketRoute], limits: WebsocketLimits | None = None
    ) -> None:
        self._api = api
        self._guard = guard
        self._routes = [(pattern(route.path_template), route) for route in routes]
        self.limits = limits or WebsocketLimits()
        self._admission = _at_most(self.limits.sessions_max)
        half = (self.limits.sessions_max + 1) // 2
        self._unauthenticated = _at_most(min(self.limits.unauthenticated_max, half))
        self.sessions = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """`scope` is that of a websocket whose `websocket.connect` is not received yet."""
        await receive()
        try:
            handshake = await self._check(scope)
            admitted = await self._admit(handshake)
        except Exception as error:  # noqa: BLE001 - every error becomes a response; a bug is logged as well
            await reject(scope, send, _logged(error, scope), headers)
            return
        self.sessions += 1

        async def authorise(given: RawHeaders) -> Caller:
            caller = await self._guard.authorised(given, handshake.route.permission, scope)
            admitted.authenticated()
            return caller

        try:
            await send({"type": "websocket.accept", "headers": list(headers), "subprotocol": handshake.subprotocol})
            session = WebsocketSession(receive, send, handshake, authorise, self.limits.message_bytes_max)
            await self._handle(handshake.route, session, scope)
        finally:
            self.sessions -= 1
            admitted.end()

    async def _check(self, scope: Scope) -> Handshake:
        """Match and authorise a handshake. Raises `Problem`."""
        route, parameters = self._match(scope["path"])
        path, headers = convert(parameters, route.path), scope["headers"]
        caller: Caller | None = UNAUTHENTICATED
        if route.permission is Permission.OPEN:
            self._guard.clients.check(scope)
        else:
            caller = await self._caller(route, scope)
        offered = scope.get("subprotocols", ())
        return Handshake(
            route=route,
            path=path,
            query=route.parse_query(scope.get("query_string", b"").decode("latin-1")),
            headers=tuple(headers),
            caller=caller,
            subprotocol=next((each for each in route.subprotocols if each in offered), None),
            origin=scope["state"].get("origin"),
        )

    async def _caller(self, route: WebsocketRoute, scope: Scope) -> Caller | None:
        """A handshake with a bad token is rejected on every route; cookies are sent by the browser unasked."""
        headers: RawHeaders = scope["headers"]
        try:
            caller = await self._guard.authorised(headers, route.permission, scope)
            _check_cookies(scope["state"].get("origin"), caller)
        except Problem as problem:
            has_token = any(name == b"authorization" for name, _ in headers)
            if problem.status != 403 or has_token or not route.authenticates_later:
                raise
            return None
        return caller

    async def _admit(self, handshake: Handshake) -> "_Admitted":
        if not await self._admission.try_acquire():
            raise unavailable("too many websocket sessions are open")
        if handshake.caller is not None:
            return _Admitted(self._admission, None)
        if not await self._unauthenticated.try_acquire():
            self._admission.release()
            raise unavailable("too many websocket sessions are not authenticated yet")
        return _Admitted(self._admission, self._unauthenticated)

    async def _handle(self, route: WebsocketRoute, session: WebsocketSession, scope: Scope) -> None:
        try:
            await route.handler(self._api, session)
        except Exception as error:  # noqa: BLE001 - a bug in a handler ends its session only
            if _only_closed(error):
                return
            _logged(error, scope)
            await session.close(CLOSE_INTERNAL_ERROR, "internal error")
        else:
            await session.close()

    def _match(self, path: str) -> tuple[WebsocketRoute, Mapping[str, str]]:
        for paths, route in self._routes:
            if found := paths.fullmatch(path):
                return route, found.groupdict()
        raise Problem(404, "no such path; /schema/openapi.json lists all paths")


def _only_closed(error: BaseException) -> bool:
    """Several tasks of a session may find at once that it is closed."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_closed, error.exceptions))
    return isinstance(error, WebsocketClosed)


def _check_cookies(origin: str | None, caller: Caller) -> None:
    if origin is not None and caller.by_cookie:
        raise forbidden()


class _Admitted:
    """The admissions that a session holds."""

    def __init__(self, session: AdmissionControl, unauthenticated: AdmissionControl | None) -> None:
        self._session = session
        self._unauthenticated = unauthenticated

    def authenticated(self) -> None:
        if self._unauthenticated is not None:
            self._unauthenticated.release()
            self._unauthenticated = None

    def end(self) -> None:
        self.authenticated()
        self._session.release()


def _at_most(in_flight_max: int) -> AdmissionControl:
    """Admits at once or not at all."""
    return AdmissionControl(AdmissionLimits(in_flight_max=in_flight_max, queue_max=0))


async def reject(scope: Scope, send: Send, problem: Problem, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Answer a handshake with a problem. A server without the ASGI extension for it answers 403 without a body."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": CLOSE_NORMAL})
        return

    async def respond(message: Any) -> None:
        more = {"headers": [*message["headers"], *headers]} if "headers" in message else {}
        await send({**message, **more, "type": f"websocket.{message['type']}"})

    await send_problem(respond, problem)


def _logged(error: Exception, scope: Scope) -> Problem:
    problem = problem_of(error)
    if problem.status == 500:
        log.error("websocket.failed", path=scope["path"], request_id=scope["state"]["request_id"], **bug_fields(error))
    return problem

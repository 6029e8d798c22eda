"""Websocket routes as values, behind the same checks as every action: permission, trace, a limit on open sessions.

A request that fails a check is answered with an HTTP problem before the handshake is accepted. `RootAsgiApp` has
checked the origin before.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from msgspec import Struct

from airy.errors import AiryError
from airy.http.admission import AdmissionControl, AdmissionLimits
from airy.http.asgi import Receive, Scope, Send
from airy.http.auth import UNAUTHENTICATED, Caller, Guard, Permission
from airy.http.path_template import NoPath, pattern
from airy.http.ports import ApiContext
from airy.http.problems import Problem, problem_of, send_problem, unavailable
from airy.http.request_bodies import convert

CLOSE_NORMAL = 1000
CLOSE_TOO_BIG = 1009
CLOSE_INTERNAL_ERROR = 1011

log = structlog.get_logger("airy.http")


class WebsocketLimits(Struct, frozen=True, kw_only=True):
    sessions_max: int = 512  # open at once in this process
    message_bytes_max: int = 65_536  # of a message from the client


class WebsocketClosed(AiryError):
    """The client closed the session, or the connection is lost."""


class WebsocketSession:
    """An accepted websocket. Messages are text; one task receives, any number of tasks may send."""

    def __init__(self, receive: Receive, send: Send, caller: Caller, path: Any, message_bytes_max: int) -> None:
        self.caller = caller
        self.path = path  # an instance of the route's `path`
        self._receive = receive
        self._send = send
        self._bytes_max = message_bytes_max

    async def receive(self) -> str:
        """The next message. Raises `WebsocketClosed`; closes the session on a message that is binary or too long."""
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise WebsocketClosed("the client disconnected")
        text: str | None = message.get("text")
        if text is None or len(text.encode("utf-8", "surrogatepass")) > self._bytes_max:
            await self.close(CLOSE_TOO_BIG, f"messages are text of at most {self._bytes_max} bytes")
            raise WebsocketClosed("the message is binary or too long")
        return text

    async def send(self, text: str) -> None:
        """Raises `WebsocketClosed`."""
        try:
            await self._send({"type": "websocket.send", "text": text})
        except OSError as error:
            raise WebsocketClosed("the client disconnected") from error

    async def close(self, code: int = CLOSE_NORMAL, reason: str = "") -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


WebsocketHandler = Callable[[ApiContext, WebsocketSession], Awaitable[None]]


class WebsocketRoute(Struct, frozen=True, kw_only=True):
    path_template: str  # parameters as `{name}`
    permission: Permission
    summary: str
    handler: WebsocketHandler
    path: type[Struct] = NoPath  # of the parameters


class WebsocketRouter:
    """Serves websocket routes. `headers` of a handshake are added to its response."""

    def __init__(
        self, api: ApiContext, guard: Guard, routes: Iterable[WebsocketRoute], limits: WebsocketLimits | None = None
    ) -> None:
        self._api = api
        self._guard = guard
        self._routes = [(pattern(route.path_template), route) for route in routes]
        self.limits = limits or WebsocketLimits()
        self._admission = AdmissionControl(AdmissionLimits(in_flight_max=self.limits.sessions_max, queue_max=0))
        self.sessions = 0

    async def serve(self, scope: Scope, receive: Receive, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """`scope` is that of a websocket whose `websocket.connect` is not received yet."""
        await receive()
        try:
            route, path, caller = await self._check(scope)
        except Exception as error:  # noqa: BLE001 - every error becomes a response; a bug is logged as well
            await reject(scope, send, _logged(error, scope), headers)
            return
        self.sessions += 1
        try:
            await send({"type": "websocket.accept", "headers": list(headers)})
            session = WebsocketSession(receive, send, caller, path, self.limits.message_bytes_max)
            await self._handle(route, session, scope)
        finally:
            self.sessions -= 1
            self._admission.release()

    async def _check(self, scope: Scope) -> tuple[WebsocketRoute, Struct, Caller]:
        """Match, authorise and admit a handshake; the caller has to `release` the admission. Raises `Problem`."""
        route, parameters = self._match(scope["path"])
        path = convert(parameters, route.path)
        caller = UNAUTHENTICATED
        if route.permission is not Permission.OPEN:
            caller = await self._guard.authorised(scope["headers"], route.permission)
        if not await self._admission.try_acquire():
            raise unavailable("too many websocket sessions are open")
        return route, path, caller

    async def _handle(self, route: WebsocketRoute, session: WebsocketSession, scope: Scope) -> None:
        try:
            await route.handler(self._api, session)
        except WebsocketClosed:
            return
        except Exception as error:  # noqa: BLE001 - a bug in a handler ends its session only
            _logged(error, scope)
            await session.close(CLOSE_INTERNAL_ERROR, "internal error")
        else:
            await session.close()

    def _match(self, path: str) -> tuple[WebsocketRoute, Mapping[str, str]]:
        for paths, route in self._routes:
            if found := paths.fullmatch(path):
                return route, found.groupdict()
        raise Problem(404, "no such path; /schema/openapi.json lists all paths")


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
        log.error("websocket.failed", path=scope["path"], request_id=scope["state"]["request_id"], exc_info=error)
    return problem

"""The edge as one ASGI application: provider callbacks in front, everything else in Litestar.

Routes are values from one module per resource; here they meet the guard that stands before all of them, the
one place errors are rendered, and what every answer carries.
"""

import re
from collections.abc import Collection, Iterable, Mapping

import structlog
from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler

from airy import components, trace
from airy.clock import Ids
from airy.http import (
    action,
    channels,
    client_config,
    conversations,
    health,
    messages,
    metadata,
    openapi,
    processes,
    tags,
    templates,
    webhooks,
)
from airy.http.action import Action
from airy.http.asgi import Message, Receive, Scope, Send
from airy.http.auth import Guard
from airy.http.bodies import BodyReader
from airy.http.cors import Cors
from airy.http.ingress import Ingress, answer_problem
from airy.http.ports import Edge
from airy.http.problems import Problem, problem_of, render

ACTIONS: tuple[Action, ...] = (
    *channels.ACTIONS,
    *client_config.ACTIONS,
    *conversations.ACTIONS,
    *messages.ACTIONS,
    *metadata.ACTIONS,
    *processes.ACTIONS,
    *tags.ACTIONS,
    *templates.ACTIONS,
    *webhooks.ACTIONS,
)

ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
TRACEPARENT = trace.HEADER.encode()
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger("airy.http")


def application(
    edge: Edge,
    reader: BodyReader,
    guard: Guard,
    running: Collection[str],
    routes: Iterable[HTTPRouteHandler] = (),
) -> Litestar:
    """The Litestar application alone, with what the running components serve.

    `routes` are further ones; they declare their permission as ours do.
    """
    actions = [each for each in ACTIONS if components.serves(running, each.paths[0])]
    return Litestar(
        route_handlers=[
            *(action.route(each, edge, reader) for each in actions),
            *health.routes(edge.status),
            openapi.route(actions, edge.version),
            *routes,
        ],
        guards=[guard],
        exception_handlers={Exception: _answer_error},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # ours to limit: see bodies.py
    )


class Front:
    """What the server calls. `ingresses` are raw handlers by path."""

    def __init__(self, app: Litestar, ingresses: Mapping[str, Ingress], *, cors: Cors, ids: Ids) -> None:
        self.app = app
        self._ingresses = {spelling: each for path, each in ingresses.items() for spelling in (path, f"{path}/")}
        self._cors = cors
        self._ids = ids
        self._process = ids.new()
        self._requests = 0
        self.responses: dict[str, int] = {}  # by class of status, for metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)  # type: ignore[arg-type]
        elif (ingress := self._ingresses.get(scope["path"])) is not None:
            await ingress(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        traced = self._traced(scope, request_id)
        extra = [*ALWAYS, (b"x-request-id", request_id.encode()), (b"traceresponse", traced.header.encode())]
        origin = self._cors.origin(scope["headers"])
        if origin is not None and self._cors.allows(origin):
            extra += self._cors.headers(origin)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
                self._count(scope, message["status"])
            await send(message)

        if origin is not None and not self._cors.allows(origin):
            await answer_problem(answer, Problem(403, "pages of this origin may not call; see http.allowedOrigins"))
        elif origin is not None and _is_preflight(scope):
            await send({"type": "http.response.start", "status": 200, "headers": self._cors.preflight(origin)})
            await send({"type": "http.response.body", "body": b""})
        else:
            with trace.under(traced.header):
                await self.app(scope, receive, answer)  # type: ignore[arg-type]

    def _count(self, scope: Scope, status: int) -> None:
        if scope["path"] not in health.PROBES:  # their 503 is news of this process, not a request that failed
            family = f"{status // 100}xx"
            self.responses[family] = self.responses.get(family, 0) + 1

    def _traced(self, scope: Scope, request_id: str) -> trace.Trace:
        """The caller's trace, or one of our own: a request id that callers choose may come again, a trace may not."""
        self._requests += 1
        given = [value for name, value in scope["headers"] if name == TRACEPARENT]
        return trace.continued(given, f"{self._process}-{self._requests:x}-{request_id}")

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return str(value.decode())
        return self._ids.new()


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _answer_error(request: Request, error: Exception) -> Response[bytes]:  # type: ignore[type-arg]
    problem = problem_of(error)
    if problem.status >= 500 and problem.status != 503:
        request_id = request.scope["state"]["request_id"]
        log.error("request.failed", path=request.scope["path"], request_id=request_id, exc_info=error)
    status, headers, body = render(problem)
    named = {name.decode(): value.decode() for name, value in headers}
    return Response(body, status_code=status, headers=named, media_type=named.pop("content-type"))

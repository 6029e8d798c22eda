"""The HTTP API as one ASGI application: ingress of the sources as raw handlers, everything else in Litestar.

Collects the actions of every resource module, and adds what is common to all of them: the guard, error rendering, CORS,
the request id, the trace and the response headers.
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
from airy.http.asgi import AsgiMessage, Receive, Scope, Send
from airy.http.auth import Guard
from airy.http.cors import CorsPolicy
from airy.http.ingress import Ingress
from airy.http.ports import ApiContext
from airy.http.problems import Problem, problem_of, render, send_problem
from airy.http.request_bodies import BodyReader

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

COMMON_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
TRACEPARENT = trace.HEADER.encode()
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger("airy.http")


def litestar_app(
    api: ApiContext,
    reader: BodyReader,
    guard: Guard,
    running: Collection[str],
    routes: Iterable[HTTPRouteHandler] = (),
) -> Litestar:
    """The Litestar application with the actions of the running components.

    `routes` are added; each declares its permission in `opt`.
    """
    actions = [each for each in ACTIONS if components.serves(running, each.paths[0])]
    return Litestar(
        route_handlers=[
            *(action.route(each, api, reader) for each in actions),
            *health.routes(api.health),
            openapi.route(actions, api.version),
            *routes,
        ],
        guards=[guard],
        exception_handlers={Exception: _error_response},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # `BodyReader` limits bodies
    )


class RootAsgiApp:
    """The application that the server calls. `ingresses` are raw handlers by path."""

    def __init__(self, app: Litestar, ingresses: Mapping[str, Ingress], *, cors: CorsPolicy, ids: Ids) -> None:
        self.app = app
        self._ingresses = {spelling: each for path, each in ingresses.items() for spelling in (path, f"{path}/")}
        self._cors = cors
        self._ids = ids
        self._trace_prefix = ids.new()
        self._requests = 0
        self.responses: dict[str, int] = {}  # by status class ("2xx"), for metrics

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
        request_trace = self._trace_of(scope, request_id)
        extra = [
            *COMMON_HEADERS,
            (b"x-request-id", request_id.encode()),
            (b"traceresponse", request_trace.header.encode()),
        ]
        origin = self._cors.origin(scope["headers"])
        if origin is not None and self._cors.allows(origin):
            extra += self._cors.headers(origin)

        async def respond(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *extra]
                self._count(scope, message["status"])
            await send(message)

        if origin is not None and not self._cors.allows(origin):
            await send_problem(respond, Problem(403, "this origin is not allowed; see http.allowedOrigins"))
        elif origin is not None and _is_preflight(scope):
            await send({"type": "http.response.start", "status": 200, "headers": self._cors.preflight(origin)})
            await send({"type": "http.response.body", "body": b""})
        else:
            with trace.attach(request_trace.header):
                await self.app(scope, receive, respond)  # type: ignore[arg-type]

    def _count(self, scope: Scope, status: int) -> None:
        if scope["path"] not in health.PROBES:  # a probe's 503 reports the process, not a failed request
            status_class = f"{status // 100}xx"
            self.responses[status_class] = self.responses.get(status_class, 0) + 1

    def _trace_of(self, scope: Scope, request_id: str) -> trace.Trace:
        """The caller's trace, or a new one. Callers may repeat a request id, so the id alone is no name of a trace."""
        self._requests += 1
        traceparents = [value for name, value in scope["headers"] if name == TRACEPARENT]
        return trace.from_request(traceparents, f"{self._trace_prefix}-{self._requests:x}-{request_id}")

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                return str(value.decode())
        return self._ids.new()


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _error_response(request: Request, error: Exception) -> Response[bytes]:  # type: ignore[type-arg]
    problem = problem_of(error)
    if problem.status >= 500 and problem.status != 503:
        request_id = request.scope["state"]["request_id"]
        log.error("request.failed", path=request.scope["path"], request_id=request_id, exc_info=error)
    status, headers, body = render(problem)
    by_name = {name.decode(): value.decode() for name, value in headers}
    return Response(body, status_code=status, headers=by_name, media_type=by_name.pop("content-type"))

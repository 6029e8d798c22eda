"""The HTTP API as one ASGI application: ingress of the sources as raw handlers, everything else in Litestar.

Adds what is common to all routes: the guard, error rendering, the check of the origin, the request id, the trace and
the response headers.
"""

import re
from collections.abc import Collection, Iterable

import structlog
from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler

from airy import trace
from airy.bug_fields import bug_fields
from airy.clock import Ids
from airy.http import action, asyncapi, explorer, health, openapi
from airy.http.admission import ApiAdmission
from airy.http.asgi import AsgiMessage, RawHeaders, Receive, Scope, Send
from airy.http.auth import Guard
from airy.http.body_reader import BodyReader
from airy.http.cors import CorsPolicy
from airy.http.ingress import Ingress
from airy.http.ports import ApiContext
from airy.http.problems import Problem, problem_of, render, send_problem, unavailable
from airy.http.resource import Resource
from airy.http.websocket import WebsocketRouter, reject
from airy.rate_limit import RateLimiter
from airy.sources.catalogue import match

CACHE_CONTROL = b"cache-control"
COMMON_HEADERS = [(b"x-content-type-options", b"nosniff"), (CACHE_CONTROL, b"no-store")]
ORIGIN_NOT_ALLOWED = Problem(403, "this origin is not allowed; see http.allowedOrigins")
OVERLOADED = unavailable("too many requests at once")
UNLIMITED = frozenset({*health.PROBES, "/metrics"})  # what tells operators about an overload
NO_WEBSOCKETS = Problem(404, "this process serves no websockets")
TRACEPARENT = trace.HEADER.encode()
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger("airy.http")


def litestar_app(
    api: ApiContext,
    reader: BodyReader,
    guard: Guard,
    resources: Collection[Resource],
    routes: Iterable[HTTPRouteHandler] = (),
) -> Litestar:
    """The Litestar application with the actions of these resources.

    `routes` are added; each declares its permission in `opt`.
    """
    others = [*health.routes(api.health, api.installation), *explorer.routes(), asyncapi.route(api.version), *routes]
    return Litestar(
        route_handlers=[
            *(action.route(each, api, reader) for resource in resources for each in resource.actions),
            *(stream.make(api, guard) for resource in resources for stream in resource.streams),
            *others,
            openapi.route(resources, api.version, others),
        ],
        guards=[guard],
        exception_handlers={Exception: _error_response},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # `BodyReader` limits bodies
    )


class RootAsgiApp:
    """The application that the server calls. `ingresses` are raw handlers, each of the webhook paths of its source."""

    def __init__(
        self,
        app: Litestar,
        ingresses: Iterable[Ingress],
        *,
        cors: CorsPolicy,
        ids: Ids,
        websockets: WebsocketRouter | None = None,
        admission: ApiAdmission | None = None,
        limiters: Collection[RateLimiter] = (),
        any_origin: Collection[str] = (),
    ) -> None:
        """`any_origin`: paths of routes that check the origin themselves."""
        self.app = app
        self.websockets = websockets
        by_path = [(path, each) for each in ingresses for path in each.paths]
        self._ingresses = {spelling: each for path, each in by_path for spelling in (path, f"{path}/")}
        self._templates = [(path, each) for path, each in by_path if "{" in path]
        self._cors = cors
        self._admission = admission or ApiAdmission()
        self._limiters = tuple(limiters)
        self._any_origin = frozenset(any_origin)
        self._ids = ids
        self._trace_prefix = ids.new()
        self._requests = 0
        self.responses: dict[str, int] = {}  # by status class ("2xx"), for metrics

    @property
    def websocket_bytes_max(self) -> int | None:
        """The limit on a message; None if the process serves no websockets."""
        return None if self.websockets is None else self.websockets.limits.message_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif (ingress := self._ingress(scope["path"])) is not None:
            await ingress(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    @property
    def rejected(self) -> dict[str, float]:
        """The requests that exceeded a limit, for metrics."""
        limited = sum(each.rejected for each in self._limiters)
        return {"rate_limited": float(limited), "shed": float(self._admission.shed)}

    def is_webhook(self, path: str) -> bool:
        """Whether a path is a provider's."""
        return self._ingress(path) is not None

    def _ingress(self, path: str) -> Ingress | None:
        found = self._ingresses.get(path)
        if found is not None or not self._templates:
            return found
        stripped = path.removesuffix("/")
        return next((each for template, each in self._templates if match(template, stripped) is not None), None)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_trace, headers = self._begin(scope)
        origin = self._cors.origin(scope["headers"])
        allowed = self._allows(origin, scope)
        if allowed and origin is not None:
            headers += self._cors.headers(origin)

        async def respond(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _joined(message.get("headers", ()), headers)
                self._count(scope, message["status"])
            await send(message)

        if not allowed:
            await send_problem(respond, ORIGIN_NOT_ALLOWED)
        elif origin is not None and _is_preflight(scope):
            await send({"type": "http.response.start", "status": 200, "headers": self._cors.preflight(origin)})
            await send({"type": "http.response.body", "body": b""})
        elif scope["path"] in UNLIMITED:
            await self.app(scope, receive, respond)  # type: ignore[arg-type]
        elif not await self._admission.try_acquire():
            await send_problem(respond, OVERLOADED)
        else:
            with trace.attach(request_trace.header):
                await self._answer(scope, receive, respond)

    async def _answer(self, scope: Scope, receive: Receive, respond: Send) -> None:
        """Call the application, which is admitted until its response begins: a stream may last for hours."""
        admitted = True

        async def release_and_respond(message: AsgiMessage) -> None:
            nonlocal admitted
            if admitted:
                admitted = False
                self._admission.release()
            await respond(message)

        try:
            await self.app(scope, receive, release_and_respond)  # type: ignore[arg-type]
        finally:
            if admitted:
                self._admission.release()

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A browser sends `Origin` with every handshake and knows no CORS for it: the check is the only protection."""
        request_trace, headers = self._begin(scope)
        origin = self._cors.origin(scope["headers"])
        if not self._allows(origin, scope):
            await reject(scope, send, ORIGIN_NOT_ALLOWED, headers)
        elif self.websockets is None:
            await reject(scope, send, NO_WEBSOCKETS, headers)
        else:
            with trace.attach(request_trace.header):
                await self.websockets.serve(scope, receive, send, headers)

    def _allows(self, origin: bytes | None, scope: Scope) -> bool:
        """Notes another origin for the handler of a route that takes any."""
        if origin is None or self._cors.allows(origin):
            return True
        scope["state"]["origin"] = origin.decode("latin-1")
        return scope["path"].rstrip("/") in self._any_origin

    def _begin(self, scope: Scope) -> tuple[trace.Trace, list[tuple[bytes, bytes]]]:
        """Give the request its id and its trace. Returns the trace, and the headers of the response."""
        request_id = self._request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        request_trace = self._trace_of(scope, request_id)
        return request_trace, [
            *COMMON_HEADERS,
            (b"x-request-id", request_id.encode()),
            (b"traceresponse", request_trace.header.encode()),
        ]

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


def _joined(own: RawHeaders, common: RawHeaders) -> list[tuple[bytes, bytes]]:
    """The headers of a response: its own rule of caching replaces the common one."""
    has_rule = any(name == CACHE_CONTROL for name, _ in own)
    return [*own, *(header for header in common if not (has_rule and header[0] == CACHE_CONTROL))]


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _error_response(request: Request, error: Exception) -> Response[bytes]:  # type: ignore[type-arg]
    problem = problem_of(error)
    if problem.status >= 500 and problem.status != 503:
        request_id = request.scope["state"]["request_id"]
        log.error("request.failed", path=request.scope["path"], request_id=request_id, **bug_fields(error))
    status, headers, body = render(problem)
    by_name = {name.decode(): value.decode() for name, value in headers}
    return Response(body, status_code=status, headers=by_name, media_type=by_name.pop("content-type"))

"""The operations of the OpenAPI document: one of each action, stream, webhook of a provider, and other route."""

import inspect
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from airy.http.action import KEY_CHARS_MAX, KEY_HEADER, POSITION_HEADER, Action
from airy.http.auth import PERMISSION, UNLIMITED, Permission
from airy.http.body_kinds import Document, Schemas
from airy.http.openapi_example import request_example, response_example
from airy.http.path_template import parameters
from airy.http.problems import CODES
from airy.http.resource import StreamRoute
from airy.http.route_description import DESCRIPTION, NO_CONTENT, UNDESCRIBED, RouteDescription
from airy.sources.spec import SourceSpec

PROBLEMS = {
    400: "Invalid fields, which `fields` names, or a body that is not JSON.",
    401: "A token in the body is not valid.",
    403: "No valid credentials, or the permission is missing.",
    404: "What the request refers to does not exist.",
    405: "The path does not take this method; `allow` lists those it takes.",
    406: "The request does not accept the media type of the response.",
    408: "The body took too long to arrive.",
    409: "In conflict with the present state.",
    413: "The body, or a record made of it, is too large.",
    415: "The body has another media type, or is compressed.",
    416: "The range lies behind the end.",
    422: "The file has no name.",
    429: "Too many requests: retry after `retry-after` seconds.",
    503: "Temporarily unavailable: retry after `retry-after` seconds.",
}
RETRIED = frozenset({429, 503})

HEADERS: Document = {
    "Position": {
        "description": "Positions of the records that were written. Sent with a later read, on any replica, they make "
        "it show the write.",
        "schema": {"type": "string"},
    },
    "RequestId": {
        "description": "The id of the request in the server's log: the one given, or a new one.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}
PARAMETERS: Document = {
    "Position": {
        "name": POSITION_HEADER,
        "in": "header",
        "description": "Positions that the response must reflect, separated by commas. Also as `position` in a body.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": KEY_HEADER,
        "in": "header",
        "description": "Requests with the same key write once, and have the same answer. Also as `idempotency_key` in "
        "a body.",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX},
    },
}
SECURITY_SCHEMES: Document = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, or a signed token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "airy_auth_token",
        "description": "The session of a login, `__Host-airy_auth_token` over https. A request that writes also needs "
        "an Origin, Sec-Fetch-Site or X-Requested-With header, as proof that no other site caused it.",
    },
}


class OperationBuilder(Struct, frozen=True):
    """`schemas`: references to components, by `str` of the type; `components`: by the name msgspec gives them."""

    schemas: Schemas
    components: Mapping[str, Document]

    def of_action(self, action: Action, path: str, tag: str) -> Document:
        writes = action.permission is not Permission.READ
        success: Document = {
            "description": action.summary,
            "headers": {**_header("x-request-id", "RequestId"), **(_header(POSITION_HEADER, "Position"))},
        }
        if action.returns:
            schema = self.schemas[str(action.returns)]
            success["content"] = {
                "application/json": {"schema": schema, "example": response_example(schema, self.components)}
            }
        operation: Document = {
            "operationId": path.removeprefix("/"),
            "summary": action.summary,
            "tags": [tag],
            "deprecated": path != action.paths[0],
            "x-permission": action.permission.value,
            "security": _security(action.permission),
            "parameters": [
                *self._path_parameters(action, path),
                {"$ref": "#/components/parameters/Position"},
                *([{"$ref": "#/components/parameters/IdempotencyKey"}] if writes else ()),
            ],
            "responses": {
                **{str(status): success for status in (action.status, *action.other_statuses)},
                **_problems(_errors_of(action, path)),
            },
        }
        if action.method != "GET":
            operation["requestBody"] = self._request_body(action)
        return operation

    def _path_parameters(self, action: Action, path: str) -> Iterator[Document]:
        names = parameters(path)
        if names:
            fields = self.components[self.schemas[str(action.path)]["$ref"].rpartition("/")[2]]["properties"]
            yield from ({"name": name, "in": "path", "required": True, "schema": fields[name]} for name in names)

    def _request_body(self, action: Action) -> Document:
        body = action.body.describe(self.schemas)
        for media_type, content in body["content"].items():
            if media_type == "application/json":
                content["example"] = request_example(content["schema"], self.components)
        return body

    def of_stream(self, stream: StreamRoute, method: str, tag: str) -> Document:
        name = stream.path.removeprefix("/").replace("/{", ".").replace("}", "")
        return {
            "operationId": name if method == "get" else f"{method}.{name}",
            "summary": stream.summary,
            "tags": [tag],
            "x-permission": stream.permission.value,
            "security": _security(stream.permission),
            "parameters": [
                *_text_parameters(stream.path),
                *(_query_parameter(name, text) for name, text in stream.query.items()),
            ],
            "responses": {
                "200": {"description": stream.summary, "content": {stream.media_type: {"schema": {"type": "string"}}}},
                **_problems((400, 403, 429, 503, *stream.problems)),
            },
        }


def of_route(handler: HTTPRouteHandler) -> Iterator[tuple[str, str, Document]]:
    """Path, method and operation of each path and method of a Litestar handler."""
    given: RouteDescription = handler.opt.get(DESCRIPTION, UNDESCRIBED)
    permission: Permission = handler.opt[PERMISSION]
    summary = (inspect.getdoc(handler.fn) or "").split("\n\n")[0].replace("\n", " ")
    methods: Collection[Any] = handler.http_methods
    for template in sorted(handler.paths):
        path = re.sub(r":\w+\}", "}", template)
        for method in sorted(str(getattr(each, "value", each)).lower() for each in methods):
            name = path.strip("/").replace("{", "").replace("}", "").replace("/", ".")
            yield (
                path,
                method,
                {
                    "operationId": f"{method}.{name}",
                    "summary": summary,
                    "tags": [given.tag],
                    "x-permission": permission.value,
                    "security": _security(permission),
                    "parameters": [
                        *_text_parameters(path),
                        *(_query_parameter(key, text) for key, text in given.query.items()),
                    ],
                    "responses": {
                        **{str(status): _response(*response) for status, response in given.responses.items()},
                        **_problems([*given.errors, *_errors_of_guard(handler)]),
                    },
                },
            )


def of_webhook(spec: SourceSpec, path: str) -> Iterator[tuple[str, Document]]:
    """Method and operation of a path that a provider calls."""
    name = path.strip("/").replace("{", "").replace("}", "").replace("/", ".")
    common: Document = {
        "tags": [f"sources-{spec.name}"],
        "x-permission": Permission.OPEN.value,
        "security": [],
        "parameters": list(_text_parameters(path)),
    }
    handshake = {"description": "The challenge of the request.", "content": {"text/plain": {"schema": {}}}}
    yield (
        "get",
        {
            **common,
            "operationId": f"get.{name}",
            "summary": f"{spec.title}: the handshake of a subscription, where the provider has one.",
            "responses": {"200": handshake, **_problems((400, 403, 404, 405, 503))},
        },
    )
    yield (
        "post",
        {
            **common,
            "operationId": f"post.{name}",
            "summary": f"{spec.title}: a webhook of the provider, authenticated by its signature or secret.",
            "requestBody": {"required": True, "content": {"*/*": {"schema": {}}}},
            "responses": {
                "200": {"description": "The webhook is durable."},
                **_problems((400, 403, 404, 408, 413, 415, 503)),
            },
        },
    )


def problem_responses(problem: Document) -> Document:
    """The component of each status."""
    return {f"Problem{status}": _problem_response(status, text, problem) for status, text in PROBLEMS.items()}


def _problem_response(status: int, text: str, problem: Document) -> Document:
    fields = [{"field": "conversation_id", "message": "must be a UUID"}] if status == 400 else []
    message = "conversation_id must be a UUID" if fields else text
    example = {"message": message, "code": CODES.get(status, "error"), "fields": fields}
    return {
        "description": text,
        "headers": {
            **_header("x-request-id", "RequestId"),
            **(_header("retry-after", "RetryAfter") if status in RETRIED else {}),
        },
        "content": {"application/json": {"schema": problem, "example": example}},
    }


def _errors_of(action: Action, path: str) -> Iterable[int]:
    fields = [name for kind in action.body.types for name in kind.__struct_fields__]  # type: ignore[attr-defined]
    refers = bool(parameters(path)) or any(name.rpartition("_")[2] in {"id", "ids", "keys", "topic"} for name in fields)
    return (
        400,
        *((401,) if "resume_token" in fields else ()),
        403,
        *((404,) if refers else ()),
        408,
        *(() if action.permission is Permission.READ else (409,)),
        413,
        415,
        *action.body.problems,
        429,
        503,
    )


def _errors_of_guard(handler: HTTPRouteHandler) -> tuple[int, ...]:
    if handler.opt[PERMISSION] is not Permission.OPEN:
        return 403, 429, 503
    return () if handler.opt.get(UNLIMITED) else (429,)


def _problems(statuses: Iterable[int]) -> Document:
    return {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in sorted({*statuses})}


def _security(permission: Permission) -> Sequence[Document]:
    """Any of these. Custom sources and visitors have no session."""
    if permission is Permission.OPEN:
        return []
    token: Document = {"token": []}
    return [token] if permission in {Permission.INGEST, Permission.VISIT} else [token, {"session": []}]


def _header(name: str, component: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{component}"}}


def _response(text: str, media_type: str) -> Document:
    return {"description": text, **({} if media_type == NO_CONTENT else {"content": {media_type: {"schema": {}}}})}


def _query_parameter(name: str, text: str) -> Document:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}


def _text_parameters(path: str) -> Iterator[Document]:
    return (
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in parameters(path)
    )

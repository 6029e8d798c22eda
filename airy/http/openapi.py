"""`/schema/openapi.json`, made from the same values the routes are made of, so it cannot say anything else.

Not the framework's generator: bodies are read by ours, which the framework does not see.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.http import shapes
from airy.http.action import Action
from airy.http.auth import PERMISSION, Permission
from airy.http.bodies import Id, Json, Text
from airy.http.reply import json_reply
from airy.secret import Secret

Document = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
PROBLEMS = {
    400: "a field is wrong",
    403: "no valid token, or not allowed",
    503: "not now: try again after `retry-after` seconds",
}


def describe(actions: Sequence[Action], version: str) -> Document:
    types = [each.body for each in actions] + [each.returns for each in actions if each.returns] + [shapes.Problem]
    references, components = msgspec.json.schema_components(types, schema_hook=_custom, ref_template=REFERENCE)
    known = dict(zip(map(str, types), references, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Airy Core API", "version": version},
        "security": [{"token": []}],
        "paths": {path: {"post": _operation(each, path, known)} for each in actions for path in each.paths},
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(of: Action, path: str, known: dict[str, Document]) -> Document:
    answer: Document = {"description": of.summary}
    if of.returns:
        answer["content"] = {"application/json": {"schema": known[str(of.returns)]}}
    problem = {"application/json": {"schema": known[str(shapes.Problem)]}}
    needed = any(field.required for field in msgspec.structs.fields(of.body))
    return {
        "operationId": path.removeprefix("/"),
        "summary": of.summary,
        "tags": [path.removeprefix("/").partition(".")[0]],
        "deprecated": path != of.paths[0],
        "x-permission": of.permission.value,
        "requestBody": {"required": needed, "content": {"application/json": {"schema": known[str(of.body)]}}},
        "responses": {
            str(of.status): answer,
            **{str(status): {"description": text, "content": problem} for status, text in PROBLEMS.items()},
        },
    }


def _custom(kind: type) -> Document:
    if kind is Id:
        return {"type": "string", "format": "uuid"}
    if kind is Json:
        return {"description": "any JSON but null"}
    if kind is Secret:
        return {"type": "string", "format": "password"}
    if issubclass(kind, Text):
        return {"type": "string", "maxLength": kind.chars_max}
    raise AssertionError(f"no schema for {kind.__name__}")


def route(actions: Sequence[Action], version: str) -> HTTPRouteHandler:
    document = describe(actions, version)

    @get("/schema/openapi.json", opt={PERMISSION: Permission.READ})
    async def schema() -> ASGIResponse:
        """The description of every action, its body and its answer."""
        return json_reply(document)

    return schema

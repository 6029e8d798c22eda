"""`/schema/openapi.json`, generated from the same `Action` values as the routes, so both always agree.

Litestar's generator is not used, because it does not see the request bodies, which `request_bodies` decodes.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.http.action import Action
from airy.http.auth import PERMISSION, Permission
from airy.http.body_kinds import Document, Schemas
from airy.http.json_response import json_response
from airy.http.path_template import parameters
from airy.http.request_bodies import Id, Json, Text
from airy.http.resource import Resource, StreamRoute
from airy.http.response_schemas import ProblemSchema
from airy.secret import Secret

REFERENCE = "#/components/schemas/{name}"
PROBLEMS = {
    400: "invalid fields",
    403: "no valid token, or the permission is missing",
    503: "temporarily unavailable: retry after `retry-after` seconds",
}


def openapi_document(resources: Collection[Resource], version: str) -> Document:
    actions = [action for resource in resources for action in resource.actions]
    types = _distinct(
        [each for action in actions for each in (*action.body.types, action.path, action.returns) if each]
        + [ProblemSchema]
    )
    references, components = msgspec.json.schema_components(types, schema_hook=_custom_type, ref_template=REFERENCE)
    names = {name: component_name(name) for name in components}
    assert len(set(names.values())) == len(names), f"component names are not unique: {sorted(names.values())}"
    schemas = dict(zip(map(str, types), references, strict=True))
    document: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Airy Core API", "version": version},
        "security": [{"token": []}],
        "paths": {
            **{
                path: {each.method.lower(): _operation(each, path, schemas, components)}
                for each in actions
                for path in each.paths
            },
            **{
                stream.path: {"get": _stream_operation(stream, schemas)}
                for resource in resources
                for stream in resource.streams
            },
        },
        "components": {
            "schemas": {names[name]: {**schema, "title": names[name]} for name, schema in sorted(components.items())},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    renamed: Document = _rename_references(document, {_reference(old): _reference(new) for old, new in names.items()})
    return renamed


def _distinct(types: Sequence[Any]) -> list[Any]:
    return list({str(each): each for each in types}.values())


def component_name(name: str) -> str:
    """`TagSchema` is `Tag`, `ListSchema[Tag]` is `TagList`, `PageSchema[Tag]` is `TagPage`; msgspec writes [] as _."""
    generic = re.fullmatch(r"(List|Page)Schema_(\w+)Schema_", name)
    return generic[2] + generic[1] if generic else name.removesuffix("Schema")


def _reference(name: str) -> str:
    return REFERENCE.format(name=name)


def _rename_references(value: Any, references: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: references[item] if key == "$ref" and isinstance(item, str) else _rename_references(item, references)
            for key, item in value.items()
        }
    return [_rename_references(item, references) for item in value] if isinstance(value, list) else value


def _operation(action: Action, path: str, schemas: Schemas, components: Schemas) -> Document:
    success: Document = {"description": action.summary}
    if action.returns:
        success["content"] = {"application/json": {"schema": schemas[str(action.returns)]}}
    problem = {"application/json": {"schema": schemas[str(ProblemSchema)]}}
    operation: Document = {
        "operationId": path.removeprefix("/"),
        "summary": action.summary,
        "tags": [re.split(r"[./]", path.removeprefix("/"))[0]],
        "deprecated": path != action.paths[0],
        "x-permission": action.permission.value,
        "responses": {
            str(action.status): success,
            **{str(status): {"description": text, "content": problem} for status, text in PROBLEMS.items()},
        },
    }
    if names := parameters(path):
        fields = components[schemas[str(action.path)]["$ref"].rpartition("/")[2]]["properties"]
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": fields[name]} for name in names
        ]
    if action.method != "GET":
        operation["requestBody"] = action.body.describe(schemas)
    return operation


def _stream_operation(stream: StreamRoute, schemas: Schemas) -> Document:
    problem = {"application/json": {"schema": schemas[str(ProblemSchema)]}}
    return {
        "operationId": stream.path.removeprefix("/"),
        "summary": stream.summary,
        "tags": [stream.path.removeprefix("/")],
        "x-permission": stream.permission.value,
        "parameters": [
            {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
            for name, text in stream.parameters.items()
        ],
        "responses": {
            "200": {"description": stream.summary, "content": {stream.media_type: {"schema": {"type": "string"}}}},
            **{
                str(status): {"description": text, "content": problem}
                for status, text in {**PROBLEMS, 406: f"the request does not accept {stream.media_type}"}.items()
            },
        },
    }


def _custom_type(kind: type) -> Document:
    if kind is Id:
        return {"type": "string", "format": "uuid"}
    if kind is Json:
        return {"description": "any JSON value but null"}
    if kind is Secret:
        return {"type": "string", "format": "password"}
    if issubclass(kind, Text):
        return {"type": "string", "maxLength": kind.chars_max}
    raise AssertionError(f"no schema for {kind.__name__}")


def route(resources: Collection[Resource], version: str) -> HTTPRouteHandler:
    document = openapi_document(resources, version)

    @get("/schema/openapi.json", opt={PERMISSION: Permission.READ})
    async def schema() -> ASGIResponse:
        """Every action with the schemas of its request body and its response."""
        return json_response(document)

    return schema

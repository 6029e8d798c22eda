"""`/schema/openapi.json`, generated from the same values as the routes, so both always agree.

Litestar's generator is not used, because it does not see the request bodies, which `request_bodies` decodes.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from airy.http.auth import PERMISSION, Permission
from airy.http.body_kinds import Document
from airy.http.json_response import json_response
from airy.http.openapi_operation import (
    HEADERS,
    PARAMETERS,
    SECURITY_SCHEMES,
    OperationBuilder,
    of_route,
    of_webhook,
    problem_responses,
)
from airy.http.request_bodies import Id, Json, Text, Time
from airy.http.resource import Resource
from airy.http.response_schemas import ProblemSchema
from airy.secret import Secret
from airy.sources.catalogue import BY_NAME
from airy.sources.spec import SourceSpec

PATH = "/schema/openapi.json"
REFERENCE = "#/components/schemas/{name}"
DESCRIPTION = """\
Every action is a POST with a JSON object. Unknown fields are ignored, `null` is as good as an absent field, and a body
without fields may be left out. Errors have one shape: `message` for people, `code` for programs, `fields` by name.
`docs/api.md` is the introduction; events are described in `/schema/asyncapi.json`.
"""
OTHER_TAGS = {
    "health": "Probes and metrics of the process.",
    "login": "Logins of people at an identity provider.",
    "schema": "Descriptions of this API.",
}


def openapi_document(
    resources: Collection[Resource], version: str, routes: Iterable[HTTPRouteHandler] = ()
) -> Document:
    """Of the actions and streams of `resources`, the webhooks of their sources, and further `routes`."""
    actions = [action for resource in resources for action in resource.actions]
    types = _distinct(
        [each for action in actions for each in (*action.body.types, action.path, action.returns) if each]
        + [ProblemSchema]
    )
    references, components = msgspec.json.schema_components(types, schema_hook=_custom_type, ref_template=REFERENCE)
    names = {name: component_name(name) for name in components}
    assert len(set(names.values())) == len(names), f"component names are not unique: {sorted(names.values())}"
    schemas = dict(zip(map(str, types), references, strict=True))
    build = OperationBuilder(schemas, components)
    document: Document = {
        "openapi": "3.1.0",
        "info": {"title": "Airy Core API", "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": _paths(build, resources, routes),
        "components": {
            "schemas": {names[name]: {**schema, "title": names[name]} for name, schema in sorted(components.items())},
            "responses": problem_responses(schemas[str(ProblemSchema)]),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }
    document["tags"] = _tags(resources, document["paths"])
    renamed: Document = _rename_references(document, {_reference(old): _reference(new) for old, new in names.items()})
    return renamed


def _paths(build: OperationBuilder, resources: Collection[Resource], routes: Iterable[HTTPRouteHandler]) -> Document:
    paths: Document = {}
    for resource in resources:
        for action in resource.actions:
            for path in action.paths:
                paths.setdefault(path, {})[action.method.lower()] = build.of_action(action, path, resource.name)
        for stream in resource.streams:
            for method in stream.methods:
                paths.setdefault(stream.path, {})[method] = build.of_stream(stream, method, resource.name)
    for spec in _sources(resources):
        for path in spec.webhooks:
            paths.setdefault(path, {}).update(of_webhook(spec, path))
    for route in routes:
        for path, method, operation in of_route(route):
            paths.setdefault(path, {})[method] = operation
    return paths


def _sources(resources: Iterable[Resource]) -> list[SourceSpec]:
    """The sources whose component serves one of the resources."""
    names = {resource.component.removeprefix("sources-"): None for resource in resources}
    return [BY_NAME[name] for name in names if name in BY_NAME]


def _tags(resources: Collection[Resource], paths: Document) -> Sequence[Document]:
    """Each tag that an operation has, with what it is."""
    texts = {each.name: f"Served by the component `{each.component}`." for each in resources}
    texts |= {f"sources-{spec.name}": f"Webhooks of the provider: {spec.title}." for spec in _sources(resources)}
    texts |= OTHER_TAGS
    used = {tag for operations in paths.values() for each in operations.values() for tag in each["tags"]}
    return [{"name": name, "description": texts[name]} for name in sorted(used)]


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
            key: references.get(item, item)
            if key == "$ref" and isinstance(item, str)
            else _rename_references(item, references)
            for key, item in value.items()
        }
    return [_rename_references(item, references) for item in value] if isinstance(value, list) else value


def _custom_type(kind: type) -> Document:
    if kind is Id:
        return {"type": "string", "format": "uuid"}
    if kind is Json:
        return {"type": ["string", "number", "boolean", "object", "array"], "description": "any JSON value but null"}
    if kind is Time:
        return {"type": ["integer", "string"], "description": "ms since 1970, or ISO 8601 text with a zone"}
    if kind is Secret:
        return {"type": "string", "format": "password"}
    if issubclass(kind, Text):
        return {"type": "string", "maxLength": kind.chars_max}
    raise AssertionError(f"no schema for {kind.__name__}")


def route(resources: Collection[Resource], version: str, routes: Collection[HTTPRouteHandler] = ()) -> HTTPRouteHandler:
    """The route of the document, which describes itself too.

    The first request makes it: the start of a process is faster by 30 ms of processor time.
    """

    @cache
    def document() -> Document:
        return openapi_document(resources, version, [*routes, schema])

    @get(PATH, opt={PERMISSION: Permission.OPEN})
    async def schema() -> ASGIResponse:
        """The description of this API: the routes of this process, with schemas of requests and responses."""
        return json_response(document())

    return schema

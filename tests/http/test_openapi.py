"""The OpenAPI document: valid, complete, with examples that are what they say; and the page that shows it."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from airy.http import explorer
from airy.http.auth import Permission
from airy.http.catalogue import ACTIONS, RESOURCES
from airy.http.openapi import component_name, openapi_document
from airy.http.openapi_operation import PROBLEMS
from airy.http.path_template import parameters
from airy.http.problems import CODES
from airy.sources.catalogue import SOURCES
from tests.kit.api import ApiHarness, api_harness
from tests.kit.asgi import call

ASSETS = Path(explorer.__file__).parent / "explorer_assets"


async def served(api: ApiHarness) -> Any:
    return (await call(api.app, "GET", "/schema/openapi.json")).json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


async def test_the_document_is_valid_openapi() -> None:
    async with api_harness() as api:
        document = await served(api)
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert document["info"]["title"] == "Airy Core API"
    assert document["info"]["version"] == "1.2.3"


async def test_the_document_has_every_route_of_the_process_with_its_permission() -> None:
    async with api_harness() as api:
        document = await served(api)
        routes = {
            (template(route.path_format), method.lower(), handler.opt["permission"])
            for route in api.app.app.routes
            for handler in route.route_handlers  # type: ignore[union-attr]
            for method in handler.http_methods
            if method.lower() != "options"
        }
    described = {(path, method, Permission(each["x-permission"])) for path, method, each in operations(document)}
    webhooks = {(path, method) for spec in SOURCES for path in spec.webhooks for method in ("get", "post")}
    assert {each for each in described if each[:2] not in webhooks} == routes
    assert webhooks <= {each[:2] for each in described}


def template(path: str) -> str:
    return path.replace(":str", "") or "/"


async def test_every_operation_has_what_a_reader_needs() -> None:
    async with api_harness() as api:
        document = await served(api)
    found = list(operations(document))
    tags = {each["name"] for each in document["tags"]}
    assert len({each["operationId"] for _, _, each in found}) == len(found)
    for path, _, each in found:
        assert each["summary"], path
        assert set(each["tags"]) <= tags, path
        assert [given["name"] for given in each["parameters"] if given.get("in") == "path"] == parameters(path)
        kinds = {"open": (), "visit": ("token",), "ingest": ("token",)}.get(each["x-permission"], ("token", "session"))
        assert each["security"] == [{kind: []} for kind in kinds], path
        assert {"503", "403"} <= each["responses"].keys() or each["security"] == [], path


def test_actions_that_write_take_an_idempotency_key_and_all_take_positions() -> None:
    paths = openapi_document(RESOURCES, "1.2.3")["paths"]
    for each in ACTIONS:
        operation = paths[each.paths[0]][each.method.lower()]
        names = {given.get("$ref", "").rpartition("/")[2] for given in operation["parameters"]}
        assert "Position" in names
        assert ("IdempotencyKey" in names) == (each.permission is not Permission.READ)
        assert {"x-airy-position", "x-request-id"} == operation["responses"][str(each.status)]["headers"].keys()


def test_every_status_of_a_problem_is_described() -> None:
    """431 and 500 are of the server and of a bug: no route announces them."""
    assert set(CODES) - set(PROBLEMS) == {431, 500}


async def test_every_example_is_valid_against_its_schema() -> None:
    async with api_harness() as api:
        document = await served(api)
    checked = 0
    for where, media in contents(document, ""):
        if "example" in media:
            validator = Draft202012Validator({**media["schema"], "components": document["components"]})
            assert [f"{where}: {error.message}" for error in validator.iter_errors(media["example"])] == []
            checked += 1
    bodies = sum(1 for each in ACTIONS for _ in each.paths if each.method == "POST")
    assert checked > bodies


async def test_the_examples_of_requests_are_well_formed() -> None:
    """What they refer to may not exist, and their credentials are none."""
    refused: dict[str, object] = {}
    async with api_harness() as api:
        paths = (await served(api))["paths"]
        for each in ACTIONS:
            body = paths[each.paths[0]][each.method.lower()].get("requestBody", {"content": {}})["content"]
            if "application/json" in body:
                answer = await api.post(each.paths[0], body["application/json"]["example"])
                if answer.status == 400 and "the provider" not in answer.json()["message"]:
                    refused[each.paths[0]] = answer.json()["fields"]
    assert refused == {}


def contents(node: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every media type object that has a schema."""
    if isinstance(node, dict):
        if "schema" in node and "in" not in node:
            yield where, node
        for key, inner in node.items():
            yield from contents(inner, f"{where}/{key}")
    elif isinstance(node, list):
        for inner in node:
            yield from contents(inner, where)


def test_component_names_tell_what_they_are() -> None:
    assert [
        component_name(name)
        for name in (
            "CreateTag",
            "TagSchema",
            "ListSchema_TagSchema_",
            "PageSchema_MessageSchema_",
            "ProcessListSchema",
        )
    ] == ["CreateTag", "Tag", "TagList", "MessagePage", "ProcessList"]
    schemas = openapi_document(RESOURCES, "1.2.3")["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not name.isalpha() or schema["title"] != name] == []


# --- the explorer page


async def test_the_explorer_is_a_public_page_that_needs_no_other_host() -> None:
    async with api_harness() as api:
        page = await call(api.app, "GET", "/schema")
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "://" not in policy
        assert b"://" not in page.body
        for name, media_type in explorer.ASSETS.items():
            file = await call(api.app, "GET", f"/schema/explorer/{name}")
            assert (file.status, file.headers["content-type"].partition(";")[0]) == (200, media_type)
            assert file.body == (ASSETS / name).read_bytes()
        assert b'src="/schema/explorer/explorer.js"' in page.body
        assert b'url: "/schema/openapi.json"' in (ASSETS / "explorer.js").read_bytes()


@pytest.mark.parametrize("name", ["index.html", "LICENSE", "..", "%2e%2e%2fopenapi.py", "../explorer.py"])
async def test_the_explorer_serves_nothing_but_its_files(name: str) -> None:
    async with api_harness() as api:
        assert (await call(api.app, "GET", f"/schema/explorer/{name}")).status == 404


def test_the_files_of_swagger_ui_are_those_of_its_release() -> None:
    (listed,) = ASSETS.glob("swagger-ui-*.sha256")
    lines = [line.split() for line in listed.read_text().splitlines()]
    assert {name for _, name in lines} | {"index.html", "explorer.js", listed.name} == {
        each.name for each in ASSETS.iterdir()
    }
    for expected, name in lines:
        assert sha256((ASSETS / name).read_bytes()).hexdigest() == expected, name

"""What a resource can declare, each by a route of a resource that only tests register."""

from collections.abc import Collection

import anyio
import msgspec
import pytest

from airy import components
from airy.http.action import ActionRequest
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, CallerKind, Permission, TokenAuthenticator
from airy.http.catalogue import RESOURCES, served
from airy.http.openapi import openapi_document
from airy.permissions import PERMISSIONS, Role
from tests.kit.api import TOKEN, api_harness
from tests.kit.asgi import AsgiResponse, DelayedPart, call
from tests.kit.response_schemas import validated
from tests.kit.sample_resource import (
    FILE_BYTES_MAX,
    ITEMS_MAX,
    SAMPLES,
    STREAM_BYTES_MAX,
    SampleSchema,
    sinks,
)

ALL = (*RESOURCES, SAMPLES)
SAMPLE_ID = "1f0c2a3e-5b7d-4c8e-9f10-2a3b4c5d6e7f"
BOUNDARY = "a-boundary"
FORM = {"content_type": f"multipart/form-data; boundary={BOUNDARY}"}


# --- the catalogue


def test_every_resource_is_listed_once_and_belongs_to_a_component() -> None:
    names = [resource.name for resource in RESOURCES]
    assert len(set(names)) == len(names)
    assert {resource.component for resource in RESOURCES} <= components.BY_ID.keys()


def test_the_routes_of_a_resource_are_those_of_its_component() -> None:
    """The routes of a component say which pod serves a path; they must agree with the catalogue."""
    owners = {
        path: max((len(route), each.id) for each in components.ALL for route in each.routes if _under(path, route))[1]
        for resource in RESOURCES
        for action in resource.actions
        for path in action.paths[:1]
    }
    assert owners == {action.paths[0]: resource.component for resource in RESOURCES for action in resource.actions}


def _under(path: str, route: str) -> bool:
    return path.startswith(route) if route[-1] in "./" else path == route


async def test_a_process_serves_the_resources_of_its_components_only() -> None:
    running = {"http", "api-communication"}
    assert {resource.component for resource in served(ALL, running)} == {"api-communication"}
    async with api_harness(resources=ALL, running=running) as api:
        assert (await api.post("/samples.import", [])).status == 404
    async with api_harness(resources=ALL) as api:
        assert (await api.post("/samples.import", [])).status == 200


def test_an_action_without_a_permission_cannot_be_declared() -> None:
    for resource in ALL:
        for route in (*resource.actions, *resource.websockets):
            assert isinstance(route.permission, Permission), route


# --- bodies


async def test_an_array_is_decoded_item_by_item() -> None:
    async with api_harness(resources=ALL) as api:
        given = [{"name": "Ada"}, {"name": "Grace", "age": "7", "unknown": 1}]
        assert await api.call("/samples.import", given, idempotency_key="k") == {"names": ["Ada", "Grace"], "key": "k"}
        assert (await api.call("/samples.import"))["names"] == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([{"name": "a"}, {"age": -1}, 7], ["[1].name", "[1].age", "[2]"]),
        ([{"name": "a"}] * (ITEMS_MAX + 1), []),
        ({"name": "a"}, []),
        (b"[", []),
    ],
)
async def test_an_invalid_array_is_a_400_with_every_field(body: object, fields: list[str]) -> None:
    async with api_harness(resources=ALL) as api:
        problem = await api.call("/samples.import", body, status=400)
        assert [error["field"] for error in problem["fields"]] == fields


async def post_raw(api_app: object, path: str, body: Collection[bytes | DelayedPart], **headers: str) -> AsgiResponse:
    given = {"authorization": TOKEN, **{name.replace("_", "-"): value for name, value in headers.items()}}
    complete = headers.pop("complete", "") != "no"
    return await call(api_app, "POST", path, body=list(body), headers=given.items(), complete=complete)  # type: ignore[arg-type]


async def test_a_stream_is_read_in_parts_within_its_limits() -> None:
    async with api_harness(resources=ALL) as api:
        answer = await post_raw(api.app, "/samples.write", [b"ab", b"", b"cde"], content_type="image/png; x=y")
        assert answer.json() == {"parts": 2, "bytes": 5, "media_type": "image/png"}
        parts = [b"x" * 300_000] * 4
        too_large = await post_raw(api.app, "/samples.write", parts, content_type="image/png")
        assert (too_large.status, too_large.headers["connection"]) == (413, "close")
        assert str(STREAM_BYTES_MAX) in too_large.json()["message"]
        other = await post_raw(api.app, "/samples.write", [b""], content_type="text/plain")
        assert other.status == 415
        slow = [b"a", DelayedPart(b"b", 4.0), DelayedPart(b"c", 6.0)]
        assert (await post_raw(api.app, "/samples.write", slow, content_type="image/png")).status == 408
        left = await post_raw(api.app, "/samples.write", [b"a"], content_type="image/png", complete="no")
        assert left.status == 408


def part(name: str, content: bytes, *, filename: str | None = None, media_type: str = "image/png") -> bytes:
    file = f'; filename="{filename}"\r\nContent-Type: {media_type}' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


async def test_a_form_has_validated_fields_and_streams_its_files_to_sinks() -> None:
    sinks.clear()
    content = bytes(range(256)) * 300
    body = part("title", "Grüße".encode()) + part("a", content, filename="a.png") + part("copies", b"3")
    body += part("b", b"", filename="b.png") + END
    async with api_harness(resources=ALL) as api:
        answer = await post_raw(
            api.app, "/samples.upload", [body[at : at + 999] for at in range(0, len(body), 999)], **FORM
        )
    assert answer.json() == {"title": "Grüße", "copies": 3, "files": ["a.png", "b.png"]}
    assert [b"".join(sink.parts) for sink in sinks] == [content, b""]
    assert [sink.outcome for sink in sinks] == ["finished", "finished"]
    assert max(len(each) for each in sinks[0].parts) < 2_000


@pytest.mark.parametrize(
    ("body", "status", "outcomes"),
    [
        (part("a", b"x" * (FILE_BYTES_MAX + 1), filename="a"), 413, ["aborted"]),
        (part("a", b"x", filename="a") * 3, 413, ["finished", "finished"]),
        (part("a", b"x" * 9_000), 413, []),
        (part("a", b"x") + part("b", b"x") + part("c", b"x"), 413, []),
        (part("a", b"x", filename="a", media_type="text/html"), 415, []),
        (part("a", b"x", filename="a")[:-1], 400, ["aborted"]),
        (part("title", b"\xff") + END, 400, []),
        (part("copies", b"many") + END, 400, []),
        (b"not a form", 400, []),
    ],
    ids=["large", "many", "long", "fields", "refused", "cut", "utf8", "invalid", "garbage"],
)
async def test_an_invalid_form_is_a_4xx_and_aborts_the_open_sink(body: bytes, status: int, outcomes: list[str]) -> None:
    sinks.clear()
    async with api_harness(resources=ALL) as api:
        answer = await post_raw(api.app, "/samples.upload", [body[:500], body[500:]], **FORM)
    assert answer.status == status, answer.body
    assert [sink.outcome for sink in sinks] == outcomes


async def test_a_form_names_its_invalid_fields() -> None:
    async with api_harness(resources=ALL) as api:
        answer = await post_raw(api.app, "/samples.upload", [part("copies", b"many") + END], **FORM)
        assert [error["field"] for error in answer.json()["fields"]] == ["title", "copies"]
        for content_type in ("multipart/form-data", "application/json", "multipart/mixed; boundary=x"):
            answer = await post_raw(api.app, "/samples.upload", [END], content_type=content_type)
            assert answer.status == 415


async def test_a_client_that_disconnects_during_an_upload_aborts_the_sink() -> None:
    sinks.clear()
    async with api_harness(resources=ALL) as api:
        body = part("a", b"x" * 5_000, filename="a")
        await post_raw(api.app, "/samples.upload", [body[:2_000]], **FORM, complete="no")
    assert [sink.outcome for sink in sinks] == ["aborted"]


async def test_nothing_of_a_body_is_read_before_the_token_is_checked() -> None:
    sinks.clear()
    async with api_harness(resources=ALL) as api:
        body = [part("a", b"x", filename="a") + END]
        answer = await post_raw(api.app, "/samples.upload", body, **FORM, authorization="wrong")
    assert (answer.status, sinks) == (403, [])


# --- paths


async def test_a_path_has_validated_parameters() -> None:
    async with api_harness(resources=ALL) as api:
        headers = [("authorization", TOKEN)]
        answer = await call(api.app, "GET", f"/samples/{SAMPLE_ID.upper()}", headers=headers)
        assert answer.status == 200
        sample = validated(SampleSchema, answer.json())
        assert sample == SampleSchema(SAMPLE_ID, "system-token-tests", "token")
        unknown = await call(api.app, "GET", "/samples/42", headers=headers)
        assert (unknown.status, unknown.json()["fields"][0]["field"]) == (404, "id")
        for path in ("/samples/", f"/samples/{SAMPLE_ID}/more"):
            assert (await call(api.app, "GET", path, headers=headers)).status == 404
        assert (await call(api.app, "POST", f"/samples/{SAMPLE_ID}", headers=headers)).status == 405
        assert (await call(api.app, "GET", f"/samples/{SAMPLE_ID}")).status == 403


# --- callers


class Sessions:
    """Users by session id, as an authenticator that awaits its database would find them."""

    async def authenticate(self, headers: RawHeaders, /) -> Caller | None:
        cookies = [value for name, value in headers if name == b"cookie"]
        if cookies != [b"session=grace"]:
            return None
        claims = {"picture": "https://x.y/grace.png"}
        return Caller("user-1", frozenset({Permission.READ}), "Grace Hopper", CallerKind.USER, claims)


class SlowDirectory:
    """A token directory behind a network."""

    async def find(self, token: bytes, /) -> Caller | None:
        await anyio.sleep(0.1)
        return Caller("system-token-far", PERMISSIONS[Role.AGENT]) if token == TOKEN.encode() else None


async def test_the_user_profile_is_that_of_a_user_and_null_for_a_token() -> None:
    async with api_harness(authenticators=[Sessions(), TokenAuthenticator(SlowDirectory())]) as api:
        user = await call(api.app, "POST", "/client.config", headers=[("cookie", "session=grace")])
        assert user.json()["user_profile"] == {
            "id": "user-1",
            "name": "Grace Hopper",
            "avatar_url": "https://x.y/grace.png",
        }
        assert (await call(api.app, "POST", "/tags.create", headers=[("cookie", "session=grace")])).status == 403
        assert (await call(api.app, "POST", "/client.config", headers=[("cookie", "session=x")])).status == 403
        assert (await api.call("/client.config"))["user_profile"] is None


def test_a_request_has_a_caller_for_handlers() -> None:
    assert "caller" in ActionRequest.__struct_fields__


# --- OpenAPI


def test_every_kind_of_body_and_path_is_in_the_openapi_document() -> None:
    paths = openapi_document(ALL, "1.2.3")["paths"]
    bodies = {path: paths[path]["post"]["requestBody"]["content"] for path in paths if path.startswith("/samples.")}
    person = {"$ref": "#/components/schemas/Person"}
    assert bodies["/samples.import"]["application/json"]["schema"] == {
        "type": "array",
        "items": person,
        "maxItems": ITEMS_MAX,
    }
    assert set(bodies["/samples.write"]) == {"application/octet-stream", "image/png"}
    assert bodies["/samples.write"]["image/png"]["schema"]["format"] == "binary"
    [form] = bodies["/samples.upload"].values()
    assert form["schema"]["allOf"][0] == {"$ref": "#/components/schemas/FileFields"}
    operation = paths["/samples/{id}"]["get"]
    assert operation["parameters"][0] == {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    assert "requestBody" not in operation
    assert operation["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Sample"
    }
    msgspec.json.encode(paths)

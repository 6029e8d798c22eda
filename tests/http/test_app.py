"""Everything common to all routes: permissions, errors, CORS, probes and metrics."""

from types import SimpleNamespace
from typing import cast

import pytest
from litestar.routes import HTTPRoute
from structlog.testing import capture_logs

from airy.errors import Refused
from airy.http.asgi import RawHeaders
from airy.http.auth import ANONYMOUS, PERMISSION, Caller, Guard, OpenAccess, Permission, TokenAuthenticator
from airy.http.catalogue import ACTIONS
from airy.http.configured_tokens import ConfiguredTokens
from airy.http.problems import Problem
from airy.permissions import PERMISSIONS, Role
from airy.secret import Secret
from tests.kit.api import ORIGIN, TOKEN, api_harness
from tests.kit.asgi import call
from tests.kit.signing import signature

PATHS = [path for each in ACTIONS for path in each.paths]
LOGIN_PATHS = {
    "/login",
    "/logout",
    "/login/oauth2/code/{provider:str}",
    "/oauth2/authorization/{provider:str}",
}
DESCRIPTIONS = {
    "/schema",
    "/schema/explorer",
    "/schema/explorer/{name:str}",
    "/schema/openapi.json",
    "/schema/asyncapi.json",
}
MEDIA_PATH = "/media/{name:str}"  # the signature of the address is the permission
VISITOR_PATHS = {"/chatplugin.authenticate", "/chatplugin.config"}
OPEN_PATHS = {"/livez", "/readyz", "/actuator/health", MEDIA_PATH, *LOGIN_PATHS, *DESCRIPTIONS, *VISITOR_PATHS}


# --- permissions


async def test_every_route_declares_its_permission_and_no_data_is_open() -> None:
    async with api_harness() as api:
        declared: dict[str, Permission | None] = {}
        for route in api.app.app.routes:
            for handler in cast("HTTPRoute", route).route_handlers:
                if handler.http_methods != {"OPTIONS"}:
                    declared[route.path] = handler.opt.get(PERMISSION)
        assert [path for path, permission in declared.items() if not isinstance(permission, Permission)] == []
        assert {path for path, permission in declared.items() if permission is Permission.OPEN} == OPEN_PATHS
        assert set(PATHS) < declared.keys()


async def test_a_route_without_a_permission_rejects_every_caller() -> None:
    handler, connection = SimpleNamespace(opt={}), SimpleNamespace(scope={"headers": []})
    with pytest.raises(Problem, match="forbidden"):
        await Guard([OpenAccess()])(connection, handler)  # type: ignore[arg-type]


async def test_without_a_valid_token_every_action_answers_403_and_changes_nothing() -> None:
    invalid: list[list[tuple[str, str]]] = [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", TOKEN[:-1])],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", TOKEN), ("authorization", TOKEN)],
    ]
    async with api_harness() as api:
        for path in set(PATHS) - VISITOR_PATHS:
            for headers in invalid if path == "/tags.create" else invalid[:1]:
                answer = await call(
                    api.app,
                    "POST",
                    path,
                    headers=[*headers, ("content-type", "application/json")],
                    body=b'{"name":"x","color":"tag-red"}',
                )
                assert answer.status == 403, path
                assert answer.json() == {"message": "forbidden", "code": "forbidden", "fields": []}
        assert (await api.call("/tags.list"))["data"] == []


@pytest.mark.parametrize("given", [TOKEN, f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
async def test_a_token_is_accepted_bare_or_as_bearer(given: str) -> None:
    async with api_harness() as api:
        assert (await api.post("/tags.list", authorization=given)).status == 200


async def test_a_caller_id_holds_the_name_and_no_part_of_the_token() -> None:
    directory = ConfiguredTokens({"crm": Secret("first-token-of-a-crm"), "bot": Secret("other-token-of-a-bot")})
    tokens = TokenAuthenticator(directory)
    found = await tokens.authenticate([(b"authorization", b"other-token-of-a-bot")])
    assert found == Caller("system-token-bot", PERMISSIONS[Role.ADMIN], name="bot")
    assert await tokens.authenticate([(b"authorization", b"first-token-of-a-bot")]) is None
    assert "token-of" not in repr(vars(directory))


@pytest.mark.parametrize("tokens", [{}, {"short": Secret("12345")}])
def test_no_token_and_short_tokens_are_rejected(tokens: dict[str, Secret]) -> None:
    with pytest.raises(Refused, match=r"no API token|too short"):
        ConfiguredTokens(tokens)


async def test_open_access_authenticates_every_request_as_one_caller() -> None:
    async with api_harness(authenticators=[OpenAccess()]) as api:
        assert (await call(api.app, "POST", "/tags.list")).status == 200
    assert await OpenAccess().authenticate([]) == ANONYMOUS


async def test_a_caller_may_call_only_actions_of_its_permissions() -> None:
    class Reader:
        async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
            return Caller("reader", frozenset({Permission.READ}))

    async with api_harness(authenticators=[Reader()]) as api:
        for each in ACTIONS:
            answer = await call(api.app, "POST", each.paths[0], headers=[("content-type", "application/json")])
            assert (answer.status == 403) == (each.permission not in {Permission.READ, Permission.OPEN}), each.paths


# --- errors


async def test_unknown_paths_and_wrong_methods_are_answered_with_a_problem() -> None:
    async with api_harness() as api:
        assert await api.call("/tags.nope", status=404) == {
            "message": "no such path; /schema/openapi.json lists all paths",
            "code": "not_found",
            "fields": [],
        }
        assert (await api.post("/Tags.list")).status == 404
        answer = await call(api.app, "GET", "/tags.list", headers=[("authorization", TOKEN)])
        assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/tags.list/", "/tags.list"])
async def test_a_trailing_slash_makes_no_difference(path: str) -> None:
    async with api_harness() as api:
        assert (await api.post(path)).status == 200


async def test_a_body_that_is_too_large_is_a_413() -> None:
    async with api_harness() as api:
        answer = await api.post("/tags.create", b" " * 1_048_577)
        assert (answer.status, answer.json()["code"]) == (413, "too_large")


async def test_an_unexpected_error_is_a_500_with_the_request_id_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_harness(projecting=False) as api:
        monkeypatch.setattr(api.store, "tags", None)
        with capture_logs() as logged:
            answer = await api.post("/tags.list", x_request_id="request-1")
        assert answer.status == 500
        assert answer.headers["x-request-id"] == "request-1"
        assert answer.json()["code"] == "internal"
        assert b"NoneType" not in answer.body
        (line,) = logged
        assert (line["event"], line["request_id"], line["error"]) == ("request.failed", "request-1", "TypeError")
        assert "airy.http.tags:" in line["traceback"]
        assert "NoneType" not in str(line), "the text of an error may quote a request"


async def test_an_unavailable_store_is_a_503_with_retry_after() -> None:
    async with api_harness(projecting=False) as api:
        await api.store.close()
        answer = await api.post("/tags.list")
        assert (answer.status, answer.headers["retry-after"], answer.json()["code"]) == (503, "1", "unavailable")


async def test_every_response_has_a_request_id() -> None:
    async with api_harness() as api:
        given = await api.post("/tags.list", x_request_id="abc-1")
        assert given.headers["x-request-id"] == "abc-1"
        new_ids = [(await api.post("/tags.list", x_request_id="no\tgood")).headers["x-request-id"] for _ in "ab"]
        assert len(set(new_ids)) == 2


# --- CORS


async def test_an_allowed_origin_is_echoed_and_other_origins_are_rejected() -> None:
    async with api_harness() as api:
        allowed = await api.post("/tags.list", origin=ORIGIN)
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert allowed.headers["access-control-allow-credentials"] == "true"
        assert "x-airy-position" in allowed.headers["access-control-expose-headers"]
        for origin in ("https://inboxXexample.net", "https://inbox.example.net.evil.org", "null", ORIGIN + ":444"):
            refused = await api.post("/tags.create", {"name": "x", "color": "tag-red"}, origin=origin)
            assert refused.status == 403
            assert "access-control-allow-origin" not in refused.headers
        assert (await api.call("/tags.list"))["data"] == []


async def test_a_same_origin_request_needs_no_cors_configuration() -> None:
    async with api_harness() as api:
        assert (await api.post("/tags.list", origin="https://airy.example.net", host="airy.example.net")).status == 200


async def test_preflights_of_allowed_origins_need_no_token() -> None:
    async with api_harness() as api:
        asked = [("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")]
        answer = await call(api.app, "OPTIONS", "/tags.list", headers=[("origin", ORIGIN), *asked])
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert (await call(api.app, "OPTIONS", "/tags.list", headers=[("origin", "https://x.y"), *asked])).status == 403


# --- probes, metrics


async def test_probes_need_no_token_and_report_health() -> None:
    async with api_harness() as api:
        for path, document in (
            ("/livez", {"alive": True, "installation": "tests"}),
            ("/readyz", {"ready": True, "waiting_for": {}}),
            ("/actuator/health", {"status": "UP"}),
        ):
            answer = await call(api.app, "GET", path)
            assert (answer.status, answer.json()) == (200, document)
        api.health.waiting = {"store": "folding the log"}
        ready = await call(api.app, "GET", "/readyz")
        assert (ready.status, ready.json()) == (503, {"ready": False, "waiting_for": {"store": "folding the log"}})
        assert (await call(api.app, "GET", "/actuator/health")).json() == {"status": "DOWN"}
        assert (await call(api.app, "GET", "/livez")).status == 200
        api.health.is_alive = False
        assert (await call(api.app, "GET", "/livez")).status == 503
        assert api.app.responses == {}, "a probe's 503 does not count as a failed request"


async def test_metrics_need_a_token_and_are_in_the_prometheus_format() -> None:
    async with api_harness() as api:
        await api.post("/tags.list")
        await api.post("/tags.nope")
        assert (await call(api.app, "GET", "/metrics")).status == 403
        answer = await call(api.app, "GET", "/metrics", headers=[("authorization", TOKEN)])
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.body.decode().splitlines()
        assert 'airy_responses_total{kind="2xx"} 1.0' in lines
        assert 'airy_responses_total{kind="4xx"} 2.0' in lines
        assert "# TYPE airy_responses_total counter" in lines
        assert "airy_send_pending 3.0" in lines


async def test_provider_webhooks_bypass_litestar_and_need_no_token() -> None:
    async with api_harness() as api:
        for path in ("/facebook", "/facebook/"):
            headers = [("x-hub-signature-256", signature(b"{}").decode())]
            assert (await call(api.app, "POST", path, body=b"{}", headers=headers)).status == 200
        assert (await call(api.app, "POST", "/facebook", body=b"{}")).status == 403


def test_actions_have_summaries_and_the_names_of_the_original() -> None:
    assert len(PATHS) == len(set(PATHS))
    for each in ACTIONS:
        assert each.summary, each.paths
        assert each.paths[0] in {each.paths[0].lower(), "/chatplugin.resumeToken"}
    assert {"/conversations.setState", "/conversations.removeState", "/conversations.updateContact"} < set(PATHS)

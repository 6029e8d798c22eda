"""What is the same for every route: who may call, what errors look like, probes, metrics, the description."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.routes import HTTPRoute
from structlog.testing import capture_logs

from airy.errors import Refused
from airy.http.app import ACTIONS
from airy.http.asgi import RawHeaders
from airy.http.auth import ANONYMOUS, PERMISSION, Caller, Guard, OpenMode, Permission, Tokens
from airy.http.cors import Cors
from airy.http.problems import Problem
from airy.secret import Secret
from tests.kit.asgi import call
from tests.kit.edge import ORIGIN, TOKEN, desk
from tests.kit.signing import signature

PATHS = [path for each in ACTIONS for path in each.paths]
OPEN_PATHS = {"/livez", "/readyz", "/actuator/health"}


# --- permissions


async def test_every_route_declares_its_permission_and_only_probes_are_open() -> None:
    async with desk() as edge:
        declared: dict[str, Permission | None] = {}
        for route in edge.front.app.routes:
            for handler in cast("HTTPRoute", route).route_handlers:
                if handler.http_methods != {"OPTIONS"}:
                    declared[route.path] = handler.opt.get(PERMISSION)
        assert [path for path, permission in declared.items() if not isinstance(permission, Permission)] == []
        assert {path for path, permission in declared.items() if permission is Permission.OPEN} == OPEN_PATHS
        assert set(PATHS) < declared.keys()


async def test_a_route_without_a_permission_cannot_be_called_by_anybody() -> None:
    handler, connection = SimpleNamespace(opt={}), SimpleNamespace(scope={"headers": []})
    with pytest.raises(Problem, match="forbidden"):
        await Guard([OpenMode()])(connection, handler)  # type: ignore[arg-type]


async def test_without_a_valid_token_every_action_is_a_403_that_does_nothing() -> None:
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", TOKEN[:-1])],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", TOKEN), ("authorization", TOKEN)],
    ]
    async with desk() as edge:
        for path in PATHS:
            for headers in wrong if path == "/tags.create" else wrong[:1]:
                answer = await call(
                    edge.front,
                    "POST",
                    path,
                    headers=[*headers, ("content-type", "application/json")],
                    body=b'{"name":"x","color":"tag-red"}',
                )
                assert answer.status == 403, path
                assert answer.json() == {"message": "forbidden", "code": "forbidden", "fields": []}
        assert (await edge.asked("/tags.list"))["data"] == []


@pytest.mark.parametrize("given", [TOKEN, f"Bearer {TOKEN}", f"bearer  {TOKEN} "])
async def test_a_token_may_come_bare_or_as_a_bearer(given: str) -> None:
    async with desk() as edge:
        assert (await edge.post("/tags.list", authorization=given)).status == 200


async def test_tokens_have_names_and_no_part_of_them_gets_out() -> None:
    tokens = Tokens({"crm": Secret("first-token-of-a-crm"), "bot": Secret("other-token-of-a-bot")})
    assert tokens.authenticate([(b"authorization", b"other-token-of-a-bot")]) == Caller("system-token-bot")
    assert tokens.authenticate([(b"authorization", b"first-token-of-a-bot")]) is None
    assert "token-of" not in repr(vars(tokens))


@pytest.mark.parametrize("tokens", [{}, {"short": Secret("12345")}])
def test_no_token_and_guessable_ones_are_refused(tokens: dict[str, Secret]) -> None:
    with pytest.raises(Refused, match=r"no API token|easy to guess"):
        Tokens(tokens)


async def test_open_mode_lets_everybody_in_under_one_name() -> None:
    async with desk(authenticators=[OpenMode()]) as edge:
        assert (await call(edge.front, "POST", "/tags.list")).status == 200
    assert OpenMode().authenticate([]) == ANONYMOUS


async def test_a_caller_may_do_only_what_they_are_permitted() -> None:
    class Reader:
        def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
            return Caller("reader", frozenset({Permission.READ}))

    async with desk(authenticators=[Reader()]) as edge:
        for each in ACTIONS:
            answer = await call(edge.front, "POST", each.paths[0], headers=[("content-type", "application/json")])
            assert (answer.status == 403) == (each.permission is not Permission.READ), each.paths


# --- errors, in one shape


async def test_unknown_paths_and_wrong_methods_are_problems_too() -> None:
    async with desk() as edge:
        assert await edge.asked("/tags.nope", status=404) == {
            "message": "no such path; /schema/openapi.json lists them all",
            "code": "not_found",
            "fields": [],
        }
        assert (await edge.post("/Tags.list")).status == 404
        answer = await call(edge.front, "GET", "/tags.list", headers=[("authorization", TOKEN)])
        assert (answer.status, answer.json()["code"]) == (405, "method_not_allowed")
        assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/tags.list/", "/tags.list"])
async def test_a_trailing_slash_makes_no_difference(path: str) -> None:
    async with desk() as edge:
        assert (await edge.post(path)).status == 200


async def test_a_body_that_is_too_large_is_a_413() -> None:
    async with desk() as edge:
        answer = await edge.post("/tags.create", b" " * 1_048_577)
        assert (answer.status, answer.json()["code"]) == (413, "too_large")


async def test_a_bug_is_a_500_that_tells_nothing_but_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk(following=False) as edge:
        monkeypatch.setattr(edge.store, "tags", None)
        with capture_logs() as logged:
            answer = await edge.post("/tags.list", x_request_id="look-here")
        assert answer.status == 500
        assert answer.headers["x-request-id"] == "look-here"
        assert answer.json()["code"] == "internal"
        assert b"NoneType" not in answer.body
        assert [(line["event"], line["request_id"]) for line in logged] == [("request.failed", "look-here")]


async def test_a_store_that_cannot_serve_is_a_503_to_be_tried_again() -> None:
    async with desk(following=False) as edge:
        await edge.store.close()
        answer = await edge.post("/tags.list")
        assert (answer.status, answer.headers["retry-after"], answer.json()["code"]) == (503, "1", "unavailable")


async def test_every_answer_carries_its_request_id() -> None:
    async with desk() as edge:
        given = await edge.post("/tags.list", x_request_id="abc-1")
        assert given.headers["x-request-id"] == "abc-1"
        made = [(await edge.post("/tags.list", x_request_id="no\tgood")).headers["x-request-id"] for _ in "ab"]
        assert len(set(made)) == 2


# --- pages of other origins


async def test_allowed_pages_get_their_origin_back_and_others_nothing() -> None:
    async with desk() as edge:
        allowed = await edge.post("/tags.list", origin=ORIGIN)
        assert allowed.status == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert allowed.headers["access-control-allow-credentials"] == "true"
        assert "x-airy-position" in allowed.headers["access-control-expose-headers"]
        for origin in ("https://inboxXexample.net", "https://inbox.example.net.evil.org", "null", ORIGIN + ":444"):
            refused = await edge.post("/tags.create", {"name": "x", "color": "tag-red"}, origin=origin)
            assert refused.status == 403
            assert "access-control-allow-origin" not in refused.headers
        assert (await edge.asked("/tags.list"))["data"] == []


async def test_a_page_of_the_server_itself_needs_no_permission() -> None:
    async with desk() as edge:
        assert (await edge.post("/tags.list", origin="https://airy.example.net", host="airy.example.net")).status == 200


async def test_preflights_of_allowed_pages_are_answered_without_a_token() -> None:
    async with desk() as edge:
        asked = [("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")]
        answer = await call(edge.front, "OPTIONS", "/tags.list", headers=[("origin", ORIGIN), *asked])
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
        assert "authorization" in answer.headers["access-control-allow-headers"]
        assert (
            await call(edge.front, "OPTIONS", "/tags.list", headers=[("origin", "https://x.y"), *asked])
        ).status == 403


def test_a_star_is_not_an_origin() -> None:
    with pytest.raises(Refused, match="names each origin"):
        Cors(["*"])


# --- probes, metrics


async def test_probes_are_open_and_say_what_they_know() -> None:
    async with desk() as edge:
        for path, document in (
            ("/livez", {"alive": True}),
            ("/readyz", {"ready": True, "waiting_for": {}}),
            ("/actuator/health", {"status": "UP"}),
        ):
            answer = await call(edge.front, "GET", path)
            assert (answer.status, answer.json()) == (200, document)
        edge.status.waiting = {"store": "folding the log"}
        ready = await call(edge.front, "GET", "/readyz")
        assert (ready.status, ready.json()) == (503, {"ready": False, "waiting_for": {"store": "folding the log"}})
        assert (await call(edge.front, "GET", "/actuator/health")).json() == {"status": "DOWN"}
        assert (await call(edge.front, "GET", "/livez")).status == 200
        edge.status.is_alive = False
        assert (await call(edge.front, "GET", "/livez")).status == 503
        assert edge.front.responses == {}, "a probe's 503 is no request that failed"


async def test_metrics_need_a_token_and_show_what_is_counted() -> None:
    async with desk() as edge:
        await edge.post("/tags.list")
        await edge.post("/tags.nope")
        assert (await call(edge.front, "GET", "/metrics")).status == 403
        answer = await call(edge.front, "GET", "/metrics", headers=[("authorization", TOKEN)])
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.body.decode().splitlines()
        assert 'airy_responses_total{what="2xx"} 1.0' in lines
        assert 'airy_responses_total{what="4xx"} 2.0' in lines
        assert "# TYPE airy_responses_total counter" in lines
        assert "airy_send_pending 3.0" in lines


async def test_provider_callbacks_are_dispatched_in_front_and_need_no_token() -> None:
    async with desk() as edge:
        for path in ("/facebook", "/facebook/"):
            headers = [("x-hub-signature-256", signature(b"{}").decode())]
            assert (await call(edge.front, "POST", path, body=b"{}", headers=headers)).status == 200
        assert (await call(edge.front, "POST", "/facebook", body=b"{}")).status == 403


# --- the description


async def test_the_description_names_every_action_and_resolves() -> None:
    async with desk() as edge:
        answer = await call(edge.front, "GET", "/schema/openapi.json", headers=[("authorization", TOKEN)])
        document = answer.json()
    assert set(document["paths"]) == set(PATHS)
    assert document["info"] == {"title": "Airy Core API", "version": "1.2.3"}
    schemas = document["components"]["schemas"]
    references: list[str] = []
    _collect(document, references)
    assert references
    assert {reference.removeprefix("#/components/schemas/") for reference in references} <= schemas.keys()
    operations = [path["post"]["operationId"] for path in document["paths"].values()]
    assert len(operations) == len(set(operations))
    assert all(path["post"]["summary"] for path in document["paths"].values())


def _collect(node: Any, references: list[str]) -> None:
    if isinstance(node, dict):
        references += [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        for inner in node.values():
            _collect(inner, references)
    elif isinstance(node, list):
        for inner in node:
            _collect(inner, references)


def test_actions_are_named_like_the_original_and_have_summaries() -> None:
    assert len(PATHS) == len(set(PATHS))
    for each in ACTIONS:
        assert each.summary, each.paths
        assert each.paths[0] == each.paths[0].lower()
    assert {"/conversations.setState", "/conversations.removeState", "/conversations.updateContact"} < set(PATHS)

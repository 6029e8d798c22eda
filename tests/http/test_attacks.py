"""Attacks on authentication: every row is refused. The code flow's own table is in test_login.py."""

import hmac
from base64 import b64decode
from collections.abc import Callable
from hashlib import sha256, sha384, sha512

import pytest
from structlog.testing import capture_logs

from airy import topics
from airy.commands import UserProfile
from airy.commands.users import UserCommands
from airy.http.catalogue import ACTIONS
from airy.permissions import Permission
from tests.kit.api import DAY_MS, JWT_SECRET, ORIGIN, PUBLIC_URL, TOKEN, ApiHarness, api_harness
from tests.kit.asgi import AsgiResponse, call
from tests.kit.asgi_websocket import open_websocket
from tests.kit.builders import START_MS
from tests.kit.jwt import encoded, signed_token, token_claims, user_claims

NOW_S = (START_MS + DAY_MS) / 1000
ADMIN = token_claims("admin", roles=["admin"])
PERSON = user_claims(expires_at_s=NOW_S + 60)
OTHER_SECRET = "b3RoZXIx" * 16
PROTECTED = "/tags.list"
OF_VISITORS = ("/chatplugin.", "/media.upload")  # a visitor may attach a file


async def get_in(api: ApiHarness, token: str) -> bool:
    answer = await api.post(PROTECTED, authorization=f"Bearer {token}")
    assert answer.status in (200, 403), answer.status
    return answer.status == 200


# --- A1 to A6 of the original's own suite


async def test_a1_and_a6_without_a_credential_the_answer_is_403_and_no_redirect() -> None:
    async with api_harness() as api:
        answer = await call(api.app, "POST", PROTECTED)
        assert (answer.status, answer.headers.get("location")) == (403, None)
        assert answer.json() == {"message": "forbidden", "code": "forbidden", "fields": []}


async def test_a2_a_wrong_token_is_403_and_a_right_one_200() -> None:
    async with api_harness() as api:
        assert not await get_in(api, TOKEN[:-1])
        assert await get_in(api, TOKEN)
        assert (await api.post(PROTECTED, authorization=TOKEN)).status == 200


async def test_a4_a_preflight_of_an_allowed_origin_is_answered_with_that_origin() -> None:
    async with api_harness() as api:
        headers = [("origin", ORIGIN), ("access-control-request-method", "POST")]
        answer = await call(api.app, "OPTIONS", PROTECTED, headers=headers)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)


# --- signed tokens


def with_algorithm(name: str, digest: Callable[..., object] | None = None) -> str:
    text = f"{encoded({'alg': name, 'typ': 'JWT'})}.{encoded(ADMIN)}"
    key = b64decode(JWT_SECRET)
    return f"{text}.{encoded(hmac.digest(key, text.encode(), digest)) if digest else ''}"  # type: ignore[arg-type]


def with_header(**header: object) -> str:
    return signed_token(ADMIN, JWT_SECRET, header={"alg": "HS256"} | header)


HEADER, _, SIGNATURE = signed_token(ADMIN, JWT_SECRET).split(".")
TAMPERED = f"{HEADER}.{encoded(token_claims('x'))}.{SIGNATURE}"

FORGED = {
    "no algorithm": with_algorithm("none"),
    "no algorithm, other case": with_algorithm("NoNe"),
    "no signature": signed_token(ADMIN, JWT_SECRET).rpartition(".")[0] + ".",
    "signature removed": signed_token(ADMIN, JWT_SECRET).rpartition(".")[0],
    "another algorithm of the key": with_algorithm("HS384", sha384),
    "a longer algorithm of the key": with_algorithm("HS512", sha512),
    "named RS256, signed by HMAC": with_algorithm("RS256", sha256),
    "named ES256, signed by HMAC": with_algorithm("ES256", sha256),
    "another key": signed_token(ADMIN, OTHER_SECRET),
    "the empty key": signed_token(ADMIN, "", key=b"\0"),
    "the secret itself as key": signed_token(ADMIN, "", key=JWT_SECRET.encode()),
    "own key in the header": signed_token(
        ADMIN, OTHER_SECRET, header={"alg": "HS256", "jwk": {"kty": "oct", "k": OTHER_SECRET}}
    ),
    "own key at an address": signed_token(ADMIN, OTHER_SECRET, header={"alg": "HS256", "jku": "https://evil.example"}),
    "own certificate": signed_token(ADMIN, OTHER_SECRET, header={"alg": "HS256", "x5u": "https://evil.example"}),
    "key id as a path": signed_token(ADMIN, "", key=b"\0", header={"alg": "HS256", "kid": "../../../dev/null"}),
    "key id as SQL": signed_token(ADMIN, "", key=b"\0", header={"alg": "HS256", "kid": "x' UNION SELECT 'k"}),
    "unknown critical header": with_header(crit=["x"], x=1),
    "another type": with_header(typ="at+jwt"),
    "a nested header": f"{encoded(b'[' * 5_000)}.{encoded(ADMIN)}.x",
    "nested claims": signed_token({"principal": "[" * 5_000}, JWT_SECRET),
    "claims that are a list": signed_token([ADMIN], JWT_SECRET),  # type: ignore[arg-type]
    "tampered claims": TAMPERED,
    "expired": signed_token(ADMIN | {"exp": NOW_S - 1}, JWT_SECRET),
    "expiry as text": signed_token(ADMIN | {"exp": str(NOW_S + 60)}, JWT_SECRET),
    "not yet valid": signed_token(ADMIN | {"nbf": NOW_S + 3_600}, JWT_SECRET),
    "issued in the future": signed_token(ADMIN | {"iat": NOW_S + 3_600}, JWT_SECRET),
    "another audience": signed_token(ADMIN | {"aud": "chatplugin"}, JWT_SECRET),
    "other audiences": signed_token(ADMIN | {"aud": ["a", "b"]}, JWT_SECRET),
    "no audience in a list": signed_token(ADMIN | {"aud": []}, JWT_SECRET),
    "another issuer": signed_token(ADMIN | {"iss": "https://evil.example"}, JWT_SECRET),
    "a person's without expiry": signed_token(user_claims(expires_at_s=None), JWT_SECRET),
    "a person's without id": signed_token(user_claims("", expires_at_s=NOW_S + 60), JWT_SECRET),
    "no principal": signed_token({"sub": "admin", "roles": ["admin"]}, JWT_SECRET),
    "a principal that is no text": signed_token({"principal": {"name": "admin"}}, JWT_SECRET),
    "a principal of both kinds": signed_token(
        {"principal": '{"id":"a","name":"b","roles":["admin"]}', "exp": NOW_S + 60}, JWT_SECRET
    ),
    "a visitor's of the chat plugin": signed_token(
        {"sub": "c", "conversation_id": "c", "channel_id": "d", "exp": NOW_S + 60}, JWT_SECRET
    ),
    "a visitor's resume token": signed_token(
        {"sub": "c", "resume_conversation_id": "c", "resume_channel_id": "d", "exp": NOW_S + 60}, JWT_SECRET
    ),
    "a source's": signed_token(token_claims("source_app:shop", {"source": "shop"}, ["admin"]), JWT_SECRET),
    "a visitor's role": signed_token(token_claims("x", roles=["visitor"]), JWT_SECRET),
    "encrypted": "a.b.c.d.e",
    "too long": signed_token(ADMIN | {"x": "x" * 9_000}, JWT_SECRET),
}


@pytest.mark.parametrize("attack", FORGED)
async def test_a_forged_or_foreign_signed_token_is_refused(attack: str) -> None:
    async with api_harness() as api:
        assert await get_in(api, signed_token(ADMIN, JWT_SECRET)), "the token it imitates is accepted"
        assert not await get_in(api, FORGED[attack])
        cookie = f"airy_auth_token={FORGED[attack]}"
        answer = await call(api.app, "POST", PROTECTED, headers=[("cookie", cookie), ("origin", ORIGIN)])
        assert answer.status == 403


# --- tokens of the wrong kind


async def test_no_credential_is_accepted_in_the_place_of_another() -> None:
    async with api_harness() as api:
        created = (await api.call("/tokens.create", {"name": "x", "role": "admin"}, status=201))["token"]
        users = UserCommands(api.writer, api.store)
        session = (await users.log_in(UserProfile(id="x:1", email="ada@example.org"), login_id="l", valid_s=60)).value
        session_token = session.token.reveal()
        for name in ("airy_auth_token", "__Host-airy_auth_token"):
            for token in (TOKEN, created, f"Bearer {TOKEN}"):
                headers = [("cookie", f"{name}={token}"), ("origin", ORIGIN)]
                assert (await call(api.app, "POST", PROTECTED, headers=headers)).status == 403
        for value in (session_token, f"airy_{session_token}", session.user.sessions[0].sha256, session.user.id):
            assert not await get_in(api, value)
        two = [("authorization", TOKEN), ("authorization", f"Bearer {TOKEN}")]
        assert (await call(api.app, "POST", PROTECTED, headers=two)).status == 403
        for value in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", f"Bearer Bearer {TOKEN}", f"{TOKEN},{TOKEN}"):
            assert (await api.post(PROTECTED, authorization=value)).status == 403, value


# --- paths


@pytest.mark.parametrize(
    "path",
    [
        "/tokens.list/",
        "//tokens.list",
        "/tokens.list//",
        "/./tokens.list",
        "/livez/../tokens.list",
        "/livez/%2e%2e/tokens.list",
        "/livez%2f..%2ftokens.list",
        "/livez/tokens.list",
        "/livez;/tokens.list",
        "/tokens.list;/livez",
        "/tokens.list%00/livez",
        "/tokens.list%20",
        "/tokens%2elist",
        "/TOKENS.LIST",
        "/tokens.List",
        "/actuator/health/../../tokens.list",
        "/login/../tokens.list",
        "/login/oauth2/code/../../../tokens.list",
        "/oauth2/authorization/..%2f..%2ftokens.list",
        "/facebook/../tokens.list",
        "/facebook/tokens.list",
        "\\tokens.list",
        "/tokens.list#/livez",
    ],
)
async def test_no_spelling_of_a_path_avoids_the_guard(path: str) -> None:
    async with api_harness() as api:
        for method in ("POST", "GET", "PUT", "HEAD", "OPTIONS", "TRACE"):
            headers = [
                ("x-original-url", "/livez"),
                ("x-rewrite-url", "/livez"),
                ("x-http-method-override", "GET"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "localhost"),
            ]
            answer = await call(api.app, method, path, headers=headers)
            assert answer.status >= 400 or not answer.body or method == "OPTIONS", (method, answer.status)
            assert b"system-token" not in answer.body


# --- origins


FOREIGN = [
    "https://evil.example",
    "null",
    "file://",
    "*",
    f"{ORIGIN}.evil.example",
    f"{ORIGIN}:444",
    f"{ORIGIN}/",
    f"{ORIGIN}@evil.example",
    ORIGIN.replace("https", "http"),
    ORIGIN.replace(".", "x", 1),
    ORIGIN.replace("//", "//evil"),
    f"{ORIGIN} https://evil.example",
    PUBLIC_URL.replace("https", "http"),
]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_neither_served_nor_reflected(origin: str) -> None:
    async with api_harness() as api:
        host = ("host", PUBLIC_URL.partition("//")[2])
        preflight = [("origin", origin), host, ("access-control-request-method", "POST")]
        actual = [("origin", origin), host, ("authorization", TOKEN)]
        for method, headers in (("OPTIONS", preflight), ("POST", actual), ("GET", actual)):
            answer = await call(api.app, method, PROTECTED, headers=headers)
            assert answer.status == 403
            assert not [name for name in answer.headers if name.startswith("access-control-")]
        async with open_websocket(api.app, "/ws.communication", actual) as websocket:
            assert websocket.rejection is not None
            assert websocket.rejection.status == 403


async def test_a_foreign_page_cannot_open_a_websocket_with_the_session_of_its_visitor() -> None:
    async with api_harness() as api:
        users = UserCommands(api.writer, api.store)
        done = await users.log_in(UserProfile(id="x:1", email="ada@example.org"), login_id="l", valid_s=60)
        cookie = ("cookie", f"__Host-airy_auth_token={done.value.token.reveal()}")
        for path in ("/ws.communication", "/events"):
            async with open_websocket(api.app, path, [cookie, ("origin", "https://evil.example")]) as websocket:
                assert websocket.rejection is not None
                assert websocket.rejection.status == 403
            async with open_websocket(api.app, path, [cookie, ("origin", ORIGIN)]) as websocket:
                assert websocket.rejection is None


# --- canaries


async def test_secrets_appear_in_no_answer_no_log_line_no_topic_and_no_metric() -> None:
    """X-10. Also where things fail. The only answers with a secret are the one that creates a token, and the cookie."""
    with capture_logs() as logged:
        async with api_harness() as api:
            answers: list[AsgiResponse] = []

            async def ask(path: str, body: object = None, /, **headers: str) -> None:
                answers.append(await api.post(path, body, **headers))

            created = (await api.call("/tokens.create", {"name": "x", "role": "agent"}, status=201))["token"]
            users = UserCommands(api.writer, api.store)
            done = await users.log_in(UserProfile(id="x:1", email="ada@example.org"), login_id="l", valid_s=60)
            session, signed = done.value.token.reveal(), signed_token(PERSON, JWT_SECRET)
            page = {"page_id": "204918377001", "page_token": "user token"}
            hook = {"url": "https://hook.example.org", "signature_key": "canary-key", "headers": {"x": "canary-header"}}
            for each in ACTIONS:
                for credential in (TOKEN, created, signed, f"{created}x", f"{signed}x"):
                    await ask(each.paths[0], {}, authorization=credential)
                await ask(each.paths[0], b"{", authorization=TOKEN)
            await ask("/channels.facebook.connect", page)
            await ask("/channels.facebook.connect", {**page, "page_token": "canary-token"})
            await ask("/webhooks.subscribe", hook)
            for path in ("/webhooks.list", "/channels.list", "/tokens.list", "/users.list", "/client.config"):
                await ask(path)
            cookie = f"airy_auth_token={session}"
            answers.append(
                await call(api.app, "POST", "/tags.create", headers=[("cookie", cookie), ("origin", ORIGIN)])
            )
            answers.append(await call(api.app, "POST", "/logout", headers=[("cookie", cookie), ("origin", ORIGIN)]))
            answers.append(await call(api.app, "GET", "/metrics", headers=[("authorization", TOKEN)]))
            answers.append(await call(api.app, "GET", "/schema/openapi.json", headers=[("authorization", TOKEN)]))
            records = [record for topic in topics.ALL for record in await api.records(topic)]
    written = b"".join(
        [record.key + (record.value or b"") + repr(record.headers).encode() for record in records]
        + [repr(answer.raw_headers).encode() + answer.body for answer in answers]
        + [repr(logged).encode()]
    )
    signature = signed.rpartition(".")[2]
    canaries = [TOKEN, created[27:], session.partition(".")[0], signature, JWT_SECRET, "long lived token"]
    assert len(records) > 10
    for canary in (*canaries, "user token", "canary-token", "canary-key", "canary-header"):
        assert canary.encode() not in written, canary


async def test_a_visitors_token_opens_no_route_of_agents() -> None:
    async with api_harness() as api:
        channel = await api.call("/channels.chatplugin.connect", {"name": "web"})
        visit = await api.call("/chatplugin.authenticate", {"channel_id": channel["id"]})
        for each in ACTIONS:
            if not each.paths[0].startswith(OF_VISITORS):
                answer = await api.post(each.paths[0], {}, authorization=visit["token"])
                assert answer.status == 403, each.paths[0]
                headers = [("cookie", f"airy_auth_token={visit['token']}"), ("origin", ORIGIN)]
                assert (await call(api.app, "POST", each.paths[0], headers=headers)).status == 403, each.paths[0]


def test_what_visitors_may_call_is_the_plugins_alone() -> None:
    others = {each.permission for each in ACTIONS if not each.paths[0].startswith("/chatplugin.")}
    assert others & {Permission.VISIT, Permission.OPEN} == set()


def test_what_sources_may_call_is_their_own_alone() -> None:
    ingesting = {each.paths[0] for each in ACTIONS if each.permission is Permission.INGEST}
    assert ingesting == {
        "/sources.channels.create",
        "/sources.channels.list",
        "/sources.channels.disconnect",
        "/sources.webhook",
    }

"""Sessions: cookies of people who logged in, JWTs of the original, and the proofs that a cookie needs."""

from typing import Any

import anyio
import pytest

from airy import topics
from airy.commands import UserProfile
from airy.commands.users import UserCommands
from airy.http.response_schemas import PageSchema, UserSchema
from airy.model.session import SESSIONS_MAX
from tests.kit.api import DAY_MS, JWT_SECRET, LOGINS, ORIGIN, ApiHarness, api_harness
from tests.kit.asgi import AsgiResponse, call
from tests.kit.builders import START_MS
from tests.kit.jwt import signed_token, token_claims, user_claims
from tests.kit.response_schemas import validated

NOW_S = (START_MS + DAY_MS) / 1000
ADA = UserProfile(id="google:Ada@example.org", name="Ada", avatar_url="https://x.y/a.png", email="ada@example.org")
BOB = UserProfile(id="google:bob@example.org", name="Bob", email="bob@example.org")
TAG = b'{"name":"new","color":"tag-red"}'


async def log_in(api: ApiHarness, profile: UserProfile = BOB, *, login_id: str = "one", valid_s: int = 3600) -> str:
    """The session token."""
    done = await UserCommands(api.writer, api.store).log_in(profile, login_id=login_id, valid_s=valid_s)
    return done.value.token.reveal()


async def request(api: ApiHarness, path: str, cookie: str, body: bytes = b"", /, **headers: str) -> AsgiResponse:
    given = {"cookie": cookie, "content-type": "application/json", **headers}
    return await call(
        api.app, "POST", path, body=body, headers=[(name.replace("_", "-"), value) for name, value in given.items()]
    )


async def is_accepted(api: ApiHarness, cookie: str, **headers: str) -> bool:
    proof = headers or {"origin": ORIGIN}
    answer = await request(api, "/tags.list", cookie, **proof)
    assert answer.status in (200, 403)
    return answer.status == 200


# --- session cookies


async def test_a_session_acts_as_its_user_with_the_role_of_the_address() -> None:
    async with api_harness() as api:
        ada, bob = await log_in(api, ADA), await log_in(api, BOB)
        for token, status in ((ada, 200), (bob, 403)):
            answer = await request(api, "/tokens.list", f"__Host-airy_auth_token={token}", origin=ORIGIN)
            assert answer.status == status
        config = (await request(api, "/client.config", f"a=b; airy_auth_token={ada}", origin=ORIGIN)).json()
        profile = {"id": "google:ada@example.org", "name": "Ada", "avatar_url": "https://x.y/a.png"}
        assert config["user_profile"] == profile


async def test_only_the_hash_of_a_session_is_stored_and_it_is_no_api_token() -> None:
    async with api_harness() as api:
        token = await log_in(api)
        [record] = await api.records(topics.USERS)
        assert token.partition(".")[0].encode() not in (record.value or b"")
        assert (await api.post("/tags.list", authorization=f"Bearer {token}")).status == 403
        created = await api.call("/tokens.create", {"name": "x", "role": "agent"}, status=201)
        assert not await is_accepted(api, f"airy_auth_token={created['token']}")


async def test_a_session_ends_by_expiry_by_logout_and_with_the_permission_to_log_in() -> None:
    async with api_harness() as api:
        users = UserCommands(api.writer, api.store)
        short, other = await log_in(api, valid_s=60), await log_in(api, login_id="two")
        assert await is_accepted(api, f"airy_auth_token={short}")
        await anyio.sleep(60)
        assert not await is_accepted(api, f"airy_auth_token={short}")
        assert await is_accepted(api, f"airy_auth_token={other}")
        await users.log_out(BOB.id, "two")
        assert not await is_accepted(api, f"airy_auth_token={other}")
        third = await log_in(api, login_id="three")
        allowed = LOGINS.pop("bob@example.org")
        try:
            assert not await is_accepted(api, f"airy_auth_token={third}")
        finally:
            LOGINS["bob@example.org"] = allowed


async def test_an_administrator_ends_all_sessions_of_a_user() -> None:
    async with api_harness() as api:
        tokens = [await log_in(api, login_id=each) for each in ("one", "two")]
        await api.call("/users.revoke-sessions", {"id": "Google:Bob@example.org"}, status=204)
        assert [await is_accepted(api, f"airy_auth_token={token}") for token in tokens] == [False, False]
        await api.call("/users.revoke-sessions", {"id": "unknown"}, status=404)


async def test_a_user_has_a_bounded_number_of_sessions_and_the_oldest_ends() -> None:
    async with api_harness() as api:
        tokens = [await log_in(api, login_id=str(number)) for number in range(SESSIONS_MAX + 1)]
        accepted = [await is_accepted(api, f"airy_auth_token={token}") for token in tokens]
        assert accepted == [False, *[True] * SESSIONS_MAX]


async def test_an_ambiguous_or_foreign_cookie_is_no_session() -> None:
    async with api_harness() as api:
        token, other = await log_in(api), await log_in(api, login_id="two")
        for cookie in (
            f"airy_auth_token={token}; airy_auth_token={other}",
            f"__Host-airy_auth_token=x; airy_auth_token={token}",
            f"xairy_auth_token={token}",
            f"airy_auth_token={token}x",
            f"airy_auth_token={token.partition('.')[0]}.{other.partition('.')[2][:-2]}",
            "airy_auth_token=.",
            "airy_auth_token",
            f"airy_auth_token={token.partition('.')[0]}.//8",
        ):
            assert not await is_accepted(api, cookie), cookie


async def test_a_wrong_header_is_an_error_even_with_a_session() -> None:
    async with api_harness() as api:
        cookie = f"airy_auth_token={await log_in(api)}"
        assert not await is_accepted(api, cookie, origin=ORIGIN, authorization="wrong")


# --- requests that other sites cause


@pytest.mark.parametrize(
    ("headers", "accepted"),
    [
        ({"x_requested_with": "XMLHttpRequest"}, True),
        ({"sec_fetch_site": "same-origin"}, True),
        ({"origin": ORIGIN}, True),
        ({"origin": "http://api.example.org", "host": "api.example.org"}, True),
        ({"origin": ORIGIN, "sec_fetch_site": "cross-site"}, True),
        ({"x_other": "1"}, False),
        ({"sec_fetch_site": "cross-site"}, False),
        ({"sec_fetch_site": "same-site"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"sec_fetch_site": "cross-site", "x_requested_with": "x"}, False),
        ({"origin": "https://evil.example", "x_requested_with": "x"}, False),
        ({"origin": "null"}, False),
    ],
)
async def test_a_cookie_needs_proof_that_no_other_site_caused_the_request(
    headers: dict[str, str], accepted: bool
) -> None:
    async with api_harness() as api:
        assert await is_accepted(api, f"airy_auth_token={await log_in(api)}", **headers) == accepted


# --- JWTs


async def status(api: ApiHarness, claims: dict[str, Any], path: str = "/tags.list", secret: str = JWT_SECRET) -> int:
    return (await api.post(path, authorization=f"Bearer {signed_token(claims, secret)}")).status


async def test_a_signed_token_of_a_person_acts_as_that_user_until_it_expires() -> None:
    async with api_harness() as api:
        claims = user_claims(expires_at_s=NOW_S + 60)
        config = await api.call("/client.config", authorization=signed_token(claims, JWT_SECRET))
        assert config["user_profile"]["id"] == "google:bob@example.org"
        assert await is_accepted(api, f"airy_auth_token={signed_token(claims, JWT_SECRET)}")
        assert await status(api, claims, "/webhooks.subscribe") == 403
        await anyio.sleep(60)
        assert await status(api, claims) == 403


async def test_a_signed_token_principal_has_its_roles_and_a_sources_opens_no_other_route() -> None:
    async with api_harness() as api:
        assert await status(api, token_claims("integration"), "/tokens.list") == 200
        assert await status(api, token_claims("bot", {}, ["agent"]), "/tags.list") == 200
        assert await status(api, token_claims("bot", {}, ["agent"]), "/tokens.list") == 403
        assert await status(api, token_claims("bot", {}, ["OTHER"]), "/tags.list") == 403
        for claims in (
            token_claims("source_app:shop", {"source": "shop"}),
            token_claims("source_app:shop"),
            token_claims("admin", {"source": "shop"}),
            token_claims("source_app:shop", {"source": 7}),
        ):
            assert await status(api, claims, "/tags.list") == 403


# --- users


async def test_u1_users_appear_with_their_first_write_and_are_listed_by_id() -> None:
    async with api_harness() as api:
        tokens = [
            signed_token(user_claims(f"Github:{name}", expires_at_s=NOW_S + 9e6, name=name), JWT_SECRET)
            for name in ("rosa", "ada")
        ]
        for token in (*tokens, *tokens):
            assert (await api.post("/tags.list", authorization=token)).status == 200
            assert (await api.post("/tags.create", TAG, authorization=token)).status == 201
        users = validated(PageSchema[UserSchema], await api.call("/users.list"))
        assert [user.id for user in users.data] == ["github:ada", "github:rosa"]
        assert users.pagination_data.total == 2
        assert len(await api.records(topics.USERS)) == 2  # not one per write
        await anyio.sleep(60)
        await api.post("/tags.create", TAG, authorization=tokens[0])
        later = validated(PageSchema[UserSchema], await api.call("/users.list")).data[1]
        assert later.last_seen_at > users.data[1].last_seen_at
        assert later.first_seen_at == users.data[1].first_seen_at


async def test_many_concurrent_writes_of_a_new_user_all_succeed() -> None:
    async with api_harness() as api:
        token = signed_token(user_claims(expires_at_s=NOW_S + 60), JWT_SECRET)
        statuses: list[int] = []

        async def write() -> None:
            statuses.append((await api.post("/tags.create", TAG, authorization=token)).status)

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(write)
        assert statuses == [201] * 50
        assert len(await api.records(topics.USERS)) == 1


async def test_callers_with_tokens_never_become_users() -> None:
    async with api_harness() as api:
        await api.call("/tags.create", {"name": "x", "color": "tag-red"}, status=201)
        await status(api, token_claims("bot"), "/tags.create")
        assert (await api.call("/users.list"))["data"] == []


async def test_pages_of_users_follow_their_ids() -> None:
    async with api_harness() as api:
        for number in range(5):
            await log_in(api, UserProfile(id=f"x:{number}", email="bob@example.org"), login_id=str(number))
        first = await api.call("/users.list", {"page_size": 2})
        assert [user["id"] for user in first["data"]] == ["x:0", "x:1"]
        assert first["pagination_data"] == {"previous_cursor": None, "next_cursor": "x:2", "total": 5}
        last = await api.call("/users.list", {"page_size": 2, "cursor": "x:4"})
        assert ([user["id"] for user in last["data"]], last["pagination_data"]["previous_cursor"]) == (["x:4"], "x:2")
        assert (await api.call("/users.list", {"page_size": 2, "cursor": "X:1"}))["data"][0]["id"] == "x:1"

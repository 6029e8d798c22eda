"""`/tokens.*`: API tokens are created with a scope, shown once, stored as a hash, expire, and are revoked."""

import re
from hashlib import sha256
from typing import Any

import anyio
import pytest
from msgspec import json
from msgspec.structs import replace

from airy import topics
from airy.http.response_schemas import ApiTokenSchema, CreatedApiTokenSchema, ListSchema
from tests.kit.api import DAY_MS, ApiHarness, api_harness
from tests.kit.builders import START_MS, api_token
from tests.kit.response_schemas import validated

REPORTS = {"name": "reports", "role": "analyst"}


async def created(api: ApiHarness, body: object = REPORTS, **headers: str) -> Any:
    answer = await api.call("/tokens.create", body, status=201, **headers)
    validated(CreatedApiTokenSchema, answer)
    return answer


async def status(api: ApiHarness, path: str, token: str) -> int:
    return (await api.post(path, authorization=f"Bearer {token}")).status


async def test_a_token_may_do_what_it_was_created_for_and_its_name_is_the_senders() -> None:
    async with api_harness() as api:
        token = (await created(api, {"name": "bot", "role": "agent"}))["token"]
        assert re.fullmatch(r"airy_[\w-]{64}", token)
        assert await status(api, "/tags.list", token) == 200
        assert await status(api, "/webhooks.subscribe", token) == 403
        assert await status(api, "/tokens.list", token) == 403
        assert (await api.call("/client.config", authorization=token))["user_profile"] is None


async def test_permissions_restrict_a_role_or_stand_alone() -> None:
    async with api_harness() as api:
        narrow = await created(api, {"name": "n", "role": "agent", "permissions": ["read", "read"]})
        assert narrow["permissions"] == ["read"]
        assert await status(api, "/tags.create", narrow["token"]) == 403
        alone = await created(api, {"name": "m", "permissions": ["operate"]})
        assert await status(api, "/processes.list", alone["token"]) == 200
        assert await status(api, "/tags.list", alone["token"]) == 403


async def test_no_caller_can_grant_what_it_lacks() -> None:
    async with api_harness() as api:
        clerk = (await created(api, {"name": "clerk", "permissions": ["administer", "read"]}))["token"]
        problem = await api.call("/tokens.create", {"name": "x", "role": "agent"}, status=403, authorization=clerk)
        assert problem["message"] == "the caller lacks what it grants: upload, write"
        assert await created(api, {"name": "x", "role": "analyst"}, authorization=clerk)


async def test_a_permission_that_the_role_does_not_have_is_refused() -> None:
    async with api_harness() as api:
        for permissions in (["write"], ["read", "write"]):
            outside = {"name": "x", "role": "analyst", "permissions": permissions}
            problem = await api.call("/tokens.create", outside, status=400)
            message = "the role analyst does not have write; leave one of them out"
            assert problem["fields"] == [{"field": "permissions", "message": message}]
        assert (await api.call("/tokens.list"))["data"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": " ", "role": "agent"}, "name"),
        ({"name": "x"}, "role"),
        ({"name": "x", "role": "source"}, "role"),
        ({"name": "x", "role": "visitor"}, "role"),
        ({"name": "x", "permissions": ["ingest"]}, "permissions[0]"),
        ({"name": "x", "role": "agent", "expires_in_s": 1}, "expires_in_s"),
    ],
)
async def test_a_token_without_a_sensible_scope_is_not_created(body: object, field: str) -> None:
    async with api_harness() as api:
        assert [each["field"] for each in (await api.call("/tokens.create", body, status=400))["fields"]] == [field]


async def test_only_the_hash_of_a_token_is_stored_and_no_answer_shows_it_again() -> None:
    async with api_harness() as api:
        token = (await created(api))["token"]
        [record] = await api.records(topics.API_TOKENS)
        listed = validated(ListSchema[ApiTokenSchema], await api.call("/tokens.list"))
        assert json.decode(record.value or b"")["sha256"] == sha256(token.encode()).hexdigest()
        for text in (repr(record), repr(listed)):
            assert token[5:] not in text
            assert token[27:] not in text
        assert sha256(token.encode()).hexdigest() not in json.encode(await api.call("/tokens.list")).decode()
        assert [(one.name, one.created_by) for one in listed.data] == [("reports", "system-token-tests")]


async def test_a_revoked_token_is_rejected_and_stays_listed() -> None:
    async with api_harness() as api:
        token = await created(api)
        first = await api.call("/tokens.revoke", {"id": token["id"]})
        assert await status(api, "/tags.list", token["token"]) == 403
        await anyio.sleep(5)
        assert await api.call("/tokens.revoke", {"id": token["id"]}) == first
        assert (await api.call("/tokens.list"))["data"] == [first]
        await api.call("/tokens.revoke", {"id": "00000000-0000-4000-8000-000000000000"}, status=404)


async def test_a_token_expires() -> None:
    async with api_harness() as api:
        token = (await created(api, {**REPORTS, "expires_in_s": 60}))["token"]
        await anyio.sleep(59.9)
        assert await status(api, "/tags.list", token) == 200
        await anyio.sleep(0.1)
        assert await status(api, "/tags.list", token) == 403


async def test_a_token_is_deleted_long_after_it_ended() -> None:
    async with api_harness() as api:
        old = api_token("old")
        await api.writer.write([topics.API_TOKENS.record(old.id, replace(old, revoked_at_ms=START_MS - 91 * DAY_MS))])
        recent = api_token("recent")
        await api.writer.write([topics.API_TOKENS.record(recent.id, recent)])
        await created(api)
        names = {each["name"] for each in (await api.call("/tokens.list"))["data"]}
        assert names == {"recent", "reports"}


async def test_a_repeated_key_creates_one_token_with_the_text_of_the_last_answer() -> None:
    async with api_harness() as api:
        lost = await created(api, REPORTS, idempotency_key="k")
        again = await created(api, REPORTS, idempotency_key="k")
        assert (again["id"], len((await api.call("/tokens.list"))["data"])) == (lost["id"], 1)
        assert await status(api, "/tags.list", lost["token"]) == 403
        assert await status(api, "/tags.list", again["token"]) == 200
        other = {"name": "reports", "role": "admin"}
        await api.call("/tokens.create", other, status=409, idempotency_key="k")
        await api.call("/tokens.revoke", {"id": lost["id"]})
        await api.call("/tokens.create", REPORTS, status=409, idempotency_key="k")


async def test_a_text_that_only_resembles_a_token_finds_nothing() -> None:
    async with api_harness() as api:
        token = (await created(api))["token"]
        other = (await created(api))["token"]
        swapped = token[:27] + other[27:]  # the id of one with the secret of the other
        for text in (swapped, token[:-1], f"{token}=", token.upper(), token[5:], f"airy_{'A' * 64}", "airy_", "airy_é"):
            assert await status(api, "/tags.list", text) == 403, text


async def test_a_replica_that_is_still_folding_asks_to_retry_instead_of_rejecting_a_token() -> None:
    folded = [True]
    async with api_harness(caught_up=lambda: folded[0]) as api:
        token = (await created(api))["token"]
        folded[0] = False
        assert await status(api, "/tags.list", token) == 503
        assert await status(api, "/tags.list", "no API token") == 403

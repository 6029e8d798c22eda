"""The audit trail: every administrative write, before and after, with its caller and without what it was sent."""

from typing import Any

import pytest
from msgspec import json
from structlog.testing import capture_logs

from airy import topics
from airy.errors import Unavailable
from airy.http.audit import entity_id, is_audited
from airy.http.catalogue import ACTIONS
from airy.model.audit import AuditEntry
from airy.permissions import Permission
from tests.kit.api import ApiHarness, api_harness

HOOK = {"url": "https://hook.example.org", "headers": {"x-key": "canary-header"}, "signature_key": "canary-key"}


async def entries(api: ApiHarness) -> list[AuditEntry]:
    return [json.decode(record.value or b"", type=AuditEntry) for record in await api.records(topics.AUDIT)]


async def test_an_administrative_write_is_recorded_before_and_after_with_its_entity() -> None:
    async with api_harness() as api:
        hook = await api.call("/webhooks.subscribe", HOOK, x_request_id="r-1")
        await api.call("/webhooks.unsubscribe", {"id": hook["id"]}, x_request_id="r-2")
        found = [(each.stage, each.action, each.entity_id, each.status, each.request_id) for each in await entries(api)]
        assert found == [
            ("requested", "/webhooks.subscribe", "", 0, "r-1"),
            ("finished", "/webhooks.subscribe", hook["id"], 200, "r-1"),
            ("requested", "/webhooks.unsubscribe", hook["id"], 0, "r-2"),
            ("finished", "/webhooks.unsubscribe", hook["id"], 200, "r-2"),
        ]
        assert {(each.caller, each.caller_kind) for each in await entries(api)} == {("system-token-tests", "token")}


async def test_a_refused_write_is_recorded_with_its_status() -> None:
    async with api_harness() as api:
        unknown = "00000000-0000-4000-8000-000000000000"
        await api.call("/tokens.revoke", {"id": unknown}, status=404)
        assert [(each.stage, each.entity_id, each.status) for each in await entries(api)] == [
            ("requested", unknown, 0),
            ("finished", unknown, 404),
        ]


async def test_reads_and_writes_of_agents_are_not_recorded() -> None:
    async with api_harness() as api:
        await api.call("/tokens.list")
        await api.call("/tags.create", {"name": "x", "color": "tag-red"}, status=201)
        assert await entries(api) == []


def test_every_administrative_action_that_writes_is_audited() -> None:
    administrative = {Permission.MANAGE, Permission.ADMINISTER}
    left_out = [
        each.paths[0]
        for each in ACTIONS
        if each.permission in administrative and not is_audited(each.permission, each.paths[0])
    ]
    assert sorted(left_out) == [
        "/channels.facebook.explore",
        "/components.get",
        "/components.list",
        "/components.plan",
        "/dead-letters.info",
        "/dead-letters.list",
        "/sources.info",
        "/sources.list",
        "/tokens.list",
    ]


async def test_the_trail_holds_no_secret_and_no_body() -> None:
    async with api_harness() as api:
        await api.call("/webhooks.subscribe", HOOK)
        token = await api.call("/tokens.create", {"name": "canary-name", "role": "agent"}, status=201)
        await api.call("/channels.facebook.connect", {"page_id": "204918377001", "page_token": "user token"})
        written = b"".join(record.value or b"" for record in await api.records(topics.AUDIT))
        for secret in ("canary", "user token", token["token"][5:], "hook.example.org"):
            assert secret.encode() not in written


async def test_without_the_trail_nothing_is_written_and_a_lost_outcome_is_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with api_harness() as api:
        publish, failing = api.bus.publish, ["requested"]

        async def fail(records: Any) -> Any:
            if any(each.topic == topics.AUDIT.name and failing[0].encode() in each.value for each in records):
                raise Unavailable("the log is away")
            return await publish(records)

        monkeypatch.setattr(api.bus, "publish", fail)
        await api.call("/tokens.create", {"name": "x", "role": "agent"}, status=503)
        assert (await api.call("/tokens.list"))["data"] == []
        failing[0] = "finished"
        with capture_logs() as logged:
            await api.call("/tokens.create", {"name": "x", "role": "agent"}, status=201)
        assert [line["event"] for line in logged] == ["audit.outcome_not_recorded"]


def test_an_entity_id_is_an_id_and_nothing_else() -> None:
    assert entity_id({"token": "secret", "channel_id": "c", "id": "i"}) == "i"
    assert entity_id({"token": "secret", "name": "n"}) == ""
    assert entity_id({"ids": ["a", "b"]}) == "a,b"
    assert entity_id({"id": {"nested": "secret"}, "page_id": "p"}) == "p"
    assert entity_id(None) == entity_id(["secret"]) == ""
    assert len(entity_id({"id": "x" * 10_000})) == 256

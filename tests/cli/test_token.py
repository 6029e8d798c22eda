"""`airy token`"""

from typing import Any

from tests.kit.command_line import CommandLine, matches_golden

CRM: dict[str, Any] = {
    "id": "11111111-1111-4111-8111-111111111111",
    "name": "crm\x1b[31m",
    "role": "admin",
    "permissions": ["read", "write"],
    "created_by": "system",
    "created_at": "2026-01-02T00:00:00.000Z",
    "expires_at": "2027-01-02T00:00:00.000Z",
    "revoked_at": None,
}
OLD: dict[str, Any] = {
    **CRM,
    "id": "22222222-2222-4222-8222-222222222222",
    "name": "reports",
    "role": "analyst",
    "permissions": [],
    "created_at": "2026-01-01T00:00:00.000Z",
    "revoked_at": "2026-01-03T00:00:00.000Z",
}


def test_tokens_are_listed_oldest_first(airy: CommandLine) -> None:
    airy.instance.documents["/tokens.list"] = {"data": [CRM, OLD]}

    assert matches_golden("token-list", airy("token", "list").out)
    assert [each["name"] for each in airy.json("tokens", "token", "list")] == ["reports", CRM["name"]]


def test_a_created_token_is_printed_once(airy: CommandLine) -> None:
    airy.instance.documents["/tokens.create"] = {**CRM, "token": "airy_secret"}

    created = airy.json("created-token", "token", "create", "crm", "--role", "admin", "--permission", "read")
    assert created["token"] == "airy_secret"
    assert "TOKEN       airy_secret" in airy("token", "create", "crm", "--role", "admin").out


def test_a_revocation_asks_unless_told_not_to(airy: CommandLine) -> None:
    airy.instance.documents["/tokens.revoke"] = OLD

    refused = airy("token", "revoke", OLD["id"])
    assert (refused.code, "pass --yes" in refused.err) == (64, True)
    assert airy.json("token", "token", "revoke", OLD["id"], "--yes")["revoked_at"] == OLD["revoked_at"]
    assert airy.instance.asked == {"/tokens.revoke": 1}

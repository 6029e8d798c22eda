"""Roles: what each may call, from the one table."""

import pytest

from airy.http.action import Action
from airy.http.auth import TokenAuthenticator
from airy.http.catalogue import ACTIONS
from airy.http.configured_tokens import ConfiguredTokens
from airy.permissions import PERMISSIONS, Permission, Role
from airy.secret import Secret
from tests.kit.api import api_harness
from tests.kit.asgi import call

TOKENS = {role.value: Secret(f"the-token-of-the-{role.value}") for role in Role}
ROLES = {role.value: role for role in Role}


@pytest.mark.parametrize("role", Role)
async def test_a_role_may_call_exactly_the_routes_whose_permission_it_has(role: Role) -> None:
    authenticator = TokenAuthenticator(ConfiguredTokens(TOKENS, ROLES))
    async with api_harness(authenticators=[authenticator]) as api:

        async def is_allowed(each: Action) -> bool:
            headers = [("authorization", TOKENS[role.value].reveal()), ("content-type", "application/json")]
            answer = await call(api.app, each.method, each.paths[0], headers=headers)
            return answer.status != 403

        allowed = {each.paths[0] for each in ACTIONS if await is_allowed(each)}
    assert allowed == {each.paths[0] for each in ACTIONS if each.permission in PERMISSIONS[role] | {Permission.OPEN}}


def test_only_an_administrator_may_grant_and_no_other_role_reaches_what_is_administrative() -> None:
    administrative = {Permission.MANAGE, Permission.OPERATE, Permission.INSPECT, Permission.ADMINISTER}
    assert [role for role in Role if PERMISSIONS[role] & administrative] == [Role.ADMIN]


def test_sources_and_visitors_reach_no_route_of_agents() -> None:
    assert PERMISSIONS[Role.SOURCE] == {Permission.INGEST}
    assert PERMISSIONS[Role.VISITOR] == {Permission.VISIT, Permission.UPLOAD}

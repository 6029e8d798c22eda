"""`/tokens.*`, and the directory that finds the caller of such a token."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from msgspec import Meta, Struct

from airy.clock import Clock
from airy.commands import TokenGrant
from airy.errors import Refused, Unavailable
from airy.http.action import ActionRequest, Reply, action
from airy.http.auth import Caller
from airy.http.body_kinds import EmptyBody
from airy.http.ports import ApiContext
from airy.http.request_bodies import Id, Text
from airy.http.resource import Resource
from airy.http.response_schemas import ApiTokenSchema, CreatedApiTokenSchema, ListSchema
from airy.model.api_token import has_text, is_valid, permissions_of, token_id
from airy.model.entity import ApiToken
from airy.model.render import render_api_token
from airy.permissions import GrantedPermission, GrantedRole, Permission
from airy.store.api import EntityReader

YEAR_S = 31_536_000


class CreateToken(Struct, frozen=True):
    name: Text
    role: GrantedRole | None = None
    permissions: list[GrantedPermission] = []
    expires_in_s: Annotated[int, Meta(ge=60, le=10 * YEAR_S)] | None = None  # None: a year


class TokenReference(Struct, frozen=True):
    id: Id


@action("/tokens.create", permission=Permission.ADMINISTER, body=CreateToken, returns=CreatedApiTokenSchema, status=201)
async def create(api: ApiContext, request: ActionRequest[CreateToken]) -> Reply:
    """Create an API token of a role, of some permissions, or of some permissions of a role. The answer alone has it."""
    given = request.body
    if not given.name.strip():
        raise Refused("must not be empty", field="name")
    if given.role is None and not given.permissions:
        raise Refused("give a role, permissions, or both", field="role")
    grant = TokenGrant(
        name=given.name,
        role=given.role,
        permissions=tuple(given.permissions),
        valid_s=given.expires_in_s or YEAR_S,
    )
    done = await api.commands.api_tokens.create(grant, request.caller.permissions, request.context)
    body = {**render_api_token(done.value.token), "token": done.value.text.reveal()}
    return Reply(body, position=done.position)


@action("/tokens.list", permission=Permission.ADMINISTER, body=EmptyBody, returns=ListSchema[ApiTokenSchema])
async def list_(api: ApiContext, _request: ActionRequest[EmptyBody]) -> Reply:
    """All API tokens, also expired and revoked ones. Those of the configuration are not listed."""
    return Reply({"data": [render_api_token(token) for token in await api.store.api_tokens()]})


@action("/tokens.revoke", permission=Permission.ADMINISTER, body=TokenReference, returns=ApiTokenSchema)
async def revoke(api: ApiContext, request: ActionRequest[TokenReference]) -> Reply:
    """Revoke an API token: every process rejects it once it has folded the position of the answer."""
    done = await api.commands.api_tokens.revoke(request.body.id)
    return Reply(render_api_token(done.value), position=done.position)


RESOURCE = Resource(name="tokens", component="api-admin", actions=(create, list_, revoke), commands="token")


class ApiTokenDirectory:
    """A process that has not folded the log yet cannot know whether a token was created or revoked: `Unavailable`."""

    def __init__(
        self, store: EntityReader, clock: Clock, caught_up: Callable[[], bool], refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._caught_up = caught_up
        self._refresh = refresh

    async def find(self, token: bytes, /) -> Caller | None:
        id_ = token_id(token)
        if id_ is None:
            return None
        if not self._caught_up():
            raise Unavailable("this replica is still folding the log: retry, or ask another replica")
        found = await self._store.api_token(id_)
        if found is None or not has_text(found, token):
            await self._refresh()
            found = await self._store.api_token(id_)
        if found is None or not is_valid(found, token, self._clock.now_ms()):
            return None
        return _caller(found)


def _caller(token: ApiToken) -> Caller:
    return Caller(f"api-token-{token.id}", permissions_of(token), token.name)

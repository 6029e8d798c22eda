"""API tokens: created, listed and revoked. The token leaves this module once, in the result of its creation."""

from collections.abc import Collection
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from airy import topics
from airy.commands.entity_writer import EntityWriter
from airy.commands.errors import Conflict, Forbidden, NotFound
from airy.commands.writer import RequestContext, Writer, Written
from airy.errors import Refused
from airy.model.api_token import SECRET_BYTES, permissions_of, token_sha256, token_text
from airy.model.entity import ApiToken
from airy.permissions import GrantedPermission, GrantedRole, Permission, outside_role
from airy.secret import Secret
from airy.store.api import EntityReader

TOKENS_MAX = 1_000
KEPT_AFTER_END_MS = 90 * 86_400_000  # a revoked or expired token is listed for so long


class TokenGrant(Struct, frozen=True, kw_only=True):
    """What a new token may do, and for how long."""

    name: str
    role: GrantedRole | None
    permissions: tuple[GrantedPermission, ...]
    valid_s: int


class TokenWithText(Struct, frozen=True):
    token: ApiToken
    text: Secret


class ApiTokenCommands:
    def __init__(self, writer: Writer, store: EntityReader) -> None:
        self._writer = writer
        self._store = store
        self._entities = EntityWriter(writer, store)

    async def create(
        self, grant: TokenGrant, held: Collection[Permission], context: RequestContext
    ) -> Written[TokenWithText]:
        """`held`: the permissions of the caller, who cannot grant others. Raises `Refused`, `Forbidden`, `Conflict`.

        A repeated idempotency key replaces the text of the token: the first answer was lost, and no text is stored.
        """
        if reason := outside_role(grant.role, grant.permissions):
            raise Refused(reason, field="permissions")
        token_id = self._writer.id_for(context, "api-token")
        text = token_text(token_id, self._writer.random_bytes(SECRET_BYTES))
        created = self._created(token_id, text, grant, context)
        lacking = permissions_of(created) - frozenset(held)
        if lacking:
            raise Forbidden(f"the caller lacks what it grants: {', '.join(sorted(lacking))}", field="permissions")
        await self._make_room()

        async def intent(found: ApiToken | None) -> ApiToken:
            if found is not None and (_grant(found) != _grant(created) or found.revoked_at_ms is not None):
                raise Conflict("this idempotency key was used for another API token", field="idempotency_key")
            return created

        done = await self._entities.put(topics.API_TOKENS, token_id, self._store.api_token, intent)
        return Written(TokenWithText(done.value, Secret(text)), done.position)

    async def revoke(self, token_id: str) -> Written[ApiToken]:
        """A revoked token stays revoked; repeating it changes nothing."""

        async def revoked(token: ApiToken) -> ApiToken:
            return replace(token, revoked_at_ms=token.revoked_at_ms or self._writer.now_ms())

        return await self._entities.update(topics.API_TOKENS, token_id, self._known, revoked)

    def _created(self, token_id: str, text: str, grant: TokenGrant, context: RequestContext) -> ApiToken:
        now_ms = self._writer.now_ms()
        return ApiToken(
            id=token_id,
            name=grant.name,
            sha256=token_sha256(text.encode()),
            role=grant.role,
            permissions=tuple(sorted(set(grant.permissions))),
            created_by=context.caller,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + grant.valid_s * 1000,
        )

    async def _make_room(self) -> None:
        """Delete the tokens that ended long ago. Raises `Conflict` if there are too many others."""
        tokens, ended_ms = await self._store.api_tokens(), self._writer.now_ms() - KEPT_AFTER_END_MS
        old = [token for token in tokens if min(token.expires_at_ms, token.revoked_at_ms or ended_ms) < ended_ms]
        for token in old:
            with suppress(NotFound, Conflict):  # another process deletes it
                await self._entities.delete(topics.API_TOKENS, token.id, self._known)
        if len(tokens) - len(old) >= TOKENS_MAX:
            raise Conflict(f"there are {TOKENS_MAX} API tokens; a revoked one is deleted after 90 days")

    async def _known(self, token_id: str) -> ApiToken:
        token = await self._store.api_token(token_id)
        if token is None:
            raise NotFound(f"there is no API token {token_id}", field="id")
        return token


def _grant(token: ApiToken) -> tuple[object, ...]:
    return token.name, token.role, token.permissions

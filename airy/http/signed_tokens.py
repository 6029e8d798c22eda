"""JWTs of the original: HS256 with one secret, the caller as JSON text in the claim `principal`.

Signed tokens cannot be revoked one by one, so they are accepted only if a secret is configured. A person's must expire.
The original's tokens have neither `aud` nor `iss`; one that names another audience or issuer is not for this API.
"""

import msgspec
from joserfc.jwk import OctKey
from msgspec import Raw, Struct

from airy import hs256
from airy.clock import Clock
from airy.http.auth import Caller, CallerKind
from airy.permissions import PERMISSIONS, Permission, Role
from airy.secret import Secret
from airy.signing_key import signing_key

AUDIENCE = "airy"
TOKEN_BYTES_MAX = 8_192
CLOCK_SKEW_S = 60  # of `iat` and `nbf`, never of `exp`
SOURCE_PREFIX = "source_app:"


class _UserPrincipal(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    id: str
    name: str | None = None
    avatar_url: str | None = None


class _TokenPrincipal(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    data: dict[str, Raw] | None = None
    roles: list[str] | None = None


class _Claims(Struct, frozen=True):
    principal: str
    exp: float | None = None
    nbf: float | None = None
    iat: float | None = None
    aud: str | list[str] | None = None
    iss: str | None = None


class SignedTokenDirectory:
    """`user_role`: the role of people with a signed token."""

    def __init__(self, secret: Secret, user_role: Role, clock: Clock) -> None:
        self._key = OctKey.import_key(signing_key(secret))
        self._user_role = user_role
        self._clock = clock

    async def find(self, token: bytes, /) -> Caller | None:
        if token.count(b".") != 2 or len(token) > TOKEN_BYTES_MAX:
            return None
        found = hs256.decode(token, self._key)
        try:
            if found is None or found.header.get("typ", "JWT") != "JWT":
                return None
            return self._caller(msgspec.convert(found.claims, _Claims))
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None

    def _caller(self, claims: _Claims) -> Caller | None:
        if not self._is_valid(claims):
            return None
        try:
            user = msgspec.json.decode(claims.principal, type=_UserPrincipal)
        except msgspec.MsgspecError:
            return _token_caller(msgspec.json.decode(claims.principal, type=_TokenPrincipal))
        if claims.exp is None or not user.id:
            return None
        picture = {"picture": user.avatar_url} if user.avatar_url else {}
        return Caller(user.id, PERMISSIONS[self._user_role], user.name or "", CallerKind.USER, picture)

    def _is_valid(self, claims: _Claims) -> bool:
        now_s = self._clock.now_ms() / 1000
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        return (
            (claims.exp is None or now_s < claims.exp)
            and all(at is None or at <= now_s + CLOCK_SKEW_S for at in (claims.nbf, claims.iat))
            and (audiences is None or AUDIENCE in audiences)
            and claims.iss in (None, AUDIENCE)
        )


def _token_caller(principal: _TokenPrincipal) -> Caller | None:
    """A source's token opens its source only. Any other has the roles it names, and is an admin if it names none."""
    if not principal.name:
        return None
    source = (principal.data or {}).get("source")
    if source is not None or principal.name.startswith(SOURCE_PREFIX):
        return _source_caller(principal.name, source)
    known = [Role(role) for role in principal.roles or () if role in {Role.ADMIN, Role.AGENT, Role.ANALYST}]
    permissions = frozenset[Permission]().union(*(PERMISSIONS[role] for role in known))
    return Caller(principal.name, permissions if principal.roles else PERMISSIONS[Role.ADMIN], principal.name)


def _source_caller(name: str, source: Raw | None) -> Caller | None:
    source_id = msgspec.json.decode(source, type=str) if source is not None else ""
    if not source_id or name != f"{SOURCE_PREFIX}{source_id}":
        return None
    return Caller(name, PERMISSIONS[Role.SOURCE], name, CallerKind.SOURCE, {"source": source_id})

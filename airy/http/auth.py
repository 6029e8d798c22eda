"""Authentication and authorisation: API tokens, permissions, and the guard of every route.

Deny by default: a route that declares no permission answers 403 to every caller. Each way to authenticate is an
`Authenticator`; routes and handlers see a `Caller` only.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol, cast

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from airy.errors import Refused
from airy.http.asgi import RawHeaders
from airy.http.problems import Problem
from airy.secret import Secret

PERMISSION = "permission"  # the key of a route's `opt` that declares it
BEARER = b"bearer "


class Permission(StrEnum):
    """What a route requires of its caller."""

    OPEN = "open"  # nothing: health probes, and routes that authenticate in another way
    READ = "read"  # read conversations, channels, settings
    WRITE = "write"  # take part in conversations
    MANAGE = "manage"  # connect channels, subscribe webhooks
    OPERATE = "operate"  # metrics and processes


ALL_PERMISSIONS = frozenset(Permission)


class Caller(Struct, frozen=True):
    """`id` is stored in facts as the sender, so it holds no part of a credential."""

    id: str
    permissions: frozenset[Permission] = ALL_PERMISSIONS


ANONYMOUS = Caller("airy-core-anonymous")


class Authenticator(Protocol):
    def authenticate(self, headers: RawHeaders, /) -> Caller | None:
        """The caller that the headers authenticate; None if there is none."""
        ...


class OpenAccess:
    """Grants every permission to every request. Used only if `security.open` is set."""

    def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return ANONYMOUS


class TokenAuthenticator:
    """Static API tokens by name: `Authorization: Bearer <token>` or the bare token.

    Only hashes are kept, and every one is compared in constant time: neither memory nor timing reveals a token.
    """

    def __init__(self, tokens: Mapping[str, Secret], *, chars_min: int = 16) -> None:
        if not tokens:
            raise Refused("no API token is configured: set security.systemToken, or security.open to run without one")
        for name, token in tokens.items():
            if len(token.reveal()) < chars_min:
                raise Refused(f"the API token {name!r} is too short: it needs at least {chars_min} characters")
        self._callers = [(Caller(caller_id(name)), _hash(token.reveal().encode())) for name, token in tokens.items()]

    def authenticate(self, headers: RawHeaders) -> Caller | None:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return None
        credential = given[0].strip()
        if credential[: len(BEARER)].lower() == BEARER:
            credential = credential[len(BEARER) :].strip()
        given_hash, found = _hash(credential), None
        for caller, token_hash in self._callers:
            if compare_digest(given_hash, token_hash):
                found = caller
        return found


def caller_id(token_name: str) -> str:
    """The id of a token's caller. The original Airy uses the token's first four characters instead of its name."""
    return f"system-token-{token_name}"


class Guard:
    """Litestar runs it before each handler. Stores the caller as the request's `user`; raises 403."""

    def __init__(self, authenticators: Iterable[Authenticator]) -> None:
        self._authenticators = tuple(authenticators)

    async def __call__(self, connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]
        permission = handler.opt.get(PERMISSION)
        if permission is Permission.OPEN:
            return
        caller = self.caller(cast("RawHeaders", connection.scope["headers"]))
        if permission is None or caller is None or permission not in caller.permissions:
            raise forbidden()
        connection.scope["user"] = caller

    def caller(self, headers: RawHeaders) -> Caller | None:
        return next((found for each in self._authenticators if (found := each.authenticate(headers))), None)


def forbidden() -> Problem:
    """403, never 401: clients of the original Airy open the login page on 403. The reason is not given."""
    return Problem(403, "forbidden")


def _hash(token: bytes) -> bytes:
    return sha256(token).digest()

"""Who calls, and what they may: tokens, permissions and the guard every route of the application stands
behind.

Deny by default: a route that does not declare its permission cannot be called at all. Sessions, roles and
source tokens will be further `Authenticator`s; routes and handlers only ever see a `Caller`.
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

PERMISSION = "permission"  # the key under which a route declares it
BEARER = b"bearer "


class Permission(StrEnum):
    """What a route asks of its caller."""

    OPEN = "open"  # nothing: health probes, and callers proven in another way
    READ = "read"  # see conversations, channels, settings
    WRITE = "write"  # take part in conversations
    MANAGE = "manage"  # connect channels, subscribe webhooks
    OPERATE = "operate"  # metrics


EVERYTHING = frozenset(Permission)


class Caller(Struct, frozen=True):
    """`id` goes into facts as the sender, so it never holds any part of a credential."""

    id: str
    permissions: frozenset[Permission] = EVERYTHING


ANONYMOUS = Caller("airy-core-anonymous")


class Authenticator(Protocol):
    def authenticate(self, headers: RawHeaders, /) -> Caller | None:
        """Whose request this is; None if it proves nothing."""
        ...


class OpenMode:
    """Everybody may do everything. Only ever chosen in so many words."""

    def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return ANONYMOUS


class Tokens:
    """Static API tokens by name: `Authorization: Bearer <token>` or the bare token.

    Only their hashes are kept, and all of them are compared in constant time, so neither memory nor timing
    tells one.
    """

    def __init__(self, tokens: Mapping[str, Secret], *, chars_min: int = 16) -> None:
        if not tokens:
            raise Refused("no API token is configured: set security.systemToken, or security.open to do without")
        for name, token in tokens.items():
            if len(token.reveal()) < chars_min:
                raise Refused(f"the API token {name!r} is too easy to guess: give it at least {chars_min} characters")
        self._known = [(Caller(caller_id(name)), _hash(token.reveal().encode())) for name, token in tokens.items()]

    def authenticate(self, headers: RawHeaders) -> Caller | None:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return None
        credential = given[0].strip()
        if credential[: len(BEARER)].lower() == BEARER:
            credential = credential[len(BEARER) :].strip()
        hashed, found = _hash(credential), None
        for caller, known in self._known:
            if compare_digest(hashed, known):
                found = caller
        return found


def caller_id(token_name: str) -> str:
    """The original puts the token's first four characters behind the dash; a name identifies as well and
    gives nothing away.
    """
    return f"system-token-{token_name}"


class Guard:
    """Called by the application before each handler; the caller it finds is the request's `user`."""

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
    """403, never 401: clients of the original go to the login page on 403. It does not say what was wrong."""
    return Problem(403, "forbidden")


def _hash(token: bytes) -> bytes:
    return sha256(token).digest()

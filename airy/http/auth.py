"""Authentication and authorisation: API tokens, permissions, and the guard of every route.

Deny by default: a route that declares no permission answers 403 to every caller. Each way to authenticate is an
`Authenticator`; routes and handlers see a `Caller` only. `airy.permissions` has the permissions of each role.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Protocol, cast

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler
from msgspec import Struct

from airy.commands import TooManyRequests
from airy.errors import Unavailable
from airy.http.asgi import RawHeaders, Scope
from airy.http.client_address import ClientLimiter
from airy.http.problems import Problem, problem_of
from airy.permissions import PERMISSIONS, Permission, Role
from airy.rate_limit import RateLimiter

__all__ = ["Permission"]  # routes declare it; the other names are this module's own

PERMISSION = "permission"  # the key of a route's `opt` that declares it
UNLIMITED = "unlimited"  # the same for an open route without a limit per client
BEARER = b"bearer "
AUTHORISE_S = 60.0  # between two checks of the credentials of an open websocket or stream
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PROOFS = frozenset({b"origin", b"sec-fetch-site", b"x-requested-with"})


class CallerKind(StrEnum):
    ANONYMOUS = "anonymous"  # `security.open`
    TOKEN = "token"  # noqa: S105 - an API token
    USER = "user"  # a person with a session
    SOURCE = "source"  # a custom source, restricted to its own channels
    VISITOR = "visitor"  # of a chat plugin


class Caller(Struct, frozen=True):
    """The authenticated subject of a request.

    `id` is stored in facts as the sender, so it holds no part of a credential. `claims` are what the authenticator
    knows besides, under the names of OpenID Connect where there is one (`picture`, `email`).
    """

    id: str
    permissions: frozenset[Permission] = frozenset()
    name: str = ""  # for display
    kind: CallerKind = CallerKind.TOKEN
    claims: Mapping[str, str] = {}
    by_cookie: bool = False  # the browser adds the credential by itself, also to requests of other sites


ANONYMOUS = Caller("airy-core-anonymous", PERMISSIONS[Role.ADMIN], kind=CallerKind.ANONYMOUS)
"""The caller of every request with `security.open`."""

UNAUTHENTICATED = Caller("airy-core-anonymous", kind=CallerKind.ANONYMOUS)
"""The caller of a route whose permission is `OPEN`."""


class Authenticator(Protocol):
    async def authenticate(self, headers: RawHeaders, /) -> Caller | None:
        """The caller that the headers authenticate; None if there is none. Raises `Unavailable`."""
        ...


class TokenDirectory(Protocol):
    """Finds the caller of a token of one kind."""

    async def find(self, token: bytes, /) -> Caller | None:
        """None for a token that is not of this kind, unknown, expired or revoked. Raises `Unavailable`."""
        ...


class OpenAccess:
    """Grants every permission to every request. Used only if `security.open` is set."""

    async def authenticate(self, _headers: RawHeaders, /) -> Caller | None:
        return ANONYMOUS


class TokenAuthenticator:
    """`Authorization: Bearer <token>` or the bare token, of the first directory that knows it."""

    def __init__(self, *directories: TokenDirectory) -> None:
        self._directories = directories

    async def authenticate(self, headers: RawHeaders) -> Caller | None:
        given = [value for name, value in headers if name == b"authorization"]
        if len(given) != 1:
            return None
        token = given[0].strip()
        if token[: len(BEARER)].lower() == BEARER:
            token = token[len(BEARER) :].strip()
        for directory in self._directories:
            caller = await directory.find(token)
            if caller is not None:
                return caller
        return None


class Guard:
    """Authenticates and authorises. Litestar calls it before each handler; the caller is the request's `user`."""

    def __init__(
        self,
        authenticators: Iterable[Authenticator],
        limiter: RateLimiter | None = None,
        clients: ClientLimiter | None = None,
    ) -> None:
        self._authenticators = tuple(authenticators)
        self.limiter = limiter or RateLimiter()
        self.clients = clients or ClientLimiter()

    async def __call__(self, connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]
        permission = handler.opt.get(PERMISSION)
        if permission is Permission.OPEN:
            if not handler.opt.get(UNLIMITED):
                self.clients.check(cast("Scope", connection.scope))
        else:
            headers = cast("RawHeaders", connection.scope["headers"])
            caller = await self.authorised(headers, permission, cast("Scope", connection.scope))
            if caller.by_cookie and connection.scope.get("method") not in SAFE_METHODS:
                check_same_origin(headers)
            connection.scope["user"] = caller

    async def authorised(
        self, headers: RawHeaders, permission: Permission | None, scope: Scope | None = None
    ) -> Caller:
        """The caller of a request. Raises `Problem`: 403 without the permission, or if the route declares none; 429 if
        the caller sends too many, or the client of `scope` too many without valid credentials.
        """
        for each in self._authenticators if permission is not None else ():
            caller = await each.authenticate(headers)
            if caller is not None:
                self._check_rate(caller)
                if permission in caller.permissions:
                    return caller
                raise forbidden()
        if scope is not None:
            self.clients.check(scope)
        raise forbidden()

    def _check_rate(self, caller: Caller) -> None:
        """Raises `Problem` 429. The limit is each caller's, so that one cannot use up what another needs."""
        wait_s = self.limiter.take(caller.id)
        if wait_s:
            raise problem_of(TooManyRequests("too many requests of this caller", retry_after_s=wait_s))


async def is_authorised(authorise: Callable[[], Awaitable[object]]) -> bool:
    """False only if the guard says so: neither a busy directory nor a rate limit ends what was authorised."""
    try:
        await authorise()
    except Problem as problem:
        return problem.status != 403
    except Unavailable:
        pass
    return True


def check_same_origin(headers: RawHeaders) -> None:
    """Raises `Problem` 403 unless the request shows that no page of another site caused it.

    `RootAsgiApp` has rejected every `Origin` that is not allowed, so one that is present is proof. A page of another
    site can neither set `Sec-Fetch-Site` nor add `X-Requested-With` without asking (a preflight, which is rejected).
    """
    given = {name: value for name, value in headers if name in _PROOFS}
    site = given.get(b"sec-fetch-site")
    if b"origin" in given or site == b"same-origin" or (site is None and b"x-requested-with" in given):
        return
    raise Problem(403, "a request with a session cookie needs an Origin, Sec-Fetch-Site or X-Requested-With header")


def forbidden() -> Problem:
    """403, never 401: clients of the original Airy open the login page on 403. The reason is not given."""
    return Problem(403, "forbidden")

"""Sessions of people: the cookie that carries them, and the directory that finds their caller.

A browser adds cookies to requests that other sites cause, so the guard accepts them for an unsafe method only with a
proof that the request is not one of those: see `check_same_origin`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from airy.clock import Clock
from airy.errors import Unavailable
from airy.http.asgi import RawHeaders
from airy.http.auth import Caller, CallerKind, TokenDirectory
from airy.model.entity import User, UserSession
from airy.model.session import has_session, session_of, user_id_of
from airy.permissions import PERMISSIONS, Role
from airy.store.api import UserReader

COOKIE = "airy_auth_token"
HOST_COOKIE = f"__Host-{COOKIE}"  # a browser accepts it over https only, and from no other host

RoleOf = Callable[[str], Role | None]
"""The role of a verified e-mail address; None: it may not log in."""


class SessionDirectory:
    """Callers of session tokens. Whether an address may log in is asked at every request."""

    def __init__(
        self,
        store: UserReader,
        clock: Clock,
        role_of: RoleOf,
        caught_up: Callable[[], bool],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._refresh = refresh
        self._store = store
        self._clock = clock
        self._role_of = role_of
        self._caught_up = caught_up

    async def find(self, token: bytes, /) -> Caller | None:
        user_id = user_id_of(token)
        if user_id is None:
            return None
        if not self._caught_up():
            raise Unavailable("this replica is still folding the log: retry, or ask another replica")
        user = await self._store.user(user_id)
        if user is None or not has_session(user, token):
            await self._refresh()
            user = await self._store.user(user_id)
        session = None if user is None else session_of(user, token, self._clock.now_ms())
        role = None if user is None or session is None else self._role_of(user.email or "")
        return None if user is None or session is None or role is None else _caller(user, session, role)


def _caller(user: User, session: UserSession, role: Role) -> Caller:
    claims = {"session": session.id, "email": user.email, "picture": user.avatar_url}
    given = {name: value for name, value in claims.items() if value}
    return Caller(user.id, PERMISSIONS[role], user.name or "", CallerKind.USER, given)


class CookieAuthenticator:
    """The session cookie, of the first directory for its name that knows its value.

    It is not read if the request has an `Authorization` header, so a wrong token is an error even with a session.
    """

    def __init__(self, directories: Mapping[str, Sequence[TokenDirectory]]) -> None:
        self._directories = directories

    async def authenticate(self, headers: RawHeaders, /) -> Caller | None:
        if any(name == b"authorization" for name, _ in headers):
            return None
        name, token = session_cookie(headers)
        for directory in self._directories.get(name, ()) if token else ():
            caller = await directory.find(token)
            if caller is not None:
                return replace(caller, by_cookie=True)
        return None


def session_cookie(headers: RawHeaders) -> tuple[str, bytes]:
    """Name and value. An empty value: there is none, or several of one name, because another host has set one."""
    for name in (HOST_COOKIE, COOKIE):
        values = cookies(headers, name)
        if values:
            return name, values[0] if len(values) == 1 else b""
    return COOKIE, b""


def cookies(headers: RawHeaders, name: str) -> list[bytes]:
    """All values of a cookie."""
    pairs = [pair.strip().partition(b"=") for key, value in headers if key == b"cookie" for pair in value.split(b";")]
    return [value.strip(b'"') for key, _, value in pairs if key == name.encode()]

"""`/login`, the redirects of the code flow, and `/logout`: for browsers, so the answers are redirects and cookies."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlencode

import structlog
from litestar import Request
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from msgspec import Struct

from airy.clock import Ids
from airy.commands import AuditTrail, Forbidden, NotFound, UserProfile
from airy.commands.users import UserCommands
from airy.errors import AiryError
from airy.http.admission import AdmissionControl, AdmissionLimits
from airy.http.asgi import RawHeaders
from airy.http.audit import AuditOutcome, audited
from airy.http.auth import PERMISSION, Caller, CallerKind, TokenDirectory, check_same_origin
from airy.http.login.attempt import SECRET_BYTES, LoginAttempt, path_of_this_origin, read_attempt
from airy.http.login.provider import Identity, IdentityProvider
from airy.http.problems import Problem, problem_of, unavailable
from airy.http.route_description import DESCRIPTION, NO_CONTENT, RouteDescription
from airy.http.sessions import COOKIE, HOST_COOKIE, RoleOf, cookies, session_cookie
from airy.permissions import Permission

ATTEMPT_S = 600
ATTEMPT_COOKIE = "airy_login"
LOGINS_IN_FLIGHT_MAX = 16  # each calls the provider
QUERY_CHARS_MAX = 8_192
PARAMETERS_MAX = 32

RETURN = {"return_to": "path of this installation to open after the login"}
ANSWER = {
    "code": "of the identity provider",
    "state": "of the login that this browser began",
    "iss": "the issuer, where the provider sends it",
    "error": "why there is no code",
}

log = structlog.get_logger("airy.http")


class LoginSettings(Struct, frozen=True, kw_only=True):
    session_s: int
    success_url: str
    logout_url: str
    secure: bool  # whether browsers reach this installation over https


class LoginRoutes:
    """`provider` None: logins are not configured. `role_of` decides which verified addresses may log in."""

    def __init__(
        self,
        users: UserCommands,
        trail: AuditTrail,
        sessions: TokenDirectory,
        provider: IdentityProvider | None,
        role_of: RoleOf,
        settings: LoginSettings,
        ids: Ids,
    ) -> None:
        self._users = users
        self._trail = trail
        self._sessions = sessions
        self._provider = provider
        self._role_of = role_of
        self._settings = settings
        self._ids = ids
        limits = AdmissionLimits(in_flight_max=LOGINS_IN_FLIGHT_MAX, queue_max=LOGINS_IN_FLIGHT_MAX, queue_s=5.0)
        self._admission = AdmissionControl(limits)

    def handlers(self) -> Sequence[HTTPRouteHandler]:
        return (
            _route("/login", self._login, HttpMethod.GET, query=RETURN),
            _route("/oauth2/authorization/{provider:str}", self._authorization, HttpMethod.GET, query=RETURN),
            _route("/login/oauth2/code/{provider:str}", self._callback, HttpMethod.GET, query=ANSWER),
            _route("/logout", self._logout, HttpMethod.GET, HttpMethod.POST, status=303),
        )

    async def _login(self, request: Request[Any, Any, Any]) -> ASGIResponse:
        """Log in: redirects to the identity provider."""
        provider = self._known_provider(None)
        return_to = path_of_this_origin(_query(request).get("return_to", ""))
        query = f"?{urlencode({'return_to': return_to})}" if return_to else ""
        return _redirect(f"/oauth2/authorization/{quote(provider.name)}{query}")

    async def _authorization(self, request: Request[Any, Any, Any]) -> ASGIResponse:
        """Begin a login at the identity provider."""
        provider = self._known_provider(request.path_params["provider"])
        return_to = path_of_this_origin(_query(request).get("return_to", ""))
        attempt = LoginAttempt(self._ids.random_bytes(SECRET_BYTES), provider.name, return_to)
        async with self._admitted():
            url = await provider.authorization_url(attempt)
        return _redirect(url, self._cookie(ATTEMPT_COOKIE, attempt.cookie_value(), max_age_s=ATTEMPT_S))

    async def _callback(self, request: Request[Any, Any, Any]) -> ASGIResponse:
        """The answer of the identity provider: begins a session.

        The cookie of the attempt is deleted whatever the outcome, so an answer of the provider is used once.
        """
        provider = self._known_provider(request.path_params["provider"])
        used = self._cookie(ATTEMPT_COOKIE, "", max_age_s=0)
        try:
            attempt = self._attempt(request, provider)
            identity = await self._identify(provider, attempt, _query(request))
            async with self._audited("/login", identity.id, request) as outcome:
                token, outcome.status = await self._session(attempt, identity), 302
        except AiryError as error:
            problem = problem_of(error)
            raise Problem(problem.status, problem.message, headers=[*problem.headers, used]) from error
        session = self._cookie(COOKIE, token, max_age_s=self._settings.session_s)
        return _redirect(attempt.return_to or self._settings.success_url, session, used)

    async def _session(self, attempt: LoginAttempt, identity: Identity) -> str:
        """The token of a new session. Raises `Forbidden` for an address that may not log in."""
        if self._role_of(identity.email) is None:
            log.info("login.rejected", provider=attempt.provider)
            raise Forbidden("this e-mail address may not log in here: ask an administrator")
        profile = UserProfile(id=identity.id, name=identity.name, avatar_url=identity.picture, email=identity.email)
        done = await self._users.log_in(profile, login_id=attempt.login_id, valid_s=self._settings.session_s)
        return done.value.token.reveal()

    async def _identify(self, provider: IdentityProvider, attempt: LoginAttempt, query: dict[str, str]) -> Identity:
        if not attempt.has_state(query.get("state", "")):
            raise _not_begun()
        if query.get("iss", provider.issuer) != provider.issuer:
            raise Forbidden("the answer is from another identity provider")
        if "code" not in query:
            reason = query.get("error", "")
            shown = reason if re.fullmatch("[a-z_]{1,40}", reason) else "no code"
            raise Forbidden(f"the identity provider did not log in: {shown}")
        async with self._admitted():
            return await provider.identify(attempt, query["code"])

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        """Bounds the calls of the provider: while it does not answer, logins must not take the share of the API."""
        if not await self._admission.try_acquire():
            raise unavailable("too many logins at once")
        try:
            yield
        finally:
            self._admission.release()

    async def _logout(self, request: Request[Any, Any, Any]) -> ASGIResponse:
        """Log out: ends the session."""
        headers = cast("RawHeaders", request.scope["headers"])
        _, token = session_cookie(headers)
        if token:
            _check_intended(request.scope["method"], headers)
            caller = await self._sessions.find(token)
            if caller is not None:
                async with self._audited("/logout", caller.id, request) as outcome:
                    await self._users.log_out(caller.id, caller.claims["session"])
                    outcome.status = 303
        return _redirect(self._settings.logout_url, *self._forgotten(), status=303)

    def _audited(
        self, action: str, user_id: str, request: Request[Any, Any, Any]
    ) -> AbstractAsyncContextManager[AuditOutcome]:
        caller = Caller(user_id, kind=CallerKind.USER)
        return audited(self._trail, action, caller, request.scope["state"]["request_id"], None)

    def _known_provider(self, name: str | None) -> IdentityProvider:
        if self._provider is None:
            raise _no_logins()
        if name not in (None, self._provider.name):
            raise NotFound(f"logins are at {self._provider.name}: open /login")
        return self._provider

    def _attempt(self, request: Request[Any, Any, Any], provider: IdentityProvider) -> LoginAttempt:
        values = cookies(cast("RawHeaders", request.scope["headers"]), self._name(ATTEMPT_COOKIE))
        attempt = read_attempt(values[0], provider.name) if len(values) == 1 else None
        if attempt is None:
            raise _not_begun()
        return attempt

    def _forgotten(self) -> list[tuple[bytes, bytes]]:
        names = [COOKIE, HOST_COOKIE] if self._settings.secure else [COOKIE]
        return [_set_cookie(name, "", max_age_s=0, secure=self._settings.secure) for name in names]

    def _cookie(self, name: str, value: str, *, max_age_s: int) -> tuple[bytes, bytes]:
        return _set_cookie(self._name(name), value, max_age_s=max_age_s, secure=self._settings.secure)

    def _name(self, name: str) -> str:
        """A browser accepts the prefix over https only, and then from no other host and for no other path."""
        return f"__Host-{name}" if self._settings.secure else name


def _no_logins() -> Problem:
    return Problem(404, "logins are not configured: see security.oidc, or use a token")


def _not_begun() -> Problem:
    return Problem(403, "this login was not begun in this browser, or longer than 10 minutes ago: open /login")


def _route(
    path: str,
    handler: Callable[[Request[Any, Any, Any]], Any],
    *methods: HttpMethod,
    query: Mapping[str, str] | None = None,
    status: int = 302,
) -> HTTPRouteHandler:
    async def handle(request: Request[Any, Any, Any]) -> ASGIResponse:
        response: ASGIResponse = await handler(request)
        return response

    handle.__doc__ = handler.__doc__
    responses = {status: ("A redirect, with its cookies.", NO_CONTENT)}
    described = RouteDescription(tag="login", responses=responses, errors=(400, 403, 404, 503), query=query or {})
    opt = {PERMISSION: Permission.OPEN, DESCRIPTION: described}
    return HTTPRouteHandler(path, http_method=list(methods), opt=opt, name=path, status_code=302)(handle)


def _check_intended(method: str, headers: RawHeaders) -> None:
    """Raises `Problem` 403 for a logout that another site caused. A link or an address typed by hand may log out."""
    if method == "POST":
        check_same_origin(headers)
    elif {value for name, value in headers if name == b"sec-fetch-site"} - {b"same-origin", b"none"} or not any(
        name == b"sec-fetch-site" for name, _ in headers
    ):
        raise Problem(403, "log out by POST /logout, or by a link on a page of this site")


def _query(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Its parameters. Raises `Problem` for one that is given twice."""
    text = request.scope["query_string"][:QUERY_CHARS_MAX].decode("latin-1")
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except ValueError as error:
        raise Problem(400, f"more than {PARAMETERS_MAX} parameters") from error
    if any(len(values) > 1 for values in found.values()):
        raise Problem(400, "a parameter is given twice")
    return {name: values[0] for name, values in found.items()}


def _redirect(url: str, *cookie_headers: tuple[bytes, bytes], status: int = 302) -> ASGIResponse:
    headers = [("location", url), *((name.decode(), value.decode()) for name, value in cookie_headers)]
    return ASGIResponse(status_code=status, headers=headers)


def _set_cookie(name: str, value: str, *, max_age_s: int, secure: bool) -> tuple[bytes, bytes]:
    flags = f"Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
    return b"set-cookie", f"{name}={value}; {flags}".encode()

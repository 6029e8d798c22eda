"""The ways to authenticate that a configuration enables."""

from collections.abc import Mapping
from functools import partial

from msgspec import Struct

from airy import topics
from airy.app.services import Services, public_url
from airy.config import Config, OidcConfig
from airy.email_patterns import EmailPatterns
from airy.http.api_tokens import ApiTokenDirectory
from airy.http.auth import Authenticator, OpenAccess, TokenAuthenticator, TokenDirectory
from airy.http.configured_tokens import ConfiguredTokens
from airy.http.custom_source_directory import CustomSourceDirectory
from airy.http.login.provider import IdentityProvider, RegisteredClient
from airy.http.login.routes import LoginRoutes, LoginSettings
from airy.http.sessions import COOKIE, HOST_COOKIE, CookieAuthenticator, SessionDirectory
from airy.http.signed_tokens import SignedTokenDirectory
from airy.http.store_refresh import StoreRefresh
from airy.http.visitor_directory import VisitorDirectory
from airy.permissions import Role
from airy.secret import Secret
from airy.token_file import system_token

SYSTEM = "system"  # the name of the configured or generated token
CREDENTIALS = (topics.API_TOKENS, topics.USERS, topics.CUSTOM_SOURCES)
REFRESH_S = 2.0  # longest wait for the store before an unknown credential is refused
GOOGLE = "https://accounts.google.com"


class Authentication(Struct, frozen=True):
    authenticators: list[Authenticator]
    login: LoginRoutes


def build_authentication(services: Services) -> Authentication:
    config, clock = services.config, services.ports.clock
    security, secure = config.security, public_url(config).startswith("https://")

    def caught_up() -> bool:
        return services.projector.caught_up

    refresh = StoreRefresh(partial(services.projector.wait_until_current, CREDENTIALS, REFRESH_S))
    role_of = LoginPolicy(security.oidc).role_of
    sessions = SessionDirectory(services.queries, clock, role_of, caught_up, refresh)
    settings = LoginSettings(
        session_s=security.session_s,
        success_url=security.oidc.login_success_url,
        logout_url=security.oidc.logout_success_url,
        secure=secure,
    )
    login = LoginRoutes(
        services.commands.users,
        services.commands.audit,
        sessions,
        _identity_provider(services),
        role_of,
        settings,
        services.ports.ids,
    )
    visitors = VisitorDirectory(services.commands.visitors, caught_up)
    sources = CustomSourceDirectory(services.commands.custom_sources, services.queries, caught_up, refresh)
    if security.open:
        return Authentication([TokenAuthenticator(visitors, sources), OpenAccess()], login)
    roles = {name: Role(role) for name, role in security.token_roles.items()}
    configured = ConfiguredTokens(tokens(config), roles)
    created = ApiTokenDirectory(services.queries, clock, caught_up, refresh)
    signed = _signed_tokens(services)
    by_cookie: dict[str, list[TokenDirectory]] = {
        HOST_COOKIE: [sessions, *signed],
        COOKIE: signed if secure else [sessions, *signed],
    }
    return Authentication(
        [TokenAuthenticator(configured, created, visitors, sources, *signed), CookieAuthenticator(by_cookie)], login
    )


def _signed_tokens(services: Services) -> list[TokenDirectory]:
    security = services.config.security
    if security.jwt_secret is None:
        return []
    return [SignedTokenDirectory(security.jwt_secret, Role(security.oidc.role), services.ports.clock)]


def _identity_provider(services: Services) -> IdentityProvider | None:
    """None: logins are not configured."""
    oidc, http = services.config.security.oidc, services.ports.provider_http
    if not oidc.provider or oidc.client_secret is None:
        return None
    redirect_url = f"{public_url(services.config)}/login/oauth2/code/{oidc.provider}"
    client = RegisteredClient(id=oidc.client_id, secret=oidc.client_secret, redirect_url=redirect_url)
    from airy.http.login.github import GithubProvider  # noqa: PLC0415 - authlib is large, and rarely needed
    from airy.http.login.openid import OpenIdProvider  # noqa: PLC0415 - the same

    if oidc.provider == "github" and oidc.issuer is None:
        return GithubProvider(http, url=oidc.github_url, api_url=oidc.github_api_url, client=client)
    issuer = oidc.issuer or GOOGLE
    return OpenIdProvider(http, services.ports.clock, name=oidc.provider, issuer=issuer, client=client)


def tokens(config: Config) -> Mapping[str, Secret]:
    system = system_token(config)
    return {**config.security.tokens, **({SYSTEM: system} if system else {})}


class LoginPolicy:
    """Who may log in, and with which role."""

    def __init__(self, oidc: OidcConfig) -> None:
        self._allowed = EmailPatterns(oidc.allowed_email_patterns)
        self._admins = EmailPatterns(oidc.admins)
        self._role = Role(oidc.role)

    def role_of(self, email: str) -> Role | None:
        """The role of a verified address; None: it may not log in."""
        if not self._allowed.matches(email):
            return None
        return Role.ADMIN if self._admins.matches(email) else self._role

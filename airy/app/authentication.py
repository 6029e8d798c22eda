"""The ways to authenticate that a configuration enables."""

from collections.abc import Mapping

from airy.app.services import Services
from airy.config import Config, OidcConfig
from airy.email_patterns import EmailPatterns
from airy.http.api_tokens import ApiTokenDirectory
from airy.http.auth import Authenticator, ConfiguredTokens, OpenAccess, TokenAuthenticator
from airy.http.sessions import CookieAuthenticator, SessionDirectory
from airy.http.signed_tokens import SignedTokenDirectory
from airy.permissions import Role
from airy.secret import Secret
from airy.token_file import system_token

SYSTEM = "system"  # the name of the configured or generated token


def authenticators(services: Services) -> list[Authenticator]:
    security, clock = services.config.security, services.ports.clock
    if security.open:
        return [OpenAccess()]

    def caught_up() -> bool:
        return services.projector.caught_up

    roles = {name: Role(role) for name, role in security.token_roles.items()}
    configured = ConfiguredTokens(tokens(services.config), roles)
    created = ApiTokenDirectory(services.queries, clock, caught_up)
    sessions = SessionDirectory(services.queries, clock, LoginPolicy(security.oidc).role_of, caught_up)
    signed = [SignedTokenDirectory(security.jwt_secret, Role(security.oidc.role), clock)] if security.jwt_secret else []
    return [TokenAuthenticator(configured, created, *signed), CookieAuthenticator(sessions, *signed)]


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

"""The ways to authenticate that a configuration enables."""

import subprocess
import sys

from msgspec.structs import replace

from airy.app.authentication import LoginPolicy, build_authentication
from airy.config import OidcConfig, SecurityConfig
from airy.http.login.github import GithubProvider
from airy.http.login.openid import OpenIdProvider
from airy.permissions import Role
from airy.secret import Secret
from tests.kit.api import JWT_SECRET
from tests.kit.builders import START_MS
from tests.kit.in_process import TOKEN, InProcessAiry
from tests.kit.jwt import signed_token, token_claims, user_claims

LOGINS = OidcConfig(
    provider="google",
    client_id="airy",
    client_secret=Secret("a-client-secret"),
    allowed_email_patterns=("*@example.org",),
    admins=("ada@example.org", "eve@evil.example"),
    role="analyst",
)


def security(**changes: object) -> SecurityConfig:
    return replace(SecurityConfig(system_token=Secret(TOKEN)), **changes)


def built(config: SecurityConfig, public_url: str = "https://inbox.example.org") -> object:
    services = InProcessAiry().services
    services.config = replace(
        services.config, security=config, http=replace(services.config.http, public_url=public_url)
    )
    return build_authentication(services)


async def accepted(
    config: SecurityConfig, *headers: tuple[bytes, bytes], public_url: str = "https://x.example"
) -> bool:
    found = built(config, public_url)
    callers = [await each.authenticate(headers) for each in found.authenticators]  # type: ignore[attr-defined]
    return any(caller is not None for caller in callers)


def test_the_library_of_logins_is_imported_only_where_there_are_logins() -> None:
    program = "import sys, airy.app; print({'authlib'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


async def test_an_address_has_to_be_allowed_before_it_can_be_an_admins() -> None:
    policy = LoginPolicy(LOGINS)
    assert policy.role_of("Ada@example.org") is Role.ADMIN
    assert policy.role_of("bob@example.org") is Role.ANALYST
    assert policy.role_of("eve@evil.example") is None
    assert LoginPolicy(OidcConfig()).role_of("ada@example.org") is None


async def test_the_provider_follows_from_its_name_or_its_issuer() -> None:
    def provider(oidc: OidcConfig) -> object:
        return built(security(oidc=oidc)).login._provider  # type: ignore[attr-defined]

    assert provider(LOGINS).issuer == "https://accounts.google.com"  # type: ignore[attr-defined]
    assert isinstance(provider(replace(LOGINS, provider="github")), GithubProvider)
    own = provider(replace(LOGINS, provider="acme", issuer="https://login.example.org"))
    assert isinstance(own, OpenIdProvider)
    assert own._client.redirect_url == "https://inbox.example.org/login/oauth2/code/acme"
    assert provider(OidcConfig()) is None


async def test_a3_signed_tokens_are_accepted_if_a_secret_is_configured() -> None:
    token = signed_token(token_claims("integration"), JWT_SECRET).encode()
    assert await accepted(security(jwt_secret=Secret(JWT_SECRET)), (b"authorization", token))
    assert not await accepted(security(), (b"authorization", token))


async def test_a5_everything_is_open_only_if_the_configuration_says_so() -> None:
    assert await accepted(SecurityConfig(open=True))
    assert not await accepted(security())


async def test_a8_the_system_token_works_beside_logins() -> None:
    assert await accepted(security(oidc=LOGINS), (b"authorization", TOKEN.encode()))


async def test_over_https_a_session_is_read_from_the_cookie_with_the_host_prefix_only() -> None:
    def sessions(public_url: str) -> list[bool]:
        by_cookie = built(security(), public_url).authenticators[1]._directories  # type: ignore[attr-defined]
        return [bool(by_cookie[name]) for name in ("__Host-airy_auth_token", "airy_auth_token")]

    assert sessions("https://inbox.example.org") == [True, False]
    assert sessions("http://localhost:8080") == [True, True]


async def test_a_signed_cookie_is_accepted_under_the_name_of_the_original() -> None:
    token = signed_token(user_claims(expires_at_s=START_MS / 1000 + 9e8), JWT_SECRET)
    cookie = (b"cookie", f"airy_auth_token={token}".encode())
    assert await accepted(security(jwt_secret=Secret(JWT_SECRET)), cookie)

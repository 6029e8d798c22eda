"""GitHub, which speaks OAuth 2 and no OpenID Connect: the person is asked for at its API."""

from msgspec import Struct

from airy.commands import Forbidden
from airy.email_patterns import canonical_email
from airy.http.login import exchange
from airy.http.login.attempt import LoginAttempt
from airy.http.login.provider import Identity, RegisteredClient
from airy.http_client import HttpClient

SCOPE = "read:user user:email"


class GithubUser(Struct, frozen=True):
    id: int
    login: str
    name: str | None = None
    avatar_url: str | None = None


class GithubEmail(Struct, frozen=True):
    email: str
    primary: bool = False
    verified: bool = False


class GithubProvider:
    """`url` is that of the site, `api_url` that of its API; those of GitHub Enterprise differ."""

    name = "github"
    issuer: str | None = None

    def __init__(self, http: HttpClient, *, url: str, api_url: str, client: RegisteredClient) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._api_url = api_url.rstrip("/")
        self._client = client

    async def authorization_url(self, attempt: LoginAttempt) -> str:
        return exchange.authorization_url(f"{self._url}/login/oauth/authorize", self._client, attempt, SCOPE)

    async def identify(self, attempt: LoginAttempt, code: str) -> Identity:
        endpoint = f"{self._url}/login/oauth/access_token"
        tokens = await exchange.fetch_tokens(self._http, endpoint, self._client, attempt, code, basic=False)
        user = await exchange.fetch(self._http, f"{self._api_url}/user", GithubUser, tokens.access_token)
        emails = await exchange.fetch(
            self._http, f"{self._api_url}/user/emails", list[GithubEmail], tokens.access_token
        )
        email = next((canonical_email(each.email) for each in emails if each.primary and each.verified), None)
        if email is None:
            raise Forbidden("the primary e-mail address of this GitHub account is not verified")
        return Identity(id=f"github:{user.id}", email=email, name=user.name or user.login, picture=user.avatar_url)

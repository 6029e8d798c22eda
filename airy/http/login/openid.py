"""Any OpenID Connect provider, by discovery."""

from typing import Any
from urllib.parse import urlsplit

import anyio
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from airy.clock import Clock
from airy.commands import Forbidden
from airy.email_patterns import canonical_email
from airy.errors import Unavailable
from airy.http.login import exchange
from airy.http.login.attempt import LoginAttempt
from airy.http.login.exchange import TokenResponse
from airy.http.login.provider import Identity, RegisteredClient
from airy.http_client import HttpClient

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
PUBLIC_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})  # a shared secret is no key of a provider
DISCOVERY_S = 3_600.0
KEYS_S = 3_600.0
KEYS_AGAIN_S = 30.0  # an unknown key has the provider's keys fetched again at most so often
CLOCK_SKEW_S = 60


class Discovery(Struct, frozen=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)


class OpenIdProvider:
    def __init__(
        self,
        http: HttpClient,
        clock: Clock,
        *,
        name: str,
        issuer: str,
        client: RegisteredClient,
    ) -> None:
        self.name = name
        self.issuer: str | None = issuer
        self._issuer = issuer
        self._http = http
        self._clock = clock
        self._client = client
        self._found: tuple[float, Discovery] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def authorization_url(self, attempt: LoginAttempt) -> str:
        endpoint = (await self._discovery()).authorization_endpoint
        scope = "openid email profile"
        return exchange.authorization_url(endpoint, self._client, attempt, scope, nonce=attempt.nonce)

    async def identify(self, attempt: LoginAttempt, code: str) -> Identity:
        found = await self._discovery()
        basic = "client_secret_basic" in found.token_endpoint_auth_methods_supported
        tokens = await exchange.fetch_tokens(self._http, found.token_endpoint, self._client, attempt, code, basic=basic)
        claims = await self._id_token(found, attempt, tokens)
        if "email" not in claims and found.userinfo_endpoint:
            claims |= await self._user_info(found.userinfo_endpoint, tokens.access_token, claims["sub"])
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        email = canonical_email(str(claims.get("email", "")))
        verified = claims.get("email_verified")
        if email is None or not (verified is True or verified == "true"):
            raise Forbidden("the identity provider has not verified an e-mail address of this account")
        name, picture = claims.get("name"), claims.get("picture")
        return Identity(
            id=f"{self.name}:{email}",
            email=email,
            name=name if isinstance(name, str) else None,
            picture=picture if isinstance(picture, str) else None,
        )

    async def _id_token(self, found: Discovery, attempt: LoginAttempt, tokens: TokenResponse) -> dict[str, Any]:
        """Its claims. Raises `Forbidden` unless the provider signed it for this client and this login, just now."""
        algorithms = ALGORITHMS & set(found.id_token_signing_alg_values_supported)
        try:
            try:
                token = jwt.decode(tokens.id_token, await self._key_set(found), algorithms=algorithms)
            except JoseError:  # the provider may have changed its keys
                token = jwt.decode(tokens.id_token, await self._key_set(found, renew=True), algorithms=algorithms)
            claims = CodeIDToken(
                token.claims,
                token.header,
                options={
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client.id},
                },
                params={
                    "nonce": attempt.nonce,
                    "client_id": self._client.id,
                    "access_token": tokens.access_token,
                },
            )
            claims.validate(now=self._clock.now_ms() // 1000, leeway=CLOCK_SKEW_S)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Forbidden("the identity provider sent an ID token that is not valid for this login") from error
        return dict(claims)

    async def _user_info(self, endpoint: str, access_token: str, subject: str) -> dict[str, Any]:
        info = await exchange.fetch(self._http, endpoint, dict[str, Any], access_token)
        if info.get("sub") != subject:
            raise Forbidden("the identity provider described another account than the one that logged in")
        return info

    async def _discovery(self) -> Discovery:
        now = anyio.current_time()
        if self._found is None or now - self._found[0] >= DISCOVERY_S:
            url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await exchange.fetch(self._http, url, Discovery)
            self._check(found)
            self._found = now, found
        return self._found[1]

    def _check(self, found: Discovery) -> None:
        """Raises `Unavailable` for a document of another issuer, or with addresses that are not confidential."""
        if found.issuer != self._issuer:
            raise Unavailable("the discovery document of the identity provider names another issuer")
        scheme = urlsplit(self._issuer).scheme
        endpoints = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint)
        if any(each and urlsplit(each).scheme not in ("https", scheme) for each in endpoints):
            raise Unavailable("the discovery document of the identity provider has addresses without https")

    async def _key_set(self, found: Discovery, *, renew: bool = False) -> KeySet:
        now, lifetime_s = anyio.current_time(), KEYS_AGAIN_S if renew else KEYS_S
        if self._keys is None or now - self._keys[0] >= lifetime_s:
            fetched = await exchange.fetch(self._http, found.jwks_uri, dict[str, Any])
            self._keys = now, _public_keys(fetched)
        return self._keys[1]


def _public_keys(fetched: dict[str, Any]) -> KeySet:
    """The keys for signatures. Raises `Unavailable` if there is none."""
    keys = fetched.get("keys")
    usable = [
        key
        for key in (keys if isinstance(keys, list) else [])
        if isinstance(key, dict) and key.get("kty") in PUBLIC_KEY_TYPES and key.get("use", "sig") == "sig"
    ]
    try:
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError) as error:
        raise Unavailable("the identity provider published keys that cannot be read") from error

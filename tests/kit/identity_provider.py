"""An identity provider over real HTTP: OpenID Connect with RS256 keys that rotate, and GitHub's API.

It logs in `account` without asking. Codes are used once and are bound to client, redirect address and PKCE challenge.
Signatures and keys are made by hand: the code under test uses a library. `change_claims`, `change_header` and `sign`
make ID tokens that a provider would not send.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import count
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct, field

from airy.clock import SystemClock
from tests.kit.jwt import encoded

CLIENT_ID, CLIENT_SECRET = "airy-client", "a-secret-of-the-client+/="

Document = dict[str, Any]


class Account(Struct):
    subject: str = "1001"
    email: str | None = "ada@example.org"
    email_verified: object = True
    name: str = "Ada Lovelace"
    emails: list[Document] = field(default_factory=list)  # at GitHub


class Grant(Struct):
    parameters: Mapping[str, str]  # of the authorization request
    account: Account


class SimulatedIdentityProvider:
    def __init__(self, *, redirect_url: str) -> None:
        self.redirect_url = redirect_url
        self.url = ""
        self.account = Account()
        self.email_in_id_token = True
        self.auth_methods = ["client_secret_basic"]
        self.keys: dict[str, RSAPrivateKey] = {}
        self.requests: list[str] = []  # paths
        self.received: list[Document] = []  # token requests
        self.change_claims: Callable[[Document], Document] = lambda claims: claims
        self.change_header: Callable[[Document], Document] = lambda header: header
        self.sign: Callable[[bytes], bytes] = self._sign
        self._grants: dict[str, Grant] = {}
        self._access: dict[str, Grant] = {}
        self._numbers = count(1)
        self.rotate_keys()

    @staticmethod
    def _now_s() -> int:
        return SystemClock().now_ms() // 1000

    def rotate_keys(self) -> None:
        self.keys = {f"key-{next(self._numbers)}": generate_private_key(65_537, 2_048)}

    # --- OpenID Connect

    def discovery(self) -> Document:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "token_endpoint_auth_methods_supported": self.auth_methods,
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }

    def jwks(self) -> Document:
        return {"keys": [_public(name, key) for name, key in self.keys.items()]}

    def authorize(self, given: Mapping[str, str]) -> str:
        """The redirect of a person who agrees."""
        assert given["response_type"] == "code"
        assert given["client_id"] == CLIENT_ID
        assert given["redirect_uri"] == self.redirect_url
        assert given["code_challenge_method"] == "S256"
        assert len(given["state"]) >= 43
        code = f"code-{next(self._numbers)}"
        self._grants[code] = Grant(dict(given), self.account)
        return f"{self.redirect_url}?{urlencode({'code': code, 'state': given['state']})}"

    def token(self, form: Mapping[str, str], authorization: str) -> Document | None:
        """None: the request is rejected."""
        self.received.append(dict(form))
        grant = self._grants.pop(form.get("code", ""), None)
        if grant is None or form["grant_type"] != "authorization_code" or not self._is_client(form, authorization):
            return None
        challenge = urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        if challenge != grant.parameters["code_challenge"] or form["redirect_uri"] != self.redirect_url:
            return None
        access_token = f"access-{next(self._numbers)}"
        self._access[access_token] = grant
        answer = {"access_token": access_token, "token_type": "Bearer"}
        if "openid" in grant.parameters["scope"].split():
            answer["id_token"] = self._id_token(grant, access_token)
        return answer

    def _is_client(self, form: Mapping[str, str], authorization: str) -> bool:
        if "client_secret" in form:
            return (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
        expected = f"{CLIENT_ID}:{urlencode({'': CLIENT_SECRET})[1:]}"
        return b64decode(authorization.removeprefix("Basic ")).decode() == expected

    def _id_token(self, grant: Grant, access_token: str) -> str:
        claims: Document = {
            "iss": self.url,
            "sub": grant.account.subject,
            "aud": CLIENT_ID,
            "iat": self._now_s(),
            "exp": self._now_s() + 300,
            "nonce": grant.parameters.get("nonce"),
            "at_hash": encoded(sha256(access_token.encode()).digest()[:16]),
        }
        if self.email_in_id_token:
            claims |= self._profile(grant.account)
        name = next(iter(self.keys))
        header = self.change_header({"alg": "RS256", "kid": name, "typ": "JWT"})
        text = f"{encoded(header)}.{encoded(self.change_claims(claims))}"
        return f"{text}.{encoded(self.sign(text.encode()))}"

    def _sign(self, text: bytes) -> bytes:
        return next(iter(self.keys.values())).sign(text, PKCS1v15(), SHA256())

    def user_info(self, authorization: str) -> Document | None:
        grant = self._access.get(authorization.removeprefix("Bearer "))
        return None if grant is None else {"sub": grant.account.subject, **self._profile(grant.account)}

    def _profile(self, account: Account) -> Document:
        profile = {"email": account.email, "email_verified": account.email_verified, "name": account.name}
        return {name: value for name, value in profile.items() if value is not None}

    # --- GitHub

    def github_user(self, authorization: str) -> Document | None:
        grant = self._access.get(authorization.removeprefix("Bearer "))
        return None if grant is None else {"id": int(grant.account.subject), "login": "ada", "name": None}

    def github_emails(self, authorization: str) -> list[Document] | None:
        grant = self._access.get(authorization.removeprefix("Bearer "))
        return None if grant is None else grant.account.emails

    def application(self) -> web.Application:
        async def authorize(request: web.Request) -> web.Response:
            raise web.HTTPFound(self.authorize(request.query))

        async def token(request: web.Request) -> web.Response:
            form = {name: str(value) for name, value in (await request.post()).items()}
            answer = self.token(form, request.headers.get("authorization", ""))
            if answer is not None:
                return web.json_response(answer)
            github = request.path != "/token"  # GitHub reports errors with 200
            return web.json_response({"error": "invalid_grant"}, status=200 if github else 400)

        def reading(read: Callable[..., Any], *, authorized: bool = True) -> Callable[[web.Request], Any]:
            async def answer(request: web.Request) -> web.Response:
                self.requests.append(request.path)
                found = read(request.headers.get("authorization", "")) if authorized else read()
                return web.json_response(found, status=200 if found is not None else 401)

            return answer

        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", reading(self.discovery, authorized=False))
        app.router.add_get("/jwks", reading(self.jwks, authorized=False))
        app.router.add_get("/userinfo", reading(self.user_info))
        app.router.add_get("/user", reading(self.github_user))
        app.router.add_get("/user/emails", reading(self.github_emails))
        for path in ("/authorize", "/login/oauth/authorize"):
            app.router.add_get(path, authorize)
        for path in ("/token", "/login/oauth/access_token"):
            app.router.add_post(path, token)
        return app


def _public(name: str, key: RSAPrivateKey) -> Document:
    numbers = key.public_key().public_numbers()

    def number(value: int) -> str:
        return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))

    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": number(numbers.n), "e": number(numbers.e)}


@asynccontextmanager
async def serving(provider: SimulatedIdentityProvider) -> AsyncIterator[str]:
    """The address of the provider on loopback."""
    runner = web.AppRunner(provider.application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield provider.url
    finally:
        await runner.cleanup()

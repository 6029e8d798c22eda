"""Access tokens of service accounts: a signed assertion is exchanged for one, which lasts an hour.

RFC 7523 as Google documents it. A token is kept until a minute before it expires; the caller says what time it is.
"""

from urllib.parse import urlencode

import anyio
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from msgspec import Struct
from msgspec.structs import replace

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Target
from airy.sources.calling import call
from airy.sources.google_api import service_account
from airy.sources.google_api.service_account import ServiceAccount
from airy.sources.retry_after import retry_after_s

ALGORITHM = "RS256"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FORM = Secret("application/x-www-form-urlencoded")
ASSERTION_VALID_S = 3_600
EARLY_MS = 60_000  # a token is replaced this long before it expires
TOKENS_MAX = 1_000  # beyond it the oldest one is dropped
RATE_S = 10.0
UNAUTHENTICATED = 401  # the status of an answer to a token that is not valid


class _Issued(Struct, frozen=True):
    token: Secret
    until_ms: int


class AccessTokens:
    """The tokens of one scope. Concurrent callers wait for one exchange."""

    def __init__(self, oauth_url: str, scope: str) -> None:
        self._oauth_url = oauth_url
        self._scope = scope
        self._issued: dict[ServiceAccountKey, _Issued] = {}
        self._exchanging = anyio.Lock()

    async def authorized(self, client: HttpClient, target: Target, configured: Secret | None, now_ms: int) -> Target:
        """`target` with `access_token` among its credentials: of its own service account, or of the configured one.
        Without either it is as it was, and `encode` says what is missing. Raises `Refused`, `Unavailable`.
        """
        key = target.credentials.get("service_account", configured)
        if key is None:
            return target
        token = await self.token(client, service_account.read(key), now_ms)
        return replace(target, credentials={**target.credentials, "access_token": token})

    async def token(self, client: HttpClient, account: ServiceAccount, now_ms: int) -> Secret:
        """Raises `Refused`, `Unavailable`."""
        async with self._exchanging:
            key = (account.email, account.key_id, account.private_key.reveal())
            known = self._issued.get(key)
            if known is None or now_ms >= known.until_ms:
                known = await self._exchange(client, account, now_ms)
                self._issued.pop(key, None)
                while len(self._issued) >= TOKENS_MAX:
                    del self._issued[next(iter(self._issued))]
                self._issued[key] = known
            return known.token

    def forget(self) -> None:
        """A token was refused before its time: each is exchanged again when it is needed."""
        self._issued.clear()

    async def _exchange(self, client: HttpClient, account: ServiceAccount, now_ms: int) -> _Issued:
        assertion = self._assertion(account, now_ms)
        body = urlencode({"grant_type": GRANT, "assertion": assertion.reveal()}).encode()
        request = Call("POST", Secret(self._oauth_url), {"content-type": FORM}, body, (assertion,))
        answer = await call(client, request)
        found = payload.object_of(answer.body) or {}
        token, valid_s = payload.text(found.get("access_token")), provider_answer.number(found.get("expires_in"))
        if 200 <= answer.status < 300 and token is not None and valid_s is not None:
            return _Issued(Secret(token), now_ms + max(0, valid_s * 1000 - EARLY_MS))
        raise _failure(request, answer)

    def _assertion(self, account: ServiceAccount, now_ms: int) -> Secret:
        issued_s = now_ms // 1000
        claims = {
            "iss": account.email,
            "scope": self._scope,
            "aud": self._oauth_url,
            "iat": issued_s,
            "exp": issued_s + ASSERTION_VALID_S,
        }
        header = {"alg": ALGORITHM, **({"kid": account.key_id} if account.key_id else {})}
        try:
            key = RSAKey.import_key(account.private_key.reveal())
            return Secret(jwt.encode(header, claims, key, algorithms=[ALGORITHM]))
        except (JoseError, ValueError, TypeError) as error:
            unreadable = type(error).__name__
        raise Refused(f"the private key of the service account cannot be used: {unreadable}", field="service_account")


ServiceAccountKey = tuple[str, str, str]


def _failure(request: Call, answer: Response) -> Refused | Unavailable:
    said = request.masked(provider_answer.said(f"google answered {answer.status} to the service account", answer))
    if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
        delay_s = retry_after_s(answer)
        return Unavailable(said, retry_after_s=RATE_S if answer.status == 429 and delay_s is None else delay_s)
    return Refused(said, field="service_account")

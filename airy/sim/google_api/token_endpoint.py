"""Google's token endpoint: a signed assertion of a service account (RFC 7523) becomes an access token of an hour."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from airy import base64url
from airy.sim.google_api.errors import token_error
from airy.sim.google_api.service_account import KnownServiceAccount
from airy.sim.provider.api import ApiReply, ApiRequest, json_reply, record

PATH = "/token"
GOOGLE = "https://oauth2.googleapis.com/token"  # Google's libraries name it, whatever the address of the endpoint
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
VALID_S = 3_599
ASSERTION_VALID_S_MAX = 3_600
TOKENS_MAX = 10_000


class TokenEndpoint:
    """`scope`: of the API whose tokens it issues. `clock_off_s_max`: of the clock that an assertion is dated by."""

    def __init__(self, account: KnownServiceAccount, scope: str, clock_off_s_max: int) -> None:
        self._account = account
        self._scope = scope
        self._clock_off_s_max = clock_off_s_max
        self._until_ms: OrderedDict[str, int] = OrderedDict()

    def is_valid(self, token: str, now_ms: int) -> bool:
        return now_ms < self._until_ms.get(token, 0)

    def answer(self, request: ApiRequest, now_ms: int, token: str) -> ApiReply:
        """`token` is issued if the assertion is right."""
        form = dict(request.form())
        if form.get("grant_type") != GRANT:
            return token_error("unsupported_grant_type", f"Invalid grant_type: {form.get('grant_type', '')}")
        try:
            header, claims, signed, signature = _parts(form.get("assertion", ""))
        except ValueError:
            return token_error("invalid_grant", "Bad Request")
        audience = f"{request.address}{PATH}"
        refusal = self._refusal(header, claims, audience, now_ms)
        if refusal is not None:
            return refusal
        try:
            self._account.public_key.verify(signature, signed, PKCS1v15(), SHA256())
        except InvalidSignature:
            return token_error("invalid_grant", "Invalid JWT Signature.")
        self._until_ms[token] = now_ms + VALID_S * 1000
        while len(self._until_ms) > TOKENS_MAX:
            self._until_ms.popitem(last=False)
        return json_reply({"access_token": token, "expires_in": VALID_S, "token_type": "Bearer"})

    def _refusal(
        self, header: Mapping[str, Any], claims: Mapping[str, Any], audience: str, now_ms: int
    ) -> ApiReply | None:
        if claims.get("iss") != self._account.email:
            return token_error("invalid_grant", "Invalid grant: account not found")
        if header.get("alg") != "RS256" or header.get("kid", self._account.key_id) != self._account.key_id:
            return token_error("invalid_grant", "Invalid JWT Signature.")
        if claims.get("aud") not in {audience, GOOGLE}:
            description = f"Invalid JWT: Failed audience check. The right audience is {audience}"
            return token_error("invalid_grant", description)
        if not self._is_current(claims.get("iat"), claims.get("exp"), now_ms // 1000):
            description = (
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )
            return token_error("invalid_grant", description)
        if self._scope not in str(claims.get("scope", "")).split():
            return token_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return None

    def _is_current(self, issued: object, expires: object, now_s: int) -> bool:
        if not isinstance(issued, int) or not isinstance(expires, int):
            return False
        short_lived = expires <= issued + ASSERTION_VALID_S_MAX
        return short_lived and issued - self._clock_off_s_max <= now_s < expires + self._clock_off_s_max


def _parts(assertion: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Header, claims, what is signed, signature. Raises `ValueError`."""
    signed, _, signature = assertion.encode().rpartition(b".")
    header, claims = signed.split(b".")
    return (
        record(base64url.decode(header).decode()),
        record(base64url.decode(claims).decode()),
        signed,
        base64url.decode(signature),
    )

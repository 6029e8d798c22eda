"""Is this request from Meta? Decided on the raw bytes, before anything is parsed.

The signature is HMAC-SHA256 of the body as sent. There is no time stamp in it, so replays are harmless by id
and not by age. The older SHA-1 header is not looked at.
"""

import hmac
import re
from collections.abc import Mapping, Sequence

from airy.sources.api import Accepted, Denied
from airy.sources.facebook.config import FacebookConfig

HEADER = b"x-hub-signature-256"
ACCOUNT_WITHIN_BYTES = 1024

_SIGNATURE = re.compile(rb"sha256=([0-9a-f]{64})")
_ACCOUNT = re.compile(  # the id of the first entry, as long as nothing is nested before it
    rb'"entry"\s*+:\s*+\[\s*+\{[^{}\[\]]*?"id"\s*+:\s*+(?:"([0-9A-Za-z_-]{1,64})"|([0-9]{1,64})(?=[\s,}]))'
)


def handshake(config: FacebookConfig, query: Mapping[str, str]) -> str | Denied:
    given = query.get("hub.verify_token", "").encode()
    known = hmac.compare_digest(given, config.verify_token.encode())
    if query.get("hub.mode") != "subscribe":
        return Denied(403, "hub.mode must be subscribe")
    if not known:
        return Denied(403, "hub.verify_token is not the one configured here")
    challenge = query.get("hub.challenge")
    return Denied(400, "hub.challenge is missing") if challenge is None else challenge


def verify(config: FacebookConfig, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Accepted | Denied:
    given = [value for name, value in headers if name.lower() == HEADER]
    if not given:
        return Denied(401, "x-hub-signature-256 is missing")
    if len(given) > 1:
        return Denied(403, "x-hub-signature-256 is given more than once")
    match = _SIGNATURE.fullmatch(given[0].strip())
    if match is None:
        return Denied(403, "x-hub-signature-256 is not sha256= and 64 hex digits")
    known = [hmac.compare_digest(match[1], signature(secret, body)) for secret in config.app_secrets]
    if not any(known):
        return Denied(403, "the signature is not of this body with our app secret")
    return Accepted(account_of(body))


def signature(secret: str, body: bytes) -> bytes:
    """The hex digits behind `sha256=`."""
    return hmac.digest(secret.encode(), body, "sha256").hex().encode()


def account_of(body: bytes) -> str:
    """The page the first entry is about; empty when a glance at the beginning does not tell."""
    match = _ACCOUNT.search(body, 0, ACCOUNT_WITHIN_BYTES)
    return (match[1] or match[2]).decode() if match else ""

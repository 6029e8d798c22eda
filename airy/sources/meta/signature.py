"""Is this request from Meta? Decided on the raw bytes, before anything is parsed.

The signature is HMAC-SHA256 of the body as sent. It covers no time stamp, so replays are recognised by the ids inside,
not by age. The older SHA-1 header is ignored.
"""

import hmac
import re
from urllib.parse import parse_qsl

from airy.sources.api import Accepted, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.meta.app import MetaApp
from airy.sources.meta.parts import parts_of

HEADER = b"x-hub-signature-256"
ACCOUNT_WITHIN_BYTES = 1024

_SIGNATURE = re.compile(rb"sha256=([0-9a-f]{64})")
_ACCOUNT = re.compile(  # the id of the first entry, as long as nothing is nested before it
    rb'"entry"\s*+:\s*+\[\s*+\{[^{}\[\]]*?"id"\s*+:\s*+(?:"([0-9A-Za-z_-]{1,64})"|([0-9]{1,64})(?=[\s,}]))'
)


def verify(app: MetaApp, request: WebhookRequest) -> Verdict:
    return _handshake(app, request.query) if request.method == "GET" else _signed(app, request)


def _handshake(app: MetaApp, query: str) -> WebhookReply | Denied:
    """The subscription handshake: Meta sends the verify token and gets its challenge back."""
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=16))
    except ValueError:
        return Denied(400, "not a query string")
    known = hmac.compare_digest(fields.get("hub.verify_token", "").encode(), app.verify_token.encode())
    if fields.get("hub.mode") != "subscribe":
        return Denied(403, "hub.mode must be subscribe")
    if not known:
        return Denied(403, "hub.verify_token is not the one configured here")
    challenge = fields.get("hub.challenge")
    return Denied(400, "hub.challenge is missing") if challenge is None else WebhookReply(body=challenge.encode())


def _signed(app: MetaApp, request: WebhookRequest) -> Accepted | Denied:
    given = request.header(HEADER)
    if not given:
        return Denied(401, "x-hub-signature-256 is missing")
    if len(given) > 1:
        return Denied(403, "x-hub-signature-256 is given more than once")
    match = _SIGNATURE.fullmatch(given[0].strip())
    if match is None:
        return Denied(403, "x-hub-signature-256 is not sha256= and 64 hex digits")
    known = [hmac.compare_digest(match[1], signature(secret, request.body)) for secret in app.app_secrets]
    if not any(known):
        return Denied(403, "the signature is not of this body with our app secret")
    return Accepted(account_of(request.body), parts=parts_of(request.body))


def signature(secret: str, body: bytes) -> bytes:
    """The hex digits behind `sha256=`."""
    return hmac.digest(secret.encode(), body, "sha256").hex().encode()


def account_of(body: bytes) -> str:
    """The account of the first entry; empty where the beginning of the body does not name it."""
    match = _ACCOUNT.search(body, 0, ACCOUNT_WITHIN_BYTES)
    return (match[1] or match[2]).decode() if match else ""

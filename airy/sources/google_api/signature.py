"""How Google signs webhooks, and how it registers one: HMAC-SHA512 with a key of the partner, base64. Pure.

When a webhook is registered, Google posts the key as `clientToken`, and wants its `secret` back.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable

from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Denied, Verdict, WebhookReply

HEADER = b"x-goog-signature"
REGISTRATION_BYTES_MAX = 4_096


def signature(key: Secret, signed: bytes) -> bytes:
    return b64encode(hmac.digest(key.reveal().encode(), signed, "sha512"))


def matches(given: bytes, signed: bytes, keys: Iterable[Secret]) -> bool:
    known = [hmac.compare_digest(given, signature(key, signed)) for key in keys]
    return any(known)


def registration(body: bytes, keys: Iterable[Secret]) -> Verdict | None:
    """The answer to the registration of a webhook; None if the request is another one."""
    if len(body) > REGISTRATION_BYTES_MAX or b'"clientToken"' not in body:
        return None
    found = payload.object_of(body) or {}
    token, secret = payload.text(found.get("clientToken")), payload.text(found.get("secret"))
    if token is None or secret is None:
        return None
    given = token.encode(errors="replace")
    known = [hmac.compare_digest(given, key.reveal().encode()) for key in keys]
    return WebhookReply(body=secret.encode(errors="replace")) if any(known) else Denied(403, "clientToken is unknown")

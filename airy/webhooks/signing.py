"""Signatures of a delivery: Standard Webhooks, and the original's content signature. Pure.

A receiver verifies the raw body. During rotation every secret signs, and one match is enough.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable

from airy.errors import Refused

PREFIX = "whsec_"
KEY_BYTES_MIN = 24
KEY_BYTES_MAX = 64


def secret_text(key: bytes) -> str:
    """A signing key as its owner sees it; the key should be 32 bytes of the system's randomness."""
    return PREFIX + b64encode(key).decode()


def secret_key(text: str) -> bytes:
    """The key of a `whsec_` text. Raises `Refused`, whose message never contains it."""
    try:
        key = b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        message = f"a signing secret is {PREFIX} and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes in base64"
        raise Refused(message, field="secret")
    return key


def standard(keys: Iterable[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature per key, separated by spaces."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return " ".join(f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}" for key in keys)


def content(key: str, body: bytes) -> str:
    """The value of `X-Airy-Content-Signature`: hex of HMAC-SHA256 over the exact body."""
    return hmac.digest(key.encode(), body, "sha256").hex()

"""The key of signed tokens, as the original reads it from its configuration."""

import re
from base64 import b64decode
from binascii import Error as BinasciiError

from airy.errors import Refused
from airy.secret import Secret

KEY_BYTES_MIN = 32  # HMAC-SHA256 needs as many as its hash has, RFC 7518


def signing_key(secret: Secret) -> bytes:
    """Base64, in which other characters are skipped, and whole groups of four only; `=` at the end counts as one.

    Raises `Refused` if it is short, or if `=` is within it.
    """
    letters = re.sub(r"[^A-Za-z0-9+/=]", "", secret.reveal())
    try:
        key = b64decode(letters[: len(letters) // 4 * 4], validate=True)
    except BinasciiError as error:
        raise Refused(f"not base64: {error}") from error
    if len(key) < KEY_BYTES_MIN:
        raise Refused(f"expected base64 of at least {KEY_BYTES_MIN} bytes, found {len(key)}")
    return key

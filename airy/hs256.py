"""JWTs with HS256 as they come from outside: what is no valid one is None, however it is malformed.

The library lets errors of other types through for headers that are JSON of an unexpected shape.
"""

from collections.abc import Sequence
from hashlib import sha256

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

ALGORITHM = "HS256"
KEY_ID_CHARS = 8


def key_set(keys: Sequence[bytes]) -> KeySet:
    """The first one signs. A key is named by a part of its hash."""
    return KeySet([OctKey.import_key(key, {"kid": sha256(key).hexdigest()[:KEY_ID_CHARS]}) for key in keys])


def decode(token: str | bytes, key: OctKey | KeySet) -> jwt.Token | None:
    """The token if its signature is right. Claims are not checked."""
    try:
        return jwt.decode(token, key, algorithms=[ALGORITHM])
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        return None

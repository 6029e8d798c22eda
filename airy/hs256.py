"""JWTs with HS256 as they come from outside: what is no valid one is None, however it is malformed.

The library lets errors of other types through for headers that are JSON of an unexpected shape.
"""

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OctKey

ALGORITHM = "HS256"


def decode(token: str | bytes, key: OctKey | KeySet) -> jwt.Token | None:
    """The token if its signature is right. Claims are not checked."""
    try:
        return jwt.decode(token, key, algorithms=[ALGORITHM])
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        return None

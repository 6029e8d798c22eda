"""API tokens: their text, and what a token grants.

A token is `airy_` and the URL-safe base64 of its id (16 bytes) and of a random secret (32 bytes): the id finds the
entity, and the SHA-256 of the whole text proves the secret. 256 random bits need no slow hash.
"""

from hashlib import sha256
from hmac import compare_digest
from uuid import UUID

from airy import base64url
from airy.model.entity import ApiToken
from airy.permissions import PERMISSIONS, Permission, Role

PREFIX = "airy_"
SECRET_BYTES = 32
ENCODED_CHARS = 64  # of 48 bytes, without padding


def token_text(token_id: str, secret: bytes) -> str:
    return PREFIX + base64url.encode(UUID(token_id).bytes + secret)


def token_id(token: bytes) -> str | None:
    """The id of the entity a token names; None if the text is no API token."""
    encoded = token.removeprefix(PREFIX.encode())
    if encoded == token or len(encoded) != ENCODED_CHARS:
        return None
    try:
        return str(UUID(bytes=base64url.decode(encoded)[:16]))
    except ValueError:
        return None


def token_sha256(token: bytes) -> str:
    return sha256(token).hexdigest()


def has_text(entity: ApiToken, token: bytes) -> bool:
    return compare_digest(entity.sha256, token_sha256(token))


def is_valid(entity: ApiToken, token: bytes, now_ms: int) -> bool:
    """Whether `token` is the token of this entity, and neither expired nor revoked."""
    return has_text(entity, token) and entity.revoked_at_ms is None and now_ms < entity.expires_at_ms


def permissions_of(entity: ApiToken) -> frozenset[Permission]:
    """Those of its role, restricted to the listed ones; of every role without one."""
    allowed = PERMISSIONS[Role(entity.role or Role.ADMIN)]
    return allowed & frozenset(map(Permission, entity.permissions)) if entity.permissions else allowed

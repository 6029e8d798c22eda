"""JWTs for tests, made by hand: the code under test uses a library."""

import hmac
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256

import msgspec


def encoded(value: object) -> str:
    """The URL-safe base64 of a JSON value, or of bytes."""
    return urlsafe_b64encode(value if isinstance(value, bytes) else msgspec.json.encode(value)).decode().rstrip("=")


def signed_token(
    claims: Mapping[str, object], secret: str, *, header: Mapping[str, object] | None = None, key: bytes | None = None
) -> str:
    """Signed by HMAC-SHA256 with the key that `secret` encodes, or with `key`, whatever the header says."""
    text = f"{encoded(header or {'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims)}"
    return f"{text}.{encoded(hmac.digest(key or b64decode(secret), text.encode(), sha256))}"


def user_claims(
    user_id: str = "google:bob@example.org", *, expires_at_s: float | None, name: str = "Bob"
) -> dict[str, object]:
    """Claims of a person's session, as the original writes them."""
    principal = msgspec.json.encode({"id": user_id, "name": name, "avatarUrl": "https://x.y/b.png"}).decode()
    return {"jti": "1", "sub": name, "iat": 0, "principal": principal} | (
        {"exp": expires_at_s} if expires_at_s is not None else {}
    )


def token_claims(name: str, data: object = None, roles: object = None, **more: object) -> dict[str, object]:
    """Claims of a token principal, as the original writes them."""
    return {
        "sub": name,
        "principal": msgspec.json.encode({"name": name, "data": data, "roles": roles}).decode(),
        **more,
    }

"""Base64 with the alphabet of URLs and without padding (RFC 4648, section 5)."""

from base64 import b64decode, urlsafe_b64encode


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: bytes) -> bytes:
    """Raises `ValueError` for text with other characters, or of an impossible length."""
    return b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)

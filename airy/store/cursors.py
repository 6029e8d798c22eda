"""Cursors and page sizes of list requests. Cursors are opaque, so that pages follow keys instead of offsets."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

import msgspec

from airy.errors import Refused

PAGE_SIZE_DEFAULT = 20
PAGE_SIZE_MAX = 500
OFFSET_DIGITS_MAX = 12

CursorKey = tuple[int, str]  # sort key of the first item of a page: time in ms, and id

_KEY_PREFIX = "k"  # offset cursors of former versions are numbers
_encode_key = msgspec.msgpack.Encoder().encode
_decode_key = msgspec.msgpack.Decoder(CursorKey).decode


def page_size(requested: int | None) -> int:
    """The default for None and values below 1; clamped to `PAGE_SIZE_MAX`."""
    return min(requested, PAGE_SIZE_MAX) if requested is not None and requested > 0 else PAGE_SIZE_DEFAULT


def encode(key: CursorKey) -> str:
    return _KEY_PREFIX + urlsafe_b64encode(_encode_key(key)).decode().rstrip("=")


def decode(cursor: str | None) -> CursorKey | int | None:
    """A key, the offset of a numeric cursor, or None for the first page. Raises `Refused`."""
    text = (cursor or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= OFFSET_DIGITS_MAX:
        return int(text)
    if text.startswith(_KEY_PREFIX):
        try:
            encoded = text[len(_KEY_PREFIX) :].encode("ascii")
            key: CursorKey = _decode_key(urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
            if -(1 << 63) <= key[0] < 1 << 63:
                return key
        except (Base64Error, UnicodeEncodeError, msgspec.MsgspecError):
            pass
    raise Refused(f"not a cursor: {text[:64]!r}; pass a cursor of the previous response", field="cursor")

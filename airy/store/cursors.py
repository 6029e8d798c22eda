"""Cursors and page sizes: what clients may ask for. Opaque to them, so that pages can follow keys instead of counts."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error

import msgspec

from airy.errors import Refused

PAGE_SIZE_DEFAULT = 20
PAGE_SIZE_MAX = 500
OFFSET_DIGITS_MAX = 12

Place = tuple[int, str]  # activity and id of the first conversation of a page

_MARK = "k"  # no old cursor begins with it: those are numbers
_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Place)


def page_size(asked: int | None) -> int:
    """Nonsense means the default; more than the bound means the bound."""
    return min(asked, PAGE_SIZE_MAX) if asked is not None and asked > 0 else PAGE_SIZE_DEFAULT


def write(place: Place) -> str:
    return _MARK + urlsafe_b64encode(_encode(place)).decode().rstrip("=")


def read(cursor: str | None) -> Place | int | None:
    """A place, an old cursor's offset, or None for the first page. Raises `Refused`."""
    text = (cursor or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= OFFSET_DIGITS_MAX:
        return int(text)
    if text.startswith(_MARK):
        try:
            encoded = text[len(_MARK) :].encode("ascii")
            place: Place = _decoder.decode(urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4)))
            if -(1 << 63) <= place[0] < 1 << 63:
                return place
        except (Base64Error, UnicodeEncodeError, msgspec.MsgspecError):
            pass
    raise Refused(f"not a cursor: {text[:64]!r}; pass back what the last page gave you", field="cursor")

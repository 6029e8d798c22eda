"""Cursors and page sizes of list requests. Cursors are opaque, so that pages follow keys instead of offsets."""

from typing import TypeVar

import msgspec

from airy import base64url
from airy.errors import Refused
from airy.model.contact_view import ContactView

K = TypeVar("K")

PAGE_SIZE_DEFAULT = 20
PAGE_SIZE_MAX = 500
OFFSET_DIGITS_MAX = 12

SORT_NAME_CHARS_MAX = 256  # of a name: contacts whose names agree so far are in the order of their ids

CursorKey = tuple[int, str]  # sort key of the first item of a page: time in ms, and id
ContactKey = tuple[int, str, str]  # of a contact: 1 if it has no name, the name, and id

_KEY_PREFIX = "k"  # offset cursors of former versions are numbers
_CONTACT_PREFIX = "c"
_encode_key = msgspec.msgpack.Encoder().encode
_KEY: msgspec.msgpack.Decoder[CursorKey] = msgspec.msgpack.Decoder(CursorKey)
_CONTACT_KEY: msgspec.msgpack.Decoder[ContactKey] = msgspec.msgpack.Decoder(ContactKey)


def page_size(requested: int | None) -> int:
    """The default for None and values below 1; clamped to `PAGE_SIZE_MAX`."""
    return min(requested, PAGE_SIZE_MAX) if requested is not None and requested > 0 else PAGE_SIZE_DEFAULT


def contact_key(view: ContactView) -> ContactKey:
    """The order of contacts: by name in code points, without one last."""
    name = (view.display_name or "")[:SORT_NAME_CHARS_MAX]
    return int(not name), name, view.contact.id


def encode(key: CursorKey) -> str:
    return _text(_KEY_PREFIX, key)


def encode_contact(key: ContactKey) -> str:
    return _text(_CONTACT_PREFIX, key)


def decode(cursor: str | None) -> CursorKey | int | None:
    """A key, the offset of a numeric cursor, or None for the first page. Raises `Refused`."""
    text = (cursor or "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= OFFSET_DIGITS_MAX:
        return int(text)
    key = _key(text, _KEY_PREFIX, _KEY)
    if key is None or not -(1 << 63) <= key[0] < 1 << 63:
        raise _not_a_cursor(text)
    return key


def decode_contact(cursor: str | None) -> ContactKey | None:
    """A key, or None for the first page. Raises `Refused`."""
    text = (cursor or "").strip()
    if not text:
        return None
    key = _key(text, _CONTACT_PREFIX, _CONTACT_KEY)
    if key is None or key[0] not in (0, 1):
        raise _not_a_cursor(text)
    return key


def _text(prefix: str, key: tuple[object, ...]) -> str:
    return prefix + base64url.encode(_encode_key(key))


def _key(text: str, prefix: str, decoder: msgspec.msgpack.Decoder[K]) -> K | None:
    if not text.startswith(prefix):
        return None
    try:
        return decoder.decode(base64url.decode(text[len(prefix) :].encode("ascii")))
    except ValueError:  # also msgspec's
        return None


def _not_a_cursor(text: str) -> Refused:
    return Refused(f"not a cursor: {text[:64]!r}; pass a cursor of the previous response", field="cursor")

"""JSON text kept as received. A missing value is the text `null`: msgspec cannot decode a `Raw` that may be None."""

import msgspec
from msgspec import Raw

NULL = Raw(b"null")


def none_if_null(raw: Raw | None) -> Raw | None:
    """`raw`, or None if it is empty or `null`."""
    return None if raw is None or bytes(raw) in {b"", b"null"} else raw


def same_json(one: Raw, other: Raw) -> bool:
    """Whether two JSON texts are equal apart from key order and white space."""
    return bytes(one) == bytes(other) or _canonical(one) == _canonical(other)


def _canonical(text: Raw) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(text), order="sorted")

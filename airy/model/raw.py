"""JSON text kept as received. A missing value is the text `null`: msgspec cannot decode a `Raw` that may be None."""

from msgspec import Raw

NULL = Raw(b"null")


def none_if_null(raw: Raw | None) -> Raw | None:
    """`raw`, or None if it is empty or `null`."""
    return None if raw is None or bytes(raw) in {b"", b"null"} else raw

"""JSON text kept as it came. Nothing is the text `null`: msgspec cannot decode a `Raw` that may also be None."""

from msgspec import Raw

NULL = Raw(b"null")


def given(raw: Raw | None) -> Raw | None:
    """`raw`, unless it says nothing."""
    return None if raw is None or bytes(raw) in {b"", b"null"} else raw

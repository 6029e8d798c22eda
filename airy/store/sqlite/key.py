"""Ids as the database keeps them: a canonical UUID in its 16 bytes, anything else as the text it is.

The two never meet: SQLite compares text and blobs by type first. So the mapping is one to one, and a foreign id that is
not a UUID costs space, never an error.
"""

import re

Key = bytes | str

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def key(text: str) -> Key:
    return bytes.fromhex(text.replace("-", "")) if _CANONICAL(text) else text


def asked(text: str) -> Key:
    """The key of an id a client wrote: ids are not case-sensitive."""
    return key(text.lower())


def text_of(stored: Key) -> str:
    if isinstance(stored, str):
        return stored
    hexed = stored.hex()
    return f"{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}"


def text_sql(column: str) -> str:
    """SQL for `text_of`, lower case, for patterns over ids."""
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    dashed = " || '-' || ".join(f"substr(hex({column}), {start}, {length})" for start, length in parts)
    return f"lower(CASE typeof({column}) WHEN 'blob' THEN {dashed} ELSE {column} END)"

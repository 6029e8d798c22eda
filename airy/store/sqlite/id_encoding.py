"""How ids are stored: a canonical UUID as 16 bytes, any other id as text.

SQLite compares text and blobs by type first, so the two never collide: the mapping is one to one, and an id that is not
a UUID costs space, never an error.
"""

import re

StoredId = bytes | str

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def encode_id(text: str) -> StoredId:
    return bytes.fromhex(text.replace("-", "")) if _CANONICAL(text) else text


def encode_client_id(text: str) -> StoredId:
    """The stored form of an id in a request: ids are not case-sensitive."""
    return encode_id(text.lower())


def decode_id(stored: StoredId) -> str:
    if isinstance(stored, str):
        return stored
    hexed = stored.hex()
    return f"{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}"


def decode_id_sql(column: str) -> str:
    """`decode_id` in lower case as SQL, for patterns over ids."""
    parts = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
    dashed = " || '-' || ".join(f"substr(hex({column}), {start}, {length})" for start, length in parts)
    return f"lower(CASE typeof({column}) WHEN 'blob' THEN {dashed} ELSE {column} END)"

"""Lists as parameters of SQL statements."""

from collections.abc import Sequence

import msgspec


def json_list(values: Sequence[object]) -> str:
    """A list as SQLite's `json_each` reads it."""
    return msgspec.json.encode(values).decode()

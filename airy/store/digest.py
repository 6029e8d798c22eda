"""A digest of a read model that does not depend on the order of its rows.

Each row is hashed on its own and the hashes are added modulo 2^256: engines need not sort, rows can be added or
removed later, and equal digests mean equal rows. It detects mistakes; it does not resist an adversary.
"""

from hashlib import sha256

_MODULUS = 1 << 256


class Digest:
    def __init__(self) -> None:
        self._sum = 0
        self.rows = 0

    def add(self, kind: str, *parts: str | bytes | int | None) -> None:
        """Add one row: its kind and all its columns."""
        row = sha256(kind.encode())
        for part in parts:
            text = b"-" if part is None else part if isinstance(part, bytes) else str(part).encode()
            row.update(b"%d:" % len(text) + text)
        self._sum = (self._sum + int.from_bytes(row.digest(), "big")) % _MODULUS
        self.rows += 1

    def text(self) -> str:
        return f"{self.rows}:{self._sum:064x}"

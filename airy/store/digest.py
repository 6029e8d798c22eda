"""A fingerprint of a read model that does not depend on the order its rows come in.

Each row is hashed by itself and the hashes are added up, modulo 2^256: engines need not sort, a part can be added or
taken away later, and two stores agree exactly if they hold the same rows. It guards against mistakes, not against an
adversary.
"""

from hashlib import sha256

_MODULUS = 1 << 256


class Digest:
    def __init__(self) -> None:
        self._sum = 0
        self.rows = 0

    def add(self, kind: str, *parts: str | bytes | int | None) -> None:
        """One row: what it is, and everything that identifies and describes it."""
        row = sha256(kind.encode())
        for part in parts:
            text = b"-" if part is None else part if isinstance(part, bytes) else str(part).encode()
            row.update(b"%d:" % len(text) + text)
        self._sum = (self._sum + int.from_bytes(row.digest(), "big")) % _MODULUS
        self.rows += 1

    def text(self) -> str:
        return f"{self.rows}:{self._sum:064x}"

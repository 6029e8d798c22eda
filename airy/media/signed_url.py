"""Addresses of stored files, with a signature that only this installation can make.

The signature is HMAC-SHA256 over the name and the time of expiry, if there is one. Expiries are whole multiples of the
validity, so the same file has the same address for that long, and each address is valid for one to two of them.
"""

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest, digest
from urllib.parse import parse_qs

from airy import base64url

PATH = "/media/"
PURPOSE = "addresses of media"  # the keys are derived for it
QUERY_CHARS_MAX = 256


class SignedUrls:
    """`base`: the address of this installation, without a slash at the end. The first key signs, every key verifies.

    `valid_s` None: addresses do not expire.
    """

    def __init__(self, keys: Sequence[bytes], base: str, valid_s: int | None = None) -> None:
        self._keys = tuple(keys)
        self._base = base
        self._valid_s = valid_s

    @property
    def prefix(self) -> str:
        """What every address begins with."""
        return f"{self._base}{PATH}"

    def url(self, name: str, now_ms: int) -> str:
        expires = "" if self._valid_s is None else str((now_ms // 1000 // self._valid_s + 2) * self._valid_s)
        query = f"expires={expires}&" if expires else ""
        return f"{self._base}{PATH}{name}?{query}signature={_signature(self._keys[0], name, expires)}"

    def is_valid(self, name: str, query: str, now_ms: int) -> bool:
        """Every key is tried, and each comparison takes the same time whatever is wrong."""
        if len(query) > QUERY_CHARS_MAX:
            return False
        given = parse_qs(query, keep_blank_values=True)
        signatures, expiries = given.get("signature", []), given.get("expires", [""])
        if len(signatures) != 1 or len(expiries) != 1:
            return False
        expires = expiries[0]
        signature = signatures[0].encode("utf-8", "replace")
        found = False
        for key in self._keys:
            found |= compare_digest(_signature(key, name, expires).encode(), signature)
        return found and (not expires or now_ms < int(expires) * 1000)


def _signature(key: bytes, name: str, expires: str) -> str:
    return base64url.encode(digest(key, f"{name}\n{expires}".encode("utf-8", "surrogatepass"), sha256))

"""Tokens of custom sources: JWTs with the original's claims, signed with a key that is derived from the sealing key.

Each token differs, and the entity of its source holds it sealed, because it is also the key of the source's signatures.
The signature tells a token of a deleted source from an invented one; whether a token still counts is in the entity.
"""

import msgspec
from joserfc import jwt
from msgspec import Raw, Struct

from airy import hs256
from airy.seal import Sealer
from airy.secret import Secret

TYPE = "JWT"
PURPOSE = "airy-source+jwt"
TOKEN_CHARS_MAX = 2_048
NAME_PREFIX = "source_app:"


class _SourcePrincipal(Struct, frozen=True):
    name: str
    data: dict[str, Raw] = {}


class _SourceClaims(Struct, frozen=True):
    principal: str


class CustomSourceTokens:
    def __init__(self, sealer: Sealer) -> None:
        self._keys = hs256.key_set(sealer.signing_keys(PURPOSE))

    def issue(self, source_id: str, token_id: str, now_ms: int) -> Secret:
        principal = {"name": f"{NAME_PREFIX}{source_id}", "data": {"source": source_id}}
        key = self._keys.keys[0]
        claims = {"principal": msgspec.json.encode(principal).decode(), "iat": now_ms // 1000, "jti": token_id}
        return Secret(jwt.encode({"alg": hs256.ALGORITHM, "typ": TYPE, "kid": key.kid}, claims, key))

    def source_of(self, text: str) -> str | None:
        """The source a token was issued for; None for what is no token of a source, whatever else it is."""
        if len(text) > TOKEN_CHARS_MAX or text.count(".") != 2:
            return None
        found = hs256.decode(text, self._keys)
        if found is None:
            return None
        try:
            principal = msgspec.json.decode(
                msgspec.convert(found.claims, _SourceClaims).principal, type=_SourcePrincipal
            )
            source_id = msgspec.json.decode(principal.data.get("source", b"null"), type=str)
        except msgspec.MsgspecError:
            return None
        return source_id if principal.name == f"{NAME_PREFIX}{source_id}" else None

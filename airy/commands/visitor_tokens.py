"""Tokens of visitors: JWTs, signed with HS256 and a key that is derived from the sealing key.

A visit's token opens one conversation for an hour; a resume token begins another visit of it within a week. Each kind
has a key and a `typ` of its own, so neither passes for the other. Tokens are not stored: whether they still count is in
the conversation (`airy.model.fold_visitor`).
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec
from joserfc import jwt
from msgspec import Struct

from airy import hs256
from airy.seal import Sealer

VISIT_S = 3_600
RESUME_S = 7 * 86_400
TOKEN_CHARS_MAX = 2_048
VISIT_TYPE, RESUME_TYPE = "airy-visit+jwt", "airy-resume+jwt"

T = TypeVar("T", bound=Struct)


class Visit(Struct, frozen=True, kw_only=True):
    """What a visit's token opens. `family` is that of the resume tokens when the visit began."""

    conversation_id: str
    channel_id: str
    family: int


class VisitorResumeToken(Struct, frozen=True, kw_only=True):
    conversation_id: str = msgspec.field(name="resume_conversation_id")
    channel_id: str = msgspec.field(name="resume_channel_id")
    family: int
    generation: int


class _Expiry(Struct, frozen=True):
    exp: int


class VisitorTokens:
    def __init__(self, sealer: Sealer, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._keys = {kind: hs256.key_set(sealer.signing_keys(kind)) for kind in (VISIT_TYPE, RESUME_TYPE)}

    def visit(self, visit: Visit) -> str:
        return self._encode(VISIT_TYPE, visit, visit.conversation_id, VISIT_S)

    def resume(self, token: VisitorResumeToken) -> str:
        return self._encode(RESUME_TYPE, token, token.conversation_id, RESUME_S)

    def read_visit(self, text: str) -> Visit | None:
        """None for what is no valid token of a visit, whatever else it is."""
        return self._decode(VISIT_TYPE, text, Visit)

    def read_resume(self, text: str) -> VisitorResumeToken | None:
        return self._decode(RESUME_TYPE, text, VisitorResumeToken)

    def _encode(self, kind: str, content: Struct, subject: str, valid_s: int) -> str:
        key, now_s = self._keys[kind].keys[0], self._now_ms() // 1000
        claims = {"sub": subject, "iat": now_s, "exp": now_s + valid_s, **msgspec.to_builtins(content)}
        return jwt.encode({"alg": hs256.ALGORITHM, "typ": kind, "kid": key.kid}, claims, key)

    def _decode(self, kind: str, text: str, content: type[T]) -> T | None:
        if len(text) > TOKEN_CHARS_MAX or text.count(".") != 2:
            return None
        token = hs256.decode(text, self._keys[kind])
        if token is None:
            return None
        try:
            expiry = msgspec.convert(token.claims, _Expiry)
            found = msgspec.convert(token.claims, content)
        except msgspec.ValidationError:
            return None
        valid = token.header.get("typ") == kind and self._now_ms() < expiry.exp * 1000
        return found if valid else None

"""The API tokens of the configuration: they are in no log, and cannot be revoked while the process runs."""

from collections.abc import Mapping
from hashlib import sha256
from hmac import compare_digest
from types import MappingProxyType

from airy.errors import Refused
from airy.http.auth import Caller, CallerKind
from airy.permissions import PERMISSIONS, Role
from airy.secret import TOKEN_CHARS_MIN, Secret


class ConfiguredTokens:
    """The API tokens of the configuration, by name. `roles`: those that are not `admin`.

    Only hashes are kept, and every one is compared in constant time: neither memory nor timing reveals a token.
    """

    def __init__(self, tokens: Mapping[str, Secret], roles: Mapping[str, Role] = MappingProxyType({})) -> None:
        if not tokens:
            raise Refused("no API token is configured: set security.systemToken, or security.open to run without one")
        for name, token in tokens.items():
            if len(token.reveal()) < TOKEN_CHARS_MIN:
                raise Refused(f"the API token {name!r} is too short: it needs at least {TOKEN_CHARS_MIN} characters")
        self._callers = [
            (_caller(name, roles.get(name, Role.ADMIN)), _hash(token.reveal().encode()))
            for name, token in tokens.items()
        ]

    async def find(self, token: bytes, /) -> Caller | None:
        token_sha256, found = _hash(token), None
        for caller, known_sha256 in self._callers:
            if compare_digest(token_sha256, known_sha256):
                found = caller
        return found


def _caller(name: str, role: Role) -> Caller:
    kind = CallerKind.SOURCE if role is Role.SOURCE else CallerKind.TOKEN
    return Caller(caller_id(name), PERMISSIONS[role], name, kind)


def caller_id(token_name: str) -> str:
    """The id of a token's caller. The original Airy uses the token's first four characters instead of its name."""
    return f"system-token-{token_name}"


def _hash(token: bytes) -> bytes:
    return sha256(token).digest()

"""Patterns of e-mail addresses: one address, or `*@` and a domain. They are compared as text, never as expressions.

Letters are compared without case. Addresses with characters beyond ASCII are rejected before that: some fold to ASCII
letters, so that another address would match.
"""

import re
from collections.abc import Iterable

from airy.errors import Refused

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_LOCAL_PART = re.compile(r"[a-z0-9!#$%&'+/=?^_`{|}~.-]{1,64}")
ADDRESS_CHARS_MAX = 254


def canonical_email(address: str) -> str | None:
    """The address in lower case; None if it is not a plain ASCII address."""
    if not address.isascii() or len(address) > ADDRESS_CHARS_MAX:
        return None
    local_part, at, domain = address.lower().rpartition("@")
    valid = at and _LOCAL_PART.fullmatch(local_part) and _DOMAIN.fullmatch(domain)
    return f"{local_part}@{domain}" if valid else None


class EmailPatterns:
    """Raises `Refused` for anything else than an address or `*@domain`."""

    def __init__(self, patterns: Iterable[str]) -> None:
        addresses, domains = set[str](), set[str]()
        for pattern in patterns:
            local_part, _, domain = pattern.partition("@")
            address = canonical_email(f"any@{domain}" if local_part == "*" else pattern)
            if address is None:
                raise Refused(f"expected an address, or *@ and a domain, found {pattern[:64]!r}")
            if local_part == "*":
                domains.add(domain.lower())
            else:
                addresses.add(address)
        self._addresses = frozenset(addresses)
        self._domains = frozenset(domains)

    def matches(self, address: str) -> bool:
        canonical = canonical_email(address)
        return canonical is not None and (canonical in self._addresses or canonical.rpartition("@")[2] in self._domains)

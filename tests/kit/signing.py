"""The part of a source that ingress uses: HMAC over the raw body, one account."""

import hmac
from collections.abc import Mapping, Sequence

from airy.sources.api import Accepted, Denied

SIGNING_KEY = b"app secret"


class SigningSource:
    name = "facebook"

    def handshake(self, query: Mapping[str, str]) -> str | Denied:
        return query["challenge"] if query.get("token") == "yes" else Denied(403, "wrong token")

    def verify(self, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Accepted | Denied:
        given = dict(headers).get(b"x-hub-signature-256", b"")
        if not hmac.compare_digest(given, signature(body)):
            return Denied(403, "the signature is not of this body")
        return Accepted("page")


def signature(body: bytes) -> bytes:
    return b"sha256=" + hmac.digest(SIGNING_KEY, body, "sha256").hex().encode()

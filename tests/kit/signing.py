"""The part of a source that ingress uses: HMAC over the raw body, one account."""

import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl

from airy.sources.api import Accepted, Accounts, BatchPart, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.facebook.spec import SPEC
from airy.sources.spec import SourceSpec

SIGNING_KEY = b"app secret"


class SigningSource:
    spec: SourceSpec = SPEC

    def __init__(self, parts: Sequence[BatchPart] = ()) -> None:
        self._parts = parts

    def verify(self, request: WebhookRequest, accounts: Accounts) -> Verdict:
        if request.method == "GET":
            fields = dict(parse_qsl(request.query))
            right = fields.get("token") == "yes"
            return WebhookReply(body=fields["challenge"].encode()) if right else Denied(403, "wrong token")
        given = request.header(b"x-hub-signature-256")
        if not given or not hmac.compare_digest(given[0], signature(request.body)):
            return Denied(403, "the signature is not of this body")
        return Accepted("page", parts=self._parts)


def signature(body: bytes) -> bytes:
    return b"sha256=" + hmac.digest(SIGNING_KEY, body, "sha256").hex().encode()

"""Is this request from Google? It signs the body with the partner's key: HMAC-SHA512, base64.

The key depends on the agent that the unverified body names; naming another agent only changes which key the signature
has to match. When a webhook is registered, Google posts the key as `clientToken`, and wants its `secret` back.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterable

from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Accepted, Accounts, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.google import names
from airy.sources.google.spec import GoogleSection

HEADER = b"x-goog-signature"
CHALLENGE_BYTES_MAX = 4_096
REFUSED = Denied(403, "the signature is not of this body with the partner key")


def verify(section: GoogleSection, request: WebhookRequest, accounts: Accounts) -> Verdict:
    if request.method != "POST":
        return Denied(405, "Google posts its events here")
    answered = _challenged(section, request.body, accounts)
    if answered is not None:
        return answered
    given = request.header(HEADER)
    if not given:
        return Denied(401, "x-goog-signature is missing")
    if len(given) > 1:
        return Denied(403, "x-goog-signature is given more than once")
    agent = names.agent(payload.object_of(request.body) or {})
    known = [hmac.compare_digest(given[0], signature(key, request.body)) for key in _keys(section, accounts, agent)]
    return Accepted((agent or "").encode(errors="replace").decode()) if any(known) else REFUSED


def signature(key: Secret, body: bytes) -> bytes:
    return b64encode(hmac.digest(key.reveal().encode(), body, "sha512"))


def _keys(section: GoogleSection, accounts: Accounts, agent: str | None) -> Iterable[Secret]:
    """The channel's own key if it has one, else the configured ones."""
    channel = accounts.by_account("google", agent) if agent else None
    own = accounts.secret(channel, "partner_key") if channel is not None else None
    return section.partner_key if own is None else (own,)


def _challenged(section: GoogleSection, body: bytes, accounts: Accounts) -> Verdict | None:
    """The answer to the registration of a webhook; None if the request is another one."""
    if len(body) > CHALLENGE_BYTES_MAX or b'"clientToken"' not in body:
        return None
    found = payload.object_of(body) or {}
    token, secret = payload.text(found.get("clientToken")), payload.text(found.get("secret"))
    if token is None or secret is None:
        return None
    own = (accounts.secret(channel, "partner_key") for channel in accounts.of_kind("google"))
    keys = [*section.partner_key, *(key for key in own if key is not None)]
    known = [hmac.compare_digest(token.encode(errors="replace"), key.reveal().encode()) for key in keys]
    return WebhookReply(body=secret.encode(errors="replace")) if any(known) else Denied(403, "clientToken is unknown")

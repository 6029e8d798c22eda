"""Is this request from Google? It signs the body with the partner's key.

The key depends on the agent that the unverified body names; naming another agent only changes which key the signature
has to match.
"""

from collections.abc import Iterable

from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Accepted, Accounts, Denied, Verdict, WebhookRequest
from airy.sources.google.spec import GoogleSection
from airy.sources.google_api import names
from airy.sources.google_api.signature import HEADER, matches, registration

REFUSED = Denied(403, "the signature is not of this body with the partner key")


def verify(section: GoogleSection, request: WebhookRequest, accounts: Accounts) -> Verdict:
    if request.method != "POST":
        return Denied(405, "Google posts its events here")
    answered = registration(request.body, _all_keys(section, accounts))
    if answered is not None:
        return answered
    given = request.header(HEADER)
    if not given:
        return Denied(401, "x-goog-signature is missing")
    if len(given) > 1:
        return Denied(403, "x-goog-signature is given more than once")
    agent = names.agent(payload.object_of(request.body) or {})
    if not matches(given[0], request.body, _keys(section, accounts, agent)):
        return REFUSED
    return Accepted((agent or "").encode(errors="replace").decode())


def _keys(section: GoogleSection, accounts: Accounts, agent: str | None) -> Iterable[Secret]:
    """Those of the channel, else the configured ones."""
    channel = accounts.by_account("google", agent) if agent else None
    return section.partner_key if channel is None else accounts.secrets(channel, "partner_key", section.partner_key)


def _all_keys(section: GoogleSection, accounts: Accounts) -> Iterable[Secret]:
    yield from section.partner_key
    for channel in accounts.of_kind("google"):
        yield from accounts.secrets(channel, "partner_key")

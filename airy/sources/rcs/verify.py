"""Is this request from Google? It signs the event inside the body with the client token.

The token depends on the agent that the unverified event names; naming another agent only changes which token the
signature has to match.
"""

from collections.abc import Iterable

from airy.errors import Undecodable
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import Accepted, Accounts, Denied, Verdict, WebhookRequest
from airy.sources.google_api.signature import HEADER, matches, registration
from airy.sources.rcs import envelope
from airy.sources.rcs.spec import RcsSection

REFUSED = Denied(403, "the signature is not of this event with the client token")


def verify(section: RcsSection, request: WebhookRequest, accounts: Accounts) -> Verdict:
    if request.method != "POST":
        return Denied(405, "Google posts its events here")
    answered = registration(request.body, _all_tokens(section, accounts))
    if answered is not None:
        return answered
    given = request.header(HEADER)
    if not given:
        return Denied(401, "x-goog-signature is missing")
    if len(given) > 1:
        return Denied(403, "x-goog-signature is given more than once")
    return _compared(section, request.body, given[0], accounts)


def _compared(section: RcsSection, body: bytes, given: bytes, accounts: Accounts) -> Verdict:
    try:
        event = envelope.event_bytes(body)
    except Undecodable as error:
        return Denied(403, f"the signature cannot be checked: {error}")
    agent = envelope.agent(payload.object_of(event) or {})
    if not matches(given, event, _tokens(section, accounts, agent)):
        return REFUSED
    return Accepted((agent or "").encode(errors="replace").decode())


def _tokens(section: RcsSection, accounts: Accounts, agent: str | None) -> Iterable[Secret]:
    """Those of the channel, else the configured ones."""
    channel = accounts.by_account("rcs", agent) if agent else None
    return section.client_token if channel is None else accounts.secrets(channel, "client_token", section.client_token)


def _all_tokens(section: RcsSection, accounts: Accounts) -> Iterable[Secret]:
    yield from section.client_token
    for channel in accounts.of_kind("rcs"):
        yield from accounts.secrets(channel, "client_token")

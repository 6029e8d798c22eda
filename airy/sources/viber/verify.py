"""Is this request from Viber? It signs the body with the bot's token: HMAC-SHA256, lower-case hexadecimal.

The bot is told by the path, or at the original's path by the token that signed. While a webhook is set, Viber posts a
check that may be signed with a token that is not stored yet: it holds nothing, and is answered without being kept.
"""

import hmac
from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

from airy.model import metadata
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources import payload
from airy.sources.api import EMPTY_REPLY, Accepted, Accounts, Denied, Verdict, WebhookReply, WebhookRequest
from airy.sources.viber import sender
from airy.sources.viber.spec import ViberSection

HEADER = b"x-viber-content-signature"
CHECK_BYTES_MAX = 1_024
REFUSED = Denied(403, "the signature is not of this body with the token of a connected bot: connect the bot again")


def verify(section: ViberSection, request: WebhookRequest, accounts: Accounts) -> Verdict:
    if request.method != "POST":
        return Denied(405, "Viber posts its events here")
    given = request.header(HEADER)
    channel = _signer(section, request, accounts, given[0]) if len(given) == 1 else None
    if channel is not None:
        return Accepted(channel.source_channel_id, reply=_welcome(section, channel, request.body))
    if _is_check(request.body):
        return EMPTY_REPLY
    if not given:
        return Denied(401, "x-viber-content-signature is missing")
    return REFUSED if len(given) == 1 else Denied(403, "x-viber-content-signature is given more than once")


def signature(token: Secret, body: bytes) -> bytes:
    return hmac.digest(token.reveal().encode(), body, "sha256").hex().encode()


def _signer(section: ViberSection, request: WebhookRequest, accounts: Accounts, given: bytes) -> Channel | None:
    """The channel with whose token the body is signed."""
    found: Channel | None = None
    for channel in _candidates(request, accounts):
        for token in accounts.secrets(channel, "token", section.auth_token):
            if hmac.compare_digest(given, signature(token, request.body)):
                found = channel
    return found


def _candidates(request: WebhookRequest, accounts: Accounts) -> Iterable[Channel]:
    channel_id = request.parameters.get("channel_id")
    if channel_id is None:
        return accounts.of_kind("viber")
    channel = accounts.by_id(unquote(channel_id))
    return (channel,) if channel is not None and channel.source == "viber" else ()


def _is_check(body: bytes) -> bool:
    return len(body) <= CHECK_BYTES_MAX and (payload.object_of(body) or {}).get("event") == "webhook"


def _welcome(section: ViberSection, channel: Channel, body: bytes) -> WebhookReply:
    """The message that greets a contact who opens the chat; Viber takes it from the answer to the event."""
    wanted = metadata.text(channel.metadata, "welcome_message") or section.welcome_message
    if not wanted or b"conversation_started" not in body:
        return EMPTY_REPLY
    if (payload.object_of(body) or {}).get("event") != "conversation_started":
        return EMPTY_REPLY
    message = payload.object_of(wanted.encode()) or {"text": wanted}
    document = {"type": "text", "sender": sender.of(channel), **message}
    return WebhookReply(body=msgspec.json.encode(document), content_type="application/json")

"""Is this request from Telegram? It repeats the secret that was given to it for this bot's address.

There is no signature over the body. A channel that is unknown and a secret that is wrong get the same answer.
"""

import hmac
from urllib.parse import unquote

import msgspec

from airy.sources import payload
from airy.sources.api import EMPTY_REPLY, Accepted, Accounts, Denied, Verdict, WebhookReply, WebhookRequest

HEADER = b"x-telegram-bot-api-secret-token"
REFUSED = Denied(403, "the secret is not the one of this channel's webhook: connect the bot again")


def verify(request: WebhookRequest, accounts: Accounts) -> Verdict:
    if request.method != "POST":
        return Denied(405, "Telegram posts its updates here")
    given = request.header(HEADER)
    if not given:
        return Denied(401, "x-telegram-bot-api-secret-token is missing")
    if len(given) > 1:
        return Denied(403, "x-telegram-bot-api-secret-token is given more than once")
    channel = accounts.by_id(unquote(request.parameters.get("channel_id", "")))
    secrets = accounts.secrets(channel, "webhook_secret") if channel and channel.source == "telegram" else ()
    known = [hmac.compare_digest(given[0], secret.reveal().encode()) for secret in secrets]
    if channel is None or not any(known):
        return REFUSED
    return Accepted(channel.source_channel_id, reply=_tap_answered(request.body))


def _tap_answered(body: bytes) -> WebhookReply:
    """The answer to a tap on a button ends the progress bar at it; no call of ours is needed for that."""
    if b'"callback_query"' not in body:
        return EMPTY_REPLY
    update = payload.object_of(body) or {}
    tap_id = payload.text(payload.record(update.get("callback_query")).get("id"))
    if tap_id is None:
        return EMPTY_REPLY
    method = {"method": "answerCallbackQuery", "callback_query_id": tap_id}
    return WebhookReply(body=msgspec.json.encode(method), content_type="application/json")

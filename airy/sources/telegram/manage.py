"""Bots: connected by their token, with a webhook address and a secret of their own; disconnected; and their files."""

import re
from collections.abc import Mapping

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import ids
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Checked, Connected, Installation, Target
from airy.sources.calling import call
from airy.sources.retry_after import retry_after_s
from airy.sources.telegram import bot_api
from airy.sources.telegram.spec import TELEGRAM, ConnectBot, TelegramSection

RATE_S = 5.0
LATELY_MS = 3_600_000
UPDATES = (
    "message",
    "edited_message",
    "callback_query",
    "message_reaction",
    "my_chat_member",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
)

_TOKEN = re.compile(r"(\d{1,20}):[A-Za-z0-9_-]{10,100}")
_PATH = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_. -]*/)*[A-Za-z0-9_-][A-Za-z0-9_. -]*")


async def connect(
    client: HttpClient, section: TelegramSection, form: ConnectBot, installation: Installation
) -> Connected:
    """Reads the bot's name, and has its updates posted here with a secret. Raises `Refused`, `Unavailable`.

    The secret derives from the token: of two connects at once, Telegram keeps what one of them set and the log what the
    other one stored.
    """
    token = Secret(form.bot_token.reveal().strip())
    match = _TOKEN.fullmatch(token.reveal())
    if match is None:
        raise Refused("bot_token is not a token of BotFather: digits, a colon, letters", field="bot_token")
    own_server = section.api_url.rstrip("/") != TELEGRAM  # a Bot API server of one's own takes any address
    if not installation.public_url.startswith(("https://", "http://") if own_server else "https://"):
        raise Refused("the public address of this installation is not configured, or not https: Telegram needs both")
    bot = payload.record(await _result(client, section, token, "getMe", {}))
    bot_id = payload.identifier(bot.get("id"))
    if bot_id is None or bot_id != match[1]:
        raise Refused("telegram knows this token under another bot id", field="bot_token")
    channel_id = ids.channel_id("telegram", bot_id)
    secret = installation.derived_secret(f"telegram webhook {token.reveal()}")
    await _set_webhook(client, section, token, _address(installation.public_url, channel_id), secret)
    username = payload.text(bot.get("username"))
    return Connected(
        account=bot_id,
        name=form.name or payload.text(bot.get("first_name")) or username or bot_id,
        image_url=form.image_url,
        metadata={"bot_id": bot_id, **({"username": username} if username else {})},
        credentials={"token": token, "webhook_secret": secret},
    )


async def check(client: HttpClient, section: TelegramSection, public_url: str, target: Target, now_ms: int) -> Checked:
    """Whether the bot's updates are posted here, and arrive. A webhook that was removed is set again; one to another
    address is left alone, because that may be another installation's. Raises `Unavailable`.
    """
    token, secret = target.credentials.get("token"), target.credentials.get("webhook_secret")
    if token is None or secret is None:
        return Checked(problem="the channel has no token: connect it again")
    url = _address(public_url, target.channel.id)
    try:
        found = payload.record(await _result(client, section, token, "getWebhookInfo", {}))
        current, allowed = payload.text(found.get("url")), found.get("allowed_updates")
        if current is not None and current != url:
            return Checked(problem="the bot's updates are posted to another address: connect the bot again")
        if current == url and (not isinstance(allowed, list) or set(map(str, allowed)) >= set(UPDATES)):
            return Checked(problem=_undelivered(found, now_ms))
        await _set_webhook(client, section, token, url, secret)
    except Refused as error:
        return Checked(problem=f"{error}; connect the bot again")
    return Checked(repaired="the bot's webhook was removed, or some kinds of updates were left out")


def _undelivered(webhook: Mapping[str, object], now_ms: int) -> str:
    """What Telegram says about updates that wait, if it failed to post one lately; empty: they arrive."""
    waiting, said = provider_answer.number(webhook.get("pending_update_count")), webhook.get("last_error_message")
    failed_s = provider_answer.number(webhook.get("last_error_date")) or 0
    if not waiting or not isinstance(said, str) or failed_s * 1000 < now_ms - LATELY_MS:
        return ""
    return f"telegram cannot post {waiting} updates here: {said}"


async def _set_webhook(client: HttpClient, section: TelegramSection, token: Secret, url: str, secret: Secret) -> None:
    fields = {
        "url": url,
        "secret_token": secret.reveal(),
        "allowed_updates": UPDATES,  # left out, the last list would stay
    }
    await _result(client, section, token, "setWebhook", fields)


def _address(public_url: str, channel_id: str) -> str:
    return f"{public_url}/telegram/{channel_id}"


async def disconnect(client: HttpClient, section: TelegramSection, target: Target) -> str | None:
    token = target.credentials.get("token")
    if token is None:
        return None
    try:
        await _result(client, section, token, "deleteWebhook", {})
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def media(client: HttpClient, section: TelegramSection, target: Target, file_id: str) -> Call:
    """The call for a file's bytes; its address is secret and valid for an hour. Raises `Refused`, `Unavailable`."""
    token = target.credentials.get("token")
    if token is None:
        raise Refused("the channel has no token: connect it again")
    found = payload.record(await _result(client, section, token, "getFile", {"file_id": file_id}))
    path = payload.text(found.get("file_path"))
    if path is None or not _PATH.fullmatch(path):
        raise Refused("telegram names no file to download")
    return bot_api.file_call(section.api_url, token, path)


async def _result(
    client: HttpClient, section: TelegramSection, token: Secret, method: str, fields: Mapping[str, object]
) -> object:
    """What the Bot API answers with. Raises `Refused` or `Unavailable`."""
    request = bot_api.call(section.api_url, token, method, fields)
    answer = await call(client, request)
    found = payload.object_of(answer.body)
    error = bot_api.error_of(found)
    if error is None and 200 <= answer.status < 300 and found is not None and found.get("ok") is True:
        return found.get("result")
    code = answer.status if error is None or not error.code else error.code
    said = provider_answer.said(f"telegram answered {answer.status}", answer)
    said = said if error is None else f"telegram: {error.description}"
    delay_s = retry_after_s(answer) if error is None or error.retry_after_s is None else error.retry_after_s
    if code == 429 or code >= 500 or (error is None and 200 <= code < 300):
        raise Unavailable(request.masked(said), retry_after_s=RATE_S if code == 429 and delay_s is None else delay_s)
    raise Refused(request.masked(said), field="bot_token" if code in {401, 404} else None)

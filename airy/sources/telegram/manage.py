"""Bots: connected by their token, with a webhook address and a secret of their own; disconnected; and their files."""

import re
from collections.abc import Mapping

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import ids
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Connected, Installation, Target
from airy.sources.calling import call
from airy.sources.retry_after import retry_after_s
from airy.sources.telegram import bot_api
from airy.sources.telegram.spec import TELEGRAM, ConnectBot, TelegramSection

RATE_S = 5.0
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
    """Reads who the bot is, and has its updates posted here with a new secret. Raises `Refused`, `Unavailable`."""
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
    secret = installation.new_secret()
    await _result(
        client,
        section,
        token,
        "setWebhook",
        {
            "url": f"{installation.public_url}/telegram/{channel_id}",
            "secret_token": secret.reveal(),
            "allowed_updates": UPDATES,  # left out, the last list would stay
        },
    )
    username = payload.text(bot.get("username"))
    return Connected(
        account=bot_id,
        name=form.name or payload.text(bot.get("first_name")) or username or bot_id,
        image_url=form.image_url,
        metadata={"bot_id": bot_id, **({"username": username} if username else {})},
        credentials={"token": token, "webhook_secret": secret},
    )


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

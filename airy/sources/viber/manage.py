"""Bots: identified by their token, told where their events go, and left."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import ids
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Checked, Connected, Installation, Target
from airy.sources.calling import call
from airy.sources.retry_after import retry_after_s
from airy.sources.viber import bot_api, interpret
from airy.sources.viber.error_codes import OTHER, RATE, meaning_of
from airy.sources.viber.spec import VIBER, ConnectViber, ViberSection

RATE_S = 10.0
EVENTS = ("message", "conversation_started", "subscribed", "unsubscribed", "delivered", "seen", "failed")


async def connect(
    client: HttpClient, section: ViberSection, form: ConnectViber, installation: Installation
) -> Connected:
    """Reads the bot's name, and has its events posted to an address of its own. Raises `Refused`, `Unavailable`."""
    given = form.auth_token.reveal().strip() if form.auth_token is not None else ""
    token = Secret(given) if given else next(iter(section.auth_token), None)
    if token is None:
        raise Refused("give auth_token, or configure the token of a bot", field="auth_token")
    if not token.reveal().isascii() or not token.reveal().isprintable():
        raise Refused("auth_token is not a token of Viber", field="auth_token")
    simulated = section.api_url.rstrip("/") != VIBER  # which takes any address
    if not installation.public_url.startswith(("https://", "http://") if simulated else "https://"):
        raise Refused("the public address of this installation is not configured, or not https: Viber needs both")
    bot = await _result(client, section, token, "get_account_info", {})
    bot_id = payload.text(bot.get("id"))
    if bot_id is None:
        raise Unavailable("viber named no account")
    await _set_webhook(client, section, token, _address(installation.public_url, bot_id))
    known = {"uri": payload.text(bot.get("uri")), "welcome_message": form.welcome_message}
    return Connected(
        account=bot_id,
        name=form.name or payload.text(bot.get("name")) or bot_id,
        image_url=form.image_url or payload.text(bot.get("icon")),
        metadata={name: text for name, text in known.items() if text is not None},
        credentials={"token": token} if given else {},
    )


async def check(client: HttpClient, section: ViberSection, public_url: str, target: Target) -> Checked:
    """Whether the bot posts its events here; a webhook that was removed is set again. Raises `Unavailable`."""
    token, account = bot_api.token_of(section, target), target.channel.source_channel_id
    if token is None:
        return Checked(problem="the channel has no token: connect it again")
    try:
        bot = await _result(client, section, token, "get_account_info", {})
        if bot.get("id") != account:
            return Checked(problem="the token is another bot's: connect the channel again")
        here, given = _address(public_url, account), bot.get("webhook")
        if not public_url or not isinstance(given, str) or given in {here, f"{public_url}/viber"}:
            return Checked()
        if given:
            other = urlsplit(given).hostname or "another address"
            return Checked(problem=f"{other} has the bot's webhook now: connect the channel again to have it here")
        await _set_webhook(client, section, token, here)
    except Refused as error:
        return Checked(problem=f"{error}; connect the channel again")
    return Checked(repaired="the bot's webhook was removed at Viber: messages may be missing")


async def disconnect(client: HttpClient, section: ViberSection, target: Target) -> str | None:
    token = bot_api.token_of(section, target)
    if token is None:
        return None
    try:
        await _result(client, section, token, "set_webhook", {"url": ""})
    except (Refused, Unavailable) as error:
        return str(error)
    return None


def _address(public_url: str, bot_id: str) -> str:
    return f"{public_url}/viber/{ids.channel_id('', bot_id)}"


async def _set_webhook(client: HttpClient, section: ViberSection, token: Secret, url: str) -> None:
    wanted = {"url": url, "event_types": EVENTS, "send_name": True, "send_photo": True}
    await _result(client, section, token, "set_webhook", wanted)


async def _result(
    client: HttpClient, section: ViberSection, token: Secret, method: str, fields: Mapping[str, object]
) -> dict[str, object]:
    """The object Viber answered with. Raises `Refused` or `Unavailable`."""
    request = bot_api.call(section.api_url, token, method, fields)
    answer = await call(client, request)
    status = bot_api.status_of(answer)
    if status == 0:
        return payload.object_of(answer.body) or {}
    delay_s = retry_after_s(answer)
    if status is None:
        said = request.masked(provider_answer.said(f"viber answered {answer.status}", answer))
        if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
            raise Unavailable(said, retry_after_s=RATE_S if answer.status == 429 and delay_s is None else delay_s)
        raise Refused(said)
    said = request.masked(f"viber: {interpret.said_of(answer, status)}")
    meaning = meaning_of(status)
    if status == RATE or meaning is OTHER:
        raise Unavailable(said, retry_after_s=RATE_S if delay_s is None else delay_s)
    raise Refused(said, field="auth_token" if meaning.kind == "auth" else None)

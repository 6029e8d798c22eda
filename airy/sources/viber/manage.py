"""Bots: identified by their token, told where their events go, and left."""

from collections.abc import Mapping

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient
from airy.model import ids
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Connected, Installation, Target
from airy.sources.calling import call
from airy.sources.retry_after import retry_after_s
from airy.sources.viber import bot_api, interpret
from airy.sources.viber.error_codes import OTHER, RATE, meaning_of
from airy.sources.viber.spec import ConnectViber, ViberSection

RATE_S = 10.0
EVENTS = ("message", "conversation_started", "subscribed", "unsubscribed", "delivered", "seen", "failed")


async def connect(
    client: HttpClient, section: ViberSection, form: ConnectViber, installation: Installation
) -> Connected:
    """Reads who the bot is, and has its events posted to an address of its own. Raises `Refused`, `Unavailable`."""
    given = form.auth_token.reveal().strip() if form.auth_token is not None else ""
    token = Secret(given) if given else next(iter(section.auth_token), None)
    if token is None:
        raise Refused("give auth_token, or configure the token of a bot", field="auth_token")
    if not token.reveal().isascii() or not token.reveal().isprintable():
        raise Refused("auth_token is not a token of Viber", field="auth_token")
    if not installation.public_url.startswith("https://"):
        raise Refused("the public address of this installation is not configured, or not https: Viber needs both")
    bot = await _result(client, section, token, "get_account_info", {})
    bot_id = payload.text(bot.get("id"))
    if bot_id is None:
        raise Unavailable("viber named no account")
    url = f"{installation.public_url}/viber/{ids.channel_id('', bot_id)}"
    await _result(
        client,
        section,
        token,
        "set_webhook",
        {"url": url, "event_types": EVENTS, "send_name": True, "send_photo": True},
    )
    known = {"uri": payload.text(bot.get("uri")), "welcome_message": form.welcome_message}
    return Connected(
        account=bot_id,
        name=form.name or payload.text(bot.get("name")) or bot_id,
        image_url=form.image_url or payload.text(bot.get("icon")),
        metadata={name: text for name, text in known.items() if text is not None},
        credentials={"token": token} if given else {},
    )


async def disconnect(client: HttpClient, section: ViberSection, target: Target) -> str | None:
    token = bot_api.token_of(section, target)
    if token is None:
        return None
    try:
        await _result(client, section, token, "set_webhook", {"url": ""})
    except (Refused, Unavailable) as error:
        return str(error)
    return None


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

"""Numbers and senders: checked with Twilio's API when they are connected, and told where their webhooks go."""

import re
from urllib.parse import urlencode

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Connected, Installation, Setting, Target
from airy.sources.calling import call
from airy.sources.retry_after import retry_after_s
from airy.sources.twilio import account, interpret
from airy.sources.twilio.account import TwilioAccount
from airy.sources.twilio.encode import FORM
from airy.sources.twilio.form import WHATSAPP
from airy.sources.twilio.spec import RETRIES, ConnectNumber, TwilioSection

RATE_S = 10.0
_NUMBER = re.compile(r"\+?[0-9A-Za-z]{3,32}")  # a phone number, a short code or an alphanumeric sender
_SPACE = re.compile(r"\s+")


async def connect(
    client: HttpClient, section: TwilioSection, kind: str, form: ConnectNumber, installation: Installation
) -> Connected:
    """Checks the account and, for a number of its own, sets where its messages are posted.

    Raises `Refused`, `Unavailable`.
    """
    number = _SPACE.sub("", form.phone_number).removeprefix(WHATSAPP)
    if not _NUMBER.fullmatch(number):
        raise Refused("phone_number is not a number like +4930901820", field="phone_number")
    if (form.account_sid is None) != (form.auth_token is None):
        raise Refused("account_sid and auth_token are given together", field="auth_token")
    own = form.account_sid is not None and form.auth_token is not None
    owner = TwilioAccount(form.account_sid or "", form.auth_token or Secret("")) if own else account.configured(section)
    if owner is None:
        raise Refused("give account_sid and auth_token, or configure the Twilio account", field="account_sid")
    if not installation.public_url:
        raise Refused("the public address of this installation is not configured: Twilio could not reach it")
    webhook = f"{installation.public_url}/twilio{RETRIES}"
    done = await _set_webhook(client, section, owner, number, webhook) if kind == "twilio.sms" else False
    if kind == "twilio.whatsapp":
        await _object(client, owner.call("GET", _account_url(section, owner)))
    named = {"messaging_service_sid": form.messaging_service_sid} if form.messaging_service_sid else {}
    return Connected(
        account=number if kind == "twilio.sms" else WHATSAPP + number,
        name=form.name or number,
        image_url=form.image_url,
        metadata={"phone_number": number, **named},
        credentials={"account_sid": Secret(owner.sid), "auth_token": owner.token} if own else {},
        instructions="" if done else f"At Twilio, let {number} post its messages to this address with HTTP POST.",
        settings=() if done else (Setting("webhook_url", Secret(webhook)),),
    )


async def disconnect(client: HttpClient, section: TwilioSection, target: Target) -> str | None:
    """A number of the account posts its messages nowhere from now on; other senders are left to the operator."""
    owner = account.of(section, target)
    if owner is None or target.channel.source != "twilio.sms":
        return None
    try:
        await _set_webhook(client, section, owner, target.channel.source_channel_id, "")
    except (Refused, Unavailable) as error:
        return str(error)
    return None


async def media(section: TwilioSection, target: Target, url: str) -> Call:
    """Raises `Refused` for an address that is not Twilio's: the credentials go nowhere else."""
    owner = account.of(section, target)
    if owner is None:
        raise Refused("the channel has no Twilio account: connect it again")
    if not url.startswith(f"{section.api_url.rstrip('/')}/"):
        raise Refused("the media address is not one of Twilio's API")
    return owner.call("GET", url)


async def _set_webhook(client: HttpClient, section: TwilioSection, owner: TwilioAccount, number: str, url: str) -> bool:
    """Whether the account has the number. Raises `Refused`, `Unavailable`."""
    listing = account.resource(section, owner, "IncomingPhoneNumbers.json")
    query = urlencode({"PhoneNumber": number})
    found = (await _object(client, owner.call("GET", f"{listing}?{query}"))).get("incoming_phone_numbers")
    numbers = [payload.record(each) for each in found] if isinstance(found, list) else []
    sids = [payload.text(each.get("sid")) for each in numbers if each.get("phone_number") == number]
    if not sids or sids[0] is None:
        return False
    body = urlencode({"SmsUrl": url, "SmsMethod": "POST"}).encode()
    one = account.resource(section, owner, f"IncomingPhoneNumbers/{sids[0]}.json")
    await _object(client, owner.call("POST", one, body, FORM))
    return True


def _account_url(section: TwilioSection, owner: TwilioAccount) -> str:
    return account.resource(section, owner, "").rstrip("/") + ".json"


async def _object(client: HttpClient, request: Call) -> dict[str, object]:
    """The object Twilio answered with. Raises `Refused` or `Unavailable`."""
    answer = await call(client, request)
    found = payload.object_of(answer.body)
    if 200 <= answer.status < 300 and found is not None:
        return found
    said = request.masked(_said(answer, found))
    if answer.status == 429 or answer.status >= 500 or 200 <= answer.status < 300:
        delay_s = retry_after_s(answer)
        raise Unavailable(said, retry_after_s=RATE_S if answer.status == 429 and delay_s is None else delay_s)
    raise Refused(said, field="auth_token" if answer.status == 401 else None)


def _said(answer: Response, found: dict[str, object] | None) -> str:
    code = provider_answer.number((found or {}).get("code"))
    if found is not None and code is not None:
        return f"twilio: {interpret.message_of(found, code)}"
    return provider_answer.said(f"twilio answered {answer.status} with something that is not its API's", answer)

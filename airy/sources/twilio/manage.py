"""Numbers and senders: checked with Twilio's API when they are connected, and told where their webhooks go."""

import re
from typing import NamedTuple
from urllib.parse import urlencode

from airy.errors import Refused, Unavailable
from airy.http_client import HttpClient, Response
from airy.secret import Secret
from airy.sources import payload, provider_answer
from airy.sources.api import Call, Checked, Connected, Installation, Setting, Target
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
    webhook = _address(installation.public_url)
    hosted = await _hosted(client, section, owner, number) if kind == "twilio.sms" else None
    if hosted is not None:
        await _set_webhook(client, section, owner, hosted, webhook)
    if kind == "twilio.whatsapp":
        await _object(client, owner.call("GET", _account_url(section, owner)))
    named = {"messaging_service_sid": form.messaging_service_sid} if form.messaging_service_sid else {}
    return Connected(
        account=number if kind == "twilio.sms" else WHATSAPP + number,
        name=form.name or number,
        image_url=form.image_url,
        metadata={"phone_number": number, **named},
        credentials={"account_sid": Secret(owner.sid), "auth_token": owner.token} if own else {},
        instructions="" if hosted else f"At Twilio, let {number} post its messages to this address with HTTP POST.",
        settings=() if hosted else (Setting("webhook_url", Secret(webhook)),),
    )


async def check(client: HttpClient, section: TwilioSection, public_url: str, target: Target) -> Checked:
    """Whether the account is active and, of a number of its own, whether its messages are posted here.

    Raises `Unavailable`.
    """
    owner = account.of(section, target)
    if owner is None:
        return Checked(problem="the channel has no Twilio account: connect it again")
    try:
        status = payload.text((await _object(client, owner.call("GET", _account_url(section, owner)))).get("status"))
        if status not in {None, "active"}:
            return Checked(problem=f"the Twilio account is {status}")
        is_number = target.channel.source == "twilio.sms"
        return await _check_number(client, section, owner, public_url, target) if is_number else Checked()
    except Refused as error:
        return Checked(problem=f"{error}; connect the channel again")


async def _check_number(
    client: HttpClient, section: TwilioSection, owner: TwilioAccount, public_url: str, target: Target
) -> Checked:
    """An address that was removed is set again; another one is left alone, because that may be another installation's.

    Raises `Refused`, `Unavailable`.
    """
    hosted = await _hosted(client, section, owner, target.channel.source_channel_id)
    if hosted is None or hosted.webhook == _address(public_url):
        return Checked()
    if hosted.webhook and not _is_ours(hosted.webhook, public_url):
        return Checked(problem="the number's messages are posted to another address: connect it again")
    await _set_webhook(client, section, owner, hosted, _address(public_url))
    return Checked(repaired="the address of the number's messages was removed, or asked for no retries")


async def disconnect(client: HttpClient, section: TwilioSection, public_url: str, target: Target) -> str | None:
    """A number of the account that posts its messages here posts them nowhere from now on; other senders are left to
    the operator.
    """
    owner = account.of(section, target)
    if owner is None or target.channel.source != "twilio.sms":
        return None
    try:
        hosted = await _hosted(client, section, owner, target.channel.source_channel_id)
        if hosted is not None and _is_ours(hosted.webhook, public_url):
            await _set_webhook(client, section, owner, hosted, "")
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


class HostedNumber(NamedTuple):
    """A number of the account, and where it posts its messages."""

    sid: str
    webhook: str


def _address(public_url: str) -> str:
    return f"{public_url}/twilio{RETRIES}"


def _is_ours(webhook: str, public_url: str) -> bool:
    return webhook.partition("#")[0] == f"{public_url}/twilio"


async def _hosted(client: HttpClient, section: TwilioSection, owner: TwilioAccount, number: str) -> HostedNumber | None:
    """None: the account does not have the number. Raises `Refused`, `Unavailable`."""
    listing = account.resource(section, owner, "IncomingPhoneNumbers.json")
    query = urlencode({"PhoneNumber": number})
    found = (await _object(client, owner.call("GET", f"{listing}?{query}"))).get("incoming_phone_numbers")
    numbers = [payload.record(each) for each in found] if isinstance(found, list) else []
    for each in numbers:
        if each.get("phone_number") == number and (sid := payload.text(each.get("sid"))) is not None:
            return HostedNumber(sid, payload.text(each.get("sms_url")) or "")
    return None


async def _set_webhook(
    client: HttpClient, section: TwilioSection, owner: TwilioAccount, hosted: HostedNumber, url: str
) -> None:
    """Raises `Refused`, `Unavailable`."""
    body = urlencode({"SmsUrl": url, "SmsMethod": "POST"}).encode()
    one = account.resource(section, owner, f"IncomingPhoneNumbers/{hosted.sid}.json")
    await _object(client, owner.call("POST", one, body, FORM))


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

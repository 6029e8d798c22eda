"""Twilio's side, as its documentation has it."""

import hmac
from base64 import b64encode
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from msgspec.structs import replace

from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.secret import Secret
from airy.sources.spec import ChannelForm
from airy.sources.twilio.spec import RETRIES, SPEC, ConnectNumber, TwilioSection
from tests.kit.providers.base import PUBLIC_URL, Headers, Request, Taken, Webhook, Wire, answer

AUTH_TOKEN = "twilio-token"
ACCOUNT_SID = "AC00000000000000000000000000000001"
NUMBER, CONTACT = "+4930901820", "+4915112345678"
FORM = "application/x-www-form-urlencoded"
WEBHOOK = f"{PUBLIC_URL}/twilio{RETRIES}"


def signature(secret: str, url: str, body: bytes, algorithm: str = "sha1") -> bytes:
    """The URL, then each distinct name and value, names and the values of a name in order."""
    pairs = parse_qsl(body.decode(), keep_blank_values=True)
    signed = url
    for name in sorted({name for name, _ in pairs}):
        for value in sorted({value for given, value in pairs if given == name}):
            signed += name + value
    return b64encode(hmac.new(secret.encode(), signed.encode(), algorithm).digest())


class TwilioWire(Wire):
    spec = SPEC
    section = TwilioSection(
        enabled=True,
        account_sid=ACCOUNT_SID,
        auth_token=(Secret(AUTH_TOKEN),),
        shared_keys={"WK1": Secret("twilio-shared")},
    )
    host = "api.twilio.com"
    more_hosts = ("messaging.twilio.com",)
    secrets = (AUTH_TOKEN, "twilio-shared", b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode())
    accounts: ClassVar = {"twilio.sms": NUMBER, "twilio.whatsapp": f"whatsapp:{NUMBER}"}
    participant = CONTACT
    addresses = ("api_url", "messaging_url")
    mismatch = 503  # nothing else is repeated
    webhook, status = WEBHOOK, "active"  # of the number, and of the account
    text: ClassVar = {"Body": "Yes, from Thursday on."}

    def __init__(self) -> None:
        self.auth_token = AUTH_TOKEN
        self.own_account = False  # the channel brings its account

    def kind_of(self, account: str) -> str:
        return "twilio.whatsapp" if account.startswith("whatsapp:") else "twilio.sms"

    def contact(self, kind: str) -> str:
        return f"whatsapp:{CONTACT}" if kind == "twilio.whatsapp" else CONTACT

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {}

    def form(self, kind: str) -> ChannelForm:
        form = ConnectNumber(phone_number=NUMBER, name="Order hotline")
        return replace(form, account_sid=ACCOUNT_SID, auth_token=Secret(self.auth_token)) if self.own_account else form

    def signed(self, webhook: Webhook) -> Headers:
        return [(b"x-twilio-signature", signature(self.auth_token, webhook.url, webhook.body))]

    def forged(self, webhook: Webhook) -> Headers:
        return [(b"x-twilio-signature", signature("another token", webhook.url, webhook.body))]

    def wrapped(self, body: bytes, account: str) -> Webhook:
        path = "/twilio/status" if b"MessageStatus=" in body else "/twilio"
        return Webhook(path=path, body=body, account=account, content_type=FORM)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        form = {
            "SmsMessageSid": f"SM{number:032x}",
            "NumMedia": "0",
            "SmsStatus": "received",
            "Body": text,
            "To": self.accounts[kind],
            "NumSegments": "1",
            "MessageSid": f"SM{number:032x}",
            "AccountSid": ACCOUNT_SID,
            "From": self.contact(kind),
            "ApiVersion": "2010-04-01",
        }
        return self.wrapped(urlencode(form).encode(), self.accounts[kind])

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        status = {DeliveryState.SENT: "sent", DeliveryState.DELIVERED: "delivered", DeliveryState.READ: "read"}.get(
            state
        )
        if status is None or (status == "read" and kind == "twilio.sms"):
            return None
        form = {
            "MessageSid": provider_id,
            "MessageStatus": status,
            "SmsSid": provider_id,
            "SmsStatus": status,
            "To": self.contact(kind),
            "From": self.accounts[kind],
            "AccountSid": ACCOUNT_SID,
            "ApiVersion": "2010-04-01",
        }
        return self.wrapped(urlencode(form).encode(), self.accounts[kind])

    def taken(self, request: Request) -> Taken | None:
        if request.method != "POST" or not request.path.endswith("/Messages.json"):
            return None
        callback = urlsplit(str(request.fields.get("StatusCallback", ""))).query
        return Taken(
            str(request.fields["To"]), str(request.fields.get("Body", "")) or None, dict(parse_qsl(callback)).get("m")
        )

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        sid = f"SM{number + 0xB0000:032x}"
        return sid, answer(201, {"sid": sid, "status": "queued", "error_code": None, "error_message": None})

    def rate_limited(self, delay_s: int) -> Response:
        return self._error(429, 20429, "Too Many Requests", retry_after=str(delay_s))

    def token_refused(self) -> Response:
        return self._error(401, 20003, f"Authenticate: {AUTH_TOKEN} is not valid")

    def contact_blocked(self) -> Response:
        return self._error(400, 21610, "Attempt to send to unsubscribed recipient")

    @staticmethod
    def _error(status: int, code: int, message: str, **headers: str) -> Response:
        document = {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
        return answer(status, document | {"status": status}, **headers)

    def managed(self, request: Request) -> Response:
        if request.path.endswith("/IncomingPhoneNumbers.json"):
            number = {"sid": "PN1", "phone_number": NUMBER, "sms_url": self.webhook}
            numbers = [number] if request.fields["PhoneNumber"] == NUMBER else []
            return answer(200, {"incoming_phone_numbers": numbers})
        if request.path.endswith("/Typing.json"):
            return answer(200, {"success": True})
        return answer(200, {"sid": ACCOUNT_SID, "status": self.status})

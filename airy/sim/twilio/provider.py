"""The simulated Twilio: messages, status callbacks, numbers and media. The address a form is posted to is signed too.

Twilio repeats a webhook once, and only if it had no connection: what an installation misses is listed, not repeated.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from airy.errors import Refused
from airy.sim.provider.acts import Blocks, PersonAct, Presses, Returns, Says, SendsMedia, SharesLocation
from airy.sim.provider.api import (
    AddressCheck,
    ApiReply,
    ApiRequest,
    Event,
    PendingWebhook,
    WebhookRequestBody,
    json_reply,
)
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.files import SAMPLES
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.outbox import Redelivery
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.setup import Connect, Setup
from airy.sim.provider.state import Person
from airy.sim.twilio import rest
from airy.sim.twilio.options import SMS, WHATSAPP, TwilioOptions, is_whatsapp

FIRST_PERSON = 4_915_112_345_678
WINDOW_MS = 86_400_000
RETRIES = 2
API = "/2010-04-01/Accounts"


class TwilioProvider(SimulatedProvider[TwilioOptions]):
    title = "Twilio"
    default_address = "https://api.twilio.com"
    redelivery: ClassVar = Redelivery(retry_ms=(1_000,), give_up_ms=15_000, attempts_max=RETRIES, only_unreached=True)

    def __init__(self, options: TwilioOptions, *, now_ms: int = 0) -> None:
        super().__init__(options, now_ms=now_ms)
        self._callbacks: dict[str, str] = {}  # message to its StatusCallback

    def setup(self, address: str) -> Setup:
        options = self.options
        keys = {
            "accountSid": options.account_sid,
            "authToken": options.auth_token,
            "apiUrl": address,
            "messagingUrl": address,
        }
        connects = [
            Connect(account.kind, {"phone_number": account.id.removeprefix("whatsapp:"), "name": account.name})
            for account in options.accounts
        ]
        return Setup({"twilio": keys}, connects, needs_public_url=True, public_url=options.public_url)

    # --- calls

    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        if not self._is_authentic(request):
            return rest.error(20003)
        if request.path == "/v3/Indicators/Typing.json":
            return json_reply({"success": True})
        prefix = f"{API}/{self.options.account_sid}"
        if request.path == f"{prefix}.json":
            return json_reply({"sid": self.options.account_sid, "status": "active", "friendly_name": "simulated"})
        return self._resource(request, request.path.removeprefix(f"{prefix}/"), now_ms)

    def _resource(self, request: ApiRequest, resource: str, now_ms: int) -> ApiReply:
        if resource == "Messages.json" and request.method == "POST":
            return self._sent(request, now_ms)
        if resource == "Messages.json":
            return self._listed(request)
        if resource.startswith("IncomingPhoneNumbers"):
            return self._numbers(request, resource)
        file = self.state.files.get(resource.rpartition("/")[2]) if "/Media/" in resource else None
        return rest.error(20404) if file is None else ApiReply(200, file.body, file.mime)

    def _is_authentic(self, request: ApiRequest) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        try:
            pair = b64decode(given).decode()
        except ValueError:
            return False
        wanted = f"{self.options.account_sid}:{self.options.auth_token}"
        revoked = any(each.revoked for each in self.state.accounts.values())
        return scheme.lower() == "basic" and pair == wanted and not revoked

    def _numbers(self, request: ApiRequest, resource: str) -> ApiReply:
        numbers = [each for each in self.state.accounts.values() if each.account.kind == SMS]
        if resource == "IncomingPhoneNumbers.json":
            wanted = request.query.get("PhoneNumber")
            found = [
                {
                    "sid": _number_sid(each.account.id),
                    "phone_number": each.account.id,
                    "sms_url": each.webhook_url or "",
                }
                for each in numbers
                if wanted in {None, each.account.id}
            ]
            return json_reply({"incoming_phone_numbers": found})
        sid = resource.rpartition("/")[2].removesuffix(".json")
        number = next((each for each in numbers if _number_sid(each.account.id) == sid), None)
        if number is None:
            return rest.error(20404)
        if request.method == "POST" and "SmsUrl" in (fields := dict(request.form())):
            number.webhook_url = fields["SmsUrl"] or None
        return json_reply({"sid": sid, "phone_number": number.account.id, "sms_url": number.webhook_url or ""})

    def _listed(self, request: ApiRequest) -> ApiReply:
        """The messages of people to a number, newest first."""
        wanted = request.query.get("To")
        found = [
            rest.message(
                line.id,
                self.options.account_sid,
                {"From": [person.id], "To": [person.account_id], "Body": [line.text]},
                "received",
            )
            | {"direction": "inbound", "date_sent": rest.rfc_2822(line.at_ms)}
            for person in self.state.people.values()
            for line in reversed(person.lines)
            if line.from_person and wanted in {None, person.account_id}
        ]
        return json_reply({"messages": found, "page": 0, "page_size": 50, "next_page_uri": None})

    def _sent(self, request: ApiRequest, now_ms: int) -> ApiReply:
        fields = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
        code = rest.malformed(fields, frozenset(self.state.accounts))
        if code is not None:
            return rest.error(code)
        sender = fields.get("From", [self.options.accounts[0].id])[0]
        recipient = fields["To"][0]
        if recipient not in self.state.people:
            self.state.add_person(sender, recipient)  # Twilio may start conversations
        callback = fields.get("StatusCallback", [""])[0]
        send = SimMessage(
            account_id=sender,
            recipient_id=recipient,
            content={name: values if name == "MediaUrl" else values[0] for name, values in fields.items()},
            our_id=parse_qs(urlsplit(callback).query).get("m", [""])[0],
            text=fields.get("Body", [""])[0] or None,
            callback_url=callback or None,
            fails_with=self._fails_with(fields, recipient, now_ms),
        )
        return self.take(send, now_ms)

    def _fails_with(self, fields: Mapping[str, list[str]], recipient: str, now_ms: int) -> int | None:
        if not is_whatsapp(recipient) or "ContentSid" in fields:
            return None
        wrote_at_ms = self.state.people[recipient].wrote_at_ms
        return 63016 if wrote_at_ms is None or now_ms - wrote_at_ms > WINDOW_MS else None

    # --- sends

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        blocked = self.state.people[send.recipient_id].blocked
        return rest.error(21610) if blocked else None

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        return rest.error(rest.FAULTS.get(fault, code or 21211), retry_after_s=retry_after_s)

    def accepted(self, send: SimMessage, message_id: str) -> ApiReply:
        fields = {name: [str(value)] for name, value in send.content.items()}
        if send.callback_url is not None:
            self._callbacks[message_id] = send.callback_url
            if len(self._callbacks) > self.options.journal_max:
                del self._callbacks[next(iter(self._callbacks))]
        return json_reply(rest.message(message_id, self.options.account_sid, fields, "queued"), 201)

    def code_of(self, reply: ApiReply) -> int | None:
        return rest.code_of(reply)

    # --- ids

    def message_id(self, account: SimAccount, person_id: str, *about: object) -> str:
        return f"SM{self.state.digest(person_id, *about)[:32]}"

    def person_id(self, account: SimAccount, number: int) -> str:
        prefix = "whatsapp:" if account.kind == WHATSAPP else ""
        return f"{prefix}+{FIRST_PERSON + number}"

    # --- events

    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        whatsapp = is_whatsapp(person.id)
        form = {
            "SmsMessageSid": message_id,
            "NumMedia": "0",
            "SmsSid": message_id,
            "SmsStatus": "received",
            "Body": "",
            "To": person.account_id,
            "NumSegments": "1",
            "MessageSid": message_id,
            "AccountSid": self.options.account_sid,
            "From": person.id,
            "ApiVersion": "2010-04-01",
        }
        if whatsapp:
            form |= {"ProfileName": person.name, "WaId": person.id.removeprefix("whatsapp:+")}
        form |= self._said(person, act, message_id)
        return Event(person.account_id, "message", form, (message_id,))

    def _said(self, person: Person, act: PersonAct, message_id: str) -> dict[str, str]:
        match act:
            case Says() | Presses() | SharesLocation() if is_whatsapp(person.id):
                return _said_on_whatsapp(act)
            case Says(text):
                return {"Body": text}
            case SendsMedia(kind, _, caption):
                file_id = f"ME{self.state.digest('file', message_id)[:32]}"
                self.state.keep_file(file_id, SAMPLES[kind])
                path = f"{API}/{self.options.account_sid}/Messages/{message_id}/Media/{file_id}"
                media = {"MediaContentType0": SAMPLES[kind].mime, "MediaUrl0": f"{self.address}{path}"}
                return {"Body": caption or "", "NumMedia": "1", **media}
            case Blocks() | Returns():
                word = "STOP" if isinstance(act, Blocks) else "START"
                return {"Body": word, "OptOutType": word}
        raise Refused(f"Twilio reports no such act: {type(act).__name__}", field="act")

    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None:
        """Twilio has none."""

    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        url = send.callback_url or self._callbacks.get(message_id)
        if url is None or (state == "read" and not is_whatsapp(person.id)):
            return None
        form = {
            "MessageSid": message_id,
            "MessageStatus": state,
            "SmsSid": message_id,
            "SmsStatus": state,
            "AccountSid": self.options.account_sid,
            "From": send.account_id,
            "To": person.id,
            "ApiVersion": "2010-04-01",
        }
        if state == "failed":
            form |= {
                "MessageStatus": "undelivered",
                "SmsStatus": "undelivered",
                "ErrorCode": str(send.fails_with or 30008),
            }
        if is_whatsapp(person.id):
            form |= {"ChannelPrefix": "whatsapp", "ChannelToAddress": person.id.removeprefix("whatsapp:")}
            form |= {"EventType": state.upper()}
        return Event(send.account_id, state, form, (message_id,), url=url)

    # --- webhooks

    def handle_answer(self, post: PendingWebhook, body: bytes, now_ms: int) -> None:
        """TwiML may answer here; installations send through the API."""

    def handshake(self, account: SimAccount) -> AddressCheck | None:
        """Twilio has none."""

    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody:
        event = events[0]
        registered = self.state.accounts[event.account_id].webhook_url
        url = event.url or registered or f"{self.options.public_url.rstrip('/')}/twilio"
        form = {name: str(text) for name, text in event.element.items()}
        signed = url + "".join(name + form[name] for name in sorted(form))
        signature = b64encode(hmac.digest(self.options.auth_token.encode(), signed.encode(), "sha1")).decode()
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": signature,
            "i-twilio-idempotency-token": self.state.digest("idempotency", event.ids, event.kind)[:32],
        }
        return WebhookRequestBody(url, urlencode(form).encode(), headers)


def _number_sid(number: str) -> str:
    return f"PN{number.lstrip('+'):0>32}"


def _said_on_whatsapp(act: Says | Presses | SharesLocation) -> dict[str, str]:
    match act:
        case Says(title, str(payload)) | Presses(title, str(payload)):
            return {"Body": title, "ButtonText": title, "ButtonPayload": payload, "MessageType": "button"}
        case SharesLocation(latitude, longitude, name):
            place = {"Latitude": str(latitude), "Longitude": str(longitude), "MessageType": "location"}
            return place | ({"Label": name} if name else {})
        case Says(text, _, reply_to):
            reply = {} if reply_to is None else {"OriginalRepliedMessageSid": reply_to}
            return {"Body": text, "MessageType": "text", **reply}

"""Viber's side, as the documentation of its REST API has it."""

import hmac
import json
from typing import ClassVar

from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.secret import Secret
from airy.sources.spec import ChannelForm
from airy.sources.viber.spec import SPEC, ConnectViber, ViberSection
from tests.kit.providers.base import PUBLIC_URL, Headers, Request, Taken, Webhook, Wire, answer

BOT, CONTACT = "pa:1234567890", "u1Ab=="
TOKEN = "445da6az1s345z78-dazcczb2542zv51a-e0vc5fva17480im9"
CHANNEL = "eb15116b-ebe7-59d5-aede-310606c72009"
FIRST_TOKEN, FIRST_SENT = 5_741_311_803_571_721_087, 5_741_311_803_571_799_000
EVENTS = {DeliveryState.DELIVERED: "delivered", DeliveryState.READ: "seen", DeliveryState.FAILED: "failed"}


class ViberWire(Wire):
    spec = SPEC
    section = ViberSection(enabled=True)
    host = "chatapi.viber.com"
    secrets = (TOKEN,)
    accounts: ClassVar = {"viber": BOT}
    participant = CONTACT
    addresses = ("api_url",)
    text: ClassVar = {"type": "text", "text": "Yes, from Thursday on."}

    def __init__(self) -> None:
        self.webhook = f"{PUBLIC_URL}/viber/{CHANNEL}"  # of the bot
        self.token = TOKEN

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"token": Secret(self.token)}

    def form(self, kind: str) -> ChannelForm:
        return ConnectViber(auth_token=Secret(self.token))

    def parameters(self, webhook: Webhook) -> dict[str, str]:
        own = webhook.path.removeprefix("/viber").removeprefix("/")
        return {"channel_id": own} if own else {}

    def signed(self, webhook: Webhook) -> Headers:
        return [(b"x-viber-content-signature", self._signature(self.token, webhook.body))]

    def forged(self, webhook: Webhook) -> Headers:
        return [(b"x-viber-content-signature", self._signature("another token", webhook.body))]

    @staticmethod
    def _signature(token: str, body: bytes) -> bytes:
        return hmac.new(token.encode(), body, "sha256").hexdigest().encode()

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path=f"/viber/{self.channel(account).id}", body=body, account=account)

    def posted(self, event: dict[str, object]) -> Webhook:
        return self.wrapped(json.dumps(event, separators=(",", ":")).encode(), BOT)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        return self.posted(
            {
                "event": "message",
                "timestamp": at_ms,
                "message_token": FIRST_TOKEN + number,
                "sender": {"id": CONTACT, "name": "Ines", "language": "de", "country": "DE", "api_version": 10},
                "message": {"type": "text", "text": text},
                "silent": False,
            }
        )

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        if state not in EVENTS:
            return None
        failed = {"desc": "device has no support"} if state is DeliveryState.FAILED else {}
        event = {"event": EVENTS[state], "timestamp": at_ms, "message_token": int(provider_id), "user_id": CONTACT}
        return self.posted({**event, **failed})

    def taken(self, request: Request) -> Taken | None:
        if not request.path.endswith("/send_message"):
            return None
        text = request.fields.get("text")
        return Taken(str(request.fields["receiver"]), text if isinstance(text, str) else None)

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        token = FIRST_SENT + number
        said = {"status": 0, "status_message": "ok", "message_token": token, "billing_status": 1}
        return str(token), answer(200, said)

    def rate_limited(self, delay_s: int) -> Response:
        """Viber names no delay; a gateway in front of it does."""
        return self._error(12, "tooManyRequests", retry_after=str(delay_s))

    def token_refused(self) -> Response:
        return self._error(2, f"invalidAuthToken {TOKEN}")

    def contact_blocked(self) -> Response:
        return self._error(6, "notSubscribed")

    @staticmethod
    def _error(status: int, said: str, **headers: str) -> Response:
        return answer(200, {"status": status, "status_message": said}, **headers)

    def managed(self, request: Request) -> Response:
        done = {"status": 0, "status_message": "ok"}
        match request.path.rpartition("/")[2]:
            case "get_account_info":
                bot = {"id": BOT, "name": "Bakery", "uri": "bakery", "icon": "https://img.example.org/bakery.png"}
                bot["webhook"] = self.webhook
                return answer(200, {**done, **bot, "subscribers_count": 7})
            case "set_webhook":
                self.webhook = str(request.fields["url"])
                return answer(200, {**done, "event_types": request.fields.get("event_types", [])})
        return answer(404, {})

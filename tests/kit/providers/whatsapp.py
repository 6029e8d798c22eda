"""Meta's side of the WhatsApp Cloud API, as its documentation has it."""

import hmac
import json
from typing import ClassVar

from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.secret import Secret
from airy.sources.spec import ChannelForm
from airy.sources.whatsapp.spec import SPEC, ConnectCloudNumber, WhatsAppSection
from tests.kit.providers.base import Headers, Request, Taken, Webhook, Wire, answer

APP_SECRET, TOKEN = "app-secret", "EAAWhatsAppTokenOfTheBakery0123456789"
APP_ID, WABA, NUMBER_ID, NUMBER = "990011", "700100200300", "108811223344556", "493012345678"
CONTACT = "4915112345678"


def written(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def envelope(field: str = "messages", **value: object) -> dict[str, object]:
    """One change of the number."""
    metadata = {"display_phone_number": NUMBER, "phone_number_id": NUMBER_ID}
    change = {"value": {"messaging_product": "whatsapp", "metadata": metadata, **value}, "field": field}
    return {"object": "whatsapp_business_account", "entry": [{"id": WABA, "changes": [change]}]}


class WhatsAppWire(Wire):
    spec = SPEC
    section = WhatsAppSection(
        enabled=True,
        app_id=APP_ID,
        app_secret=(Secret(APP_SECRET), Secret("old-secret")),
        webhook_secret=Secret("verify-me"),
    )
    host = "graph.facebook.com"
    secrets = (APP_SECRET, "old-secret", TOKEN, "verify-me")
    accounts: ClassVar = {"whatsapp": NUMBER_ID}
    participant = CONTACT
    addresses = ("graph_url",)
    text: ClassVar = {"type": "text", "text": {"body": "Yes, from Thursday on."}}

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"token": Secret(self.token)}

    def form(self, kind: str) -> ChannelForm:
        return ConnectCloudNumber(phone_number_id=NUMBER_ID, user_token=Secret(self.token), name="Corner Bakery")

    def signed(self, webhook: Webhook) -> Headers:
        return self._headers(self.app_secret, webhook.body)

    def forged(self, webhook: Webhook) -> Headers:
        return self._headers("another secret", webhook.body)

    @staticmethod
    def _headers(secret: str, body: bytes) -> Headers:
        digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
        return [(b"x-hub-signature-256", f"sha256={digest}".encode())]

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path="/whatsapp", body=body, account=WABA if b'"entry"' in body else "")

    def event(self, field: str = "messages", **value: object) -> Webhook:
        return self.wrapped(written(envelope(field, **value)), NUMBER_ID)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        message = {
            "from": CONTACT,
            "id": f"wamid.IN-{number}",
            "timestamp": str(at_ms // 1000),
            "text": {"body": text},
            "type": "text",
        }
        return self.event(contacts=[{"profile": {"name": "Ines"}, "wa_id": CONTACT}], messages=[message])

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        words = {DeliveryState.SENT: "sent", DeliveryState.DELIVERED: "delivered", DeliveryState.READ: "read"}
        if state not in words:
            return None
        status = {
            "id": provider_id,
            "status": words[state],
            "timestamp": str(at_ms // 1000),
            "recipient_id": CONTACT,
            **({"biz_opaque_callback_data": data} if (data := self.planted.get(provider_id)) else {}),
        }
        return self.event(statuses=[status])

    def __init__(self) -> None:
        self.app_secret, self.token = APP_SECRET, TOKEN
        self.planted: dict[str, str] = {}  # correlation data by message

    def taken(self, request: Request) -> Taken | None:
        kind = request.fields.get("type")
        if request.method != "POST" or not request.path.endswith("/messages") or kind is None:
            return None
        assert request.fields["messaging_product"] == "whatsapp"
        body = request.fields.get("text")
        data = str(request.fields.get("biz_opaque_callback_data", ""))
        recipient = request.fields.get("to") or request.fields["recipient"]
        return Taken(
            str(recipient), body.get("body") if isinstance(body, dict) else None, data.split("/", maxsplit=1)[0] or None
        )

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        wamid = f"wamid.OUT-{number}"
        if taken.our_id is not None:
            self.planted[wamid] = taken.our_id
        contact = {"input": taken.recipient, "wa_id": taken.recipient}
        return wamid, answer(200, {"messaging_product": "whatsapp", "contacts": [contact], "messages": [{"id": wamid}]})

    def rate_limited(self, delay_s: int) -> Response:
        return self._error(400, 130429, "Rate limit hit", retry_after=str(delay_s))

    def token_refused(self) -> Response:
        return self._error(401, 190, f"Error validating access token {TOKEN}: expired")

    def contact_blocked(self) -> Response:
        return self._error(400, 131026, "Message undeliverable")

    @staticmethod
    def _error(status: int, code: int, message: str, **headers: str) -> Response:
        data = {"messaging_product": "whatsapp", "details": "as the documentation says"}
        error = {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code, "error_data": data}
        return answer(status, {"error": error | {"fbtrace_id": "A1"}}, **headers)

    def managed(self, request: Request) -> Response:
        number: dict[str, object] = {
            "id": NUMBER_ID,
            "display_phone_number": "+49 30 12345678",
            "verified_name": "Corner Bakery",
        }
        scopes = [{"scope": "whatsapp_business_management", "target_ids": [WABA]}]
        documents: dict[str, dict[str, object]] = {
            "debug_token": {"data": {"is_valid": True, "type": "SYSTEM_USER", "granular_scopes": scopes}},
            "access_token": {"access_token": self.token},
            "phone_numbers": {"data": [{"id": NUMBER_ID}]},
            "subscribed_apps": {"success": True, "data": [{"whatsapp_business_api_data": {"id": APP_ID}}]},
            "register": {"success": True},
            "messages": {"success": True},
            NUMBER_ID: number,
        }
        media = {"url": "https://lookaside.fbsbx.com/whatsapp_business/1", "mime_type": "image/jpeg"}
        return answer(200, documents.get(request.path.rpartition("/")[2], media))

"""The side of Google's RCS for Business, as its documentation has it."""

import binascii
import hmac
import json
from base64 import b64decode, b64encode
from typing import ClassVar
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.secret import Secret
from airy.sources.rcs.spec import SPEC, ConnectRcsAgent, RcsSection
from airy.sources.spec import ChannelForm, SourceSection
from tests.kit.providers.base import Headers, Request, Taken, Webhook, Wire, answer
from tests.kit.providers.google import ACCESS_TOKEN, private_key, service_account, written_time

AGENT, PHONE = "shop", "+4915112345678"
CLIENT_TOKEN = "client-token-of-the-bakery"
EVENTS = {DeliveryState.DELIVERED: "DELIVERED", DeliveryState.READ: "READ"}


def wrap(event: bytes) -> bytes:
    """As Google's message queue posts an event."""
    message = {"data": b64encode(event).decode(), "attributes": {"business_id": "b-1"}, "messageId": "q-1"}
    return json.dumps(
        {"message": message, "subscription": "projects/p/subscriptions/s"}, separators=(",", ":")
    ).encode()


def unwrap(body: bytes) -> bytes:
    """The event, or what cannot be unwrapped as it is."""
    try:
        return b64decode(msgspec.json.decode(body)["message"]["data"], validate=True)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, TypeError, KeyError, binascii.Error):
        return body


class RcsWire(Wire):
    spec = SPEC
    section = RcsSection(enabled=True, client_token=(Secret(CLIENT_TOKEN),), service_account=Secret(service_account()))
    host = "europe-rcsbusinessmessaging.googleapis.com"
    more_hosts = ("oauth2.googleapis.com",)
    secrets = (CLIENT_TOKEN, ACCESS_TOKEN, private_key(), service_account())
    accounts: ClassVar = {"rcs": AGENT}
    participant = PHONE
    addresses = ("api_url", "oauth_url")
    text: ClassVar = {"contentMessage": {"text": "Yes, from Thursday on."}}

    def __init__(self) -> None:
        self.client_token, self.access_token = CLIENT_TOKEN, ACCESS_TOKEN
        self.own: dict[str, Secret] = {}  # secrets that the channel brings

    def at(self, url: str) -> SourceSection:
        return replace(self.section, api_url=url, oauth_url=f"{url}/token")

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"access_token": Secret(ACCESS_TOKEN)}  # exchanged before

    def secret(self, channel: object, name: str) -> Secret | None:
        return None  # channels use the configured ones

    def form(self, kind: str) -> ChannelForm:
        return replace(ConnectRcsAgent(agent_id=AGENT, name="Bakery"), **self.own)

    def signed(self, webhook: Webhook) -> Headers:
        return [(b"x-goog-signature", self._signature(self.client_token, webhook.body))]

    def forged(self, webhook: Webhook) -> Headers:
        return [(b"x-goog-signature", self._signature("another token", webhook.body))]

    @staticmethod
    def _signature(token: str, body: bytes) -> bytes:
        return b64encode(hmac.new(token.encode(), unwrap(body), "sha512").digest())

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path="/rcs", body=body, account=account)

    def posted(self, at_ms: int, **event: object) -> Webhook:
        known = {"senderPhoneNumber": PHONE, "agentId": AGENT, "sendTime": written_time(at_ms), **event}
        return self.wrapped(wrap(json.dumps(known, separators=(",", ":")).encode()), AGENT)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        return self.posted(at_ms, messageId=f"u-{number}", text=text)

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        if state not in EVENTS:
            return None
        return self.posted(at_ms, eventType=EVENTS[state], eventId=f"e-{state}-{provider_id}", messageId=provider_id)

    def taken(self, request: Request) -> Taken | None:
        path = request.path.split("/")
        if path[:3] != ["", "v1", "phones"] or path[-1] != "agentMessages":
            return None
        content = request.fields["contentMessage"]
        text = content.get("text") if isinstance(content, dict) else None
        return Taken(unquote(path[3]), text, str(request.fields["messageId"]))

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        """The message's id is the one we gave."""
        name = f"phones/{taken.recipient}/agentMessages/{taken.our_id}"
        return str(taken.our_id), answer(200, {"name": name, "sendTime": "2025-01-01T00:00:00Z"})

    def rate_limited(self, delay_s: int) -> Response:
        return self._error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", retry_after=str(delay_s))

    def token_refused(self) -> Response:
        return self._error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def contact_blocked(self) -> Response:
        """The phone has no RCS."""
        return self._error(404, "NOT_FOUND", "Requested entity was not found.")

    @staticmethod
    def _error(code: int, status: str, said: str, **headers: str) -> Response:
        return answer(code, {"error": {"code": code, "message": said, "status": status}}, **headers)

    def issues_token(self, request: Request) -> bool:
        return request.path == "/token"

    def managed(self, request: Request) -> Response:
        if self.issues_token(request):
            return answer(200, {"access_token": self.access_token, "expires_in": 3599, "token_type": "Bearer"})
        return answer(200 if request.path.endswith("/agentEvents") else 404, {})

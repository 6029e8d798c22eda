"""The side of Google's Business Messages, as its documentation had it."""

import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from typing import ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from airy.http_client import Response
from airy.model.delivery_state import DeliveryState
from airy.secret import Secret
from airy.sources.google.spec import SPEC, ConnectAgent, GoogleSection
from airy.sources.spec import ChannelForm, SourceSection
from tests.kit.providers.base import Headers, Request, Taken, Webhook, Wire, answer

AGENT, CONVERSATION = "agent-7f3a", "conv-55"
PARTNER_KEY = "partner-key-of-the-bakery"
ACCESS_TOKEN = "ya29.access-token-of-the-service-account"
EMAIL = "bakery@project.iam.gserviceaccount.com"
RECEIPTS = {DeliveryState.DELIVERED: "DELIVERED", DeliveryState.READ: "READ"}


@cache
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@cache
def service_account() -> str:
    """As Google issues its key."""
    known = {"type": "service_account", "client_email": EMAIL, "private_key_id": "k1", "private_key": private_key()}
    return json.dumps(known)


def written_time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


class GoogleWire(Wire):
    spec = SPEC
    section = GoogleSection(enabled=True, partner_key=(Secret(PARTNER_KEY),), sa_file=Secret(service_account()))
    host = "businessmessages.googleapis.com"
    more_hosts = ("oauth2.googleapis.com",)
    secrets = (PARTNER_KEY, ACCESS_TOKEN, private_key(), service_account())
    accounts: ClassVar = {"google": AGENT}
    participant = CONVERSATION
    addresses = ("api_url", "oauth_url")
    text: ClassVar = {"text": "Yes, from Thursday on.", "representative": {"representativeType": "BOT"}}

    def __init__(self) -> None:
        self.partner_key, self.access_token = PARTNER_KEY, ACCESS_TOKEN
        self.own: dict[str, Secret] = {}  # secrets that the channel brings

    def at(self, url: str) -> SourceSection:
        return replace(self.section, api_url=url, oauth_url=f"{url}/token")

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"access_token": Secret(ACCESS_TOKEN)}  # exchanged before

    def secret(self, channel: object, name: str) -> Secret | None:
        return None  # channels use the configured ones

    def form(self, kind: str) -> ChannelForm:
        return replace(ConnectAgent(gbm_id=AGENT, name="Bakery"), **self.own)

    def signed(self, webhook: Webhook) -> Headers:
        return [(b"x-goog-signature", self._signature(self.partner_key, webhook.body))]

    def forged(self, webhook: Webhook) -> Headers:
        return [(b"x-goog-signature", self._signature("another key", webhook.body))]

    @staticmethod
    def _signature(key: str, body: bytes) -> bytes:
        return b64encode(hmac.new(key.encode(), body, "sha512").digest())

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path="/google", body=body, account=account)

    def posted(self, number: int, at_ms: int, **part: object) -> Webhook:
        event = {
            "agent": f"brands/b-1/agents/{AGENT}",
            "conversationId": CONVERSATION,
            "customAgentId": "shop-1",
            "requestId": f"rq-{number}",
            "context": {"userInfo": {"displayName": "Ines Kuhn", "userDeviceLocale": "de-DE"}},
            "sendTime": written_time(at_ms),
            **part,
        }
        return self.wrapped(json.dumps(event, separators=(",", ":")).encode(), AGENT)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        name = f"conversations/{CONVERSATION}/messages/g-{number}"
        return self.posted(number, at_ms, message={"messageId": f"g-{number}", "name": name, "text": text})

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        if state not in RECEIPTS:
            return None
        name = f"conversations/{CONVERSATION}/messages/{provider_id}"
        return self.posted(0, at_ms, receipts={"receipts": [{"message": name, "receiptType": RECEIPTS[state]}]})

    def taken(self, request: Request) -> Taken | None:
        path = request.path.split("/")
        if path[:3] != ["", "v1", "conversations"] or path[-1] != "messages":
            return None
        text = request.fields.get("text")
        return Taken(path[3], text if isinstance(text, str) else None, str(request.fields["messageId"]))

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        """The message's id is the one we gave."""
        name = f"conversations/{taken.recipient}/messages/{taken.our_id}"
        return str(taken.our_id), answer(200, {"name": name, "messageId": taken.our_id, "text": taken.text})

    def rate_limited(self, delay_s: int) -> Response:
        return self._error(429, "RESOURCE_EXHAUSTED", "Quota exceeded.", retry_after=str(delay_s))

    def token_refused(self) -> Response:
        return self._error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")

    def contact_blocked(self) -> Response:
        return self._error(404, "NOT_FOUND", "Requested entity was not found.")

    @staticmethod
    def _error(code: int, status: str, said: str, **headers: str) -> Response:
        return answer(code, {"error": {"code": code, "message": said, "status": status}}, **headers)

    def issues_token(self, request: Request) -> bool:
        return request.path == "/token"

    def managed(self, request: Request) -> Response:
        if self.issues_token(request):
            return answer(200, {"access_token": self.access_token, "expires_in": 3599, "token_type": "Bearer"})
        return answer(404, {})

"""Meta's side of Messenger and Instagram, as its documentation has it."""

import hmac
import json
from typing import ClassVar

from msgspec.structs import replace

from airy.http_client import Response
from airy.model import metadata
from airy.model.delivery_state import DeliveryState
from airy.model.entity import Channel
from airy.secret import Secret
from airy.sources.facebook.spec import SPEC as FACEBOOK
from airy.sources.facebook.spec import ConnectPage, FacebookSection
from airy.sources.instagram.spec import SPEC as INSTAGRAM
from airy.sources.instagram.spec import ConnectAccount, InstagramSection
from airy.sources.spec import ChannelForm
from tests.kit.providers.base import Headers, Request, Taken, Webhook, Wire, answer

LOGIN_SECRET = "instagram-secret"
LOGIN_TOKEN, RENEWED_TOKEN = "IGAATokenOfTheBakery012345", "IGAARenewedToken0123456789"
DAY_S = 86_400
APP_SECRET, TOKEN = "app-secret", "EAAPageTokenOfTheBakery0123456789"
FIELDS = ("messages", "messaging_postbacks", "message_deliveries", "message_reads", "message_echoes")
PAGE, ACCOUNT = "204918377001", "17841400008460056"


def written(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class MetaWire(Wire):
    host = "graph.facebook.com"
    secrets: ClassVar[tuple[str, ...]] = (APP_SECRET, "old-secret", TOKEN, "verify-me")
    text: ClassVar = {"text": "Yes, from Thursday on."}
    object_name: ClassVar[str]
    addresses: ClassVar[tuple[str, ...]] = ("graph_url",)
    page: ClassVar[dict[str, object]] = {"id": PAGE, "name": "Corner Bakery"}

    def __init__(self) -> None:
        self.app_secret, self.token = APP_SECRET, TOKEN
        self.fields = set(FIELDS)  # the app is subscribed to; empty: it is not subscribed

    def credentials(self, kind: str) -> dict[str, Secret]:
        return {"token": Secret(self.token)}

    def signed(self, webhook: Webhook) -> Headers:
        return self._headers(self.app_secret, webhook.body)

    def forged(self, webhook: Webhook) -> Headers:
        return self._headers("another secret", webhook.body)

    @staticmethod
    def _headers(secret: str, body: bytes) -> Headers:
        digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
        return [(b"x-hub-signature-256", f"sha256={digest}".encode())]

    def wrapped(self, body: bytes, account: str) -> Webhook:
        return Webhook(path=self.spec.webhooks[0], body=body, account=account)

    def event(self, at_ms: int, **node: object) -> Webhook:
        account = self.accounts[self.kind]
        ends = {"sender": {"id": self.participant}, "recipient": {"id": account}}
        if isinstance(message := node.get("message"), dict) and message.get("is_echo"):
            ends = {"sender": ends["recipient"], "recipient": ends["sender"]}
        entry = {"id": account, "time": at_ms, "messaging": [{**ends, "timestamp": at_ms, **node}]}
        return self.wrapped(written({"object": self.object_name, "entry": [entry]}), account)

    def received(self, kind: str, number: int, text: str, at_ms: int) -> Webhook:
        return self.event(at_ms, message={"mid": f"m_in-{number}", "text": text})

    def taken(self, request: Request) -> Taken | None:
        message, recipient = request.fields.get("message"), request.fields.get("recipient")
        if request.method != "POST" or not isinstance(message, dict) or not isinstance(recipient, dict):
            return None
        return Taken(str(recipient["id"]), message.get("text"), message.get("metadata"))

    def ok(self, kind: str, taken: Taken, number: int) -> tuple[str, Response]:
        mid = f"m_out-{number}"
        return mid, answer(200, {"recipient_id": taken.recipient, "message_id": mid})

    def rate_limited(self, delay_s: int) -> Response:
        return self._error(400, 613, "Calls to this api have exceeded the rate limit.", retry_after=str(delay_s))

    def token_refused(self) -> Response:
        return self._error(401, 190, f"Error validating access token {TOKEN}: expired")

    def contact_blocked(self) -> Response:
        return self._error(400, 551, "This person isn't available right now.")

    @staticmethod
    def _error(status: int, code: int, message: str, **headers: str) -> Response:
        error = {"message": message, "type": "OAuthException", "code": code, "fbtrace_id": "A1"}
        return answer(status, {"error": error}, **headers)

    def managed(self, request: Request) -> Response:
        names = {"name": "Ines Kuhn", "first_name": "Ines", "last_name": "Kuhn"}
        documents: dict[str, dict[str, object]] = {
            "access_token": {"access_token": self.token},
            "accounts": {"data": [self.page]},
            "conversations": {"data": []},
            "messages": {"recipient_id": self.participant},
            PAGE: self.page | {"access_token": self.token},
        }
        if request.path.endswith("/subscribed_apps"):
            return self._subscribed_apps(request)
        person = {**names, "profile_pic": "https://cdn.example.net/ines.jpg"}
        return answer(200, documents.get(request.path.rpartition("/")[2], person))

    def _subscribed_apps(self, request: Request) -> Response:
        if request.method == "GET":
            apps = [{"id": "990011", "name": "Bakery app", "subscribed_fields": sorted(self.fields)}]
            return answer(200, {"data": apps if self.fields else []})
        self.fields = set(str(request.fields.get("subscribed_fields", "")).split(",")) - {""}
        return answer(200, {"success": True})


class FacebookWire(MetaWire):
    spec = FACEBOOK
    section = FacebookSection(
        enabled=True,
        app_id="990011",
        app_secret=(Secret(APP_SECRET), Secret("old-secret")),
        webhook_secret=Secret("verify-me"),
    )
    accounts: ClassVar = {"facebook": PAGE}
    participant = "6120000000000001"
    object_name = "page"

    def form(self, kind: str) -> ChannelForm:
        return ConnectPage(page_id=PAGE, page_token=Secret(self.token))

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        if state is DeliveryState.DELIVERED:
            return self.event(at_ms, delivery={"mids": [provider_id], "watermark": at_ms})
        return self.event(at_ms, read={"watermark": at_ms}) if state is DeliveryState.READ else None

    def echo(self, kind: str, provider_id: str, taken: Taken, at_ms: int) -> Webhook | None:
        message = {"mid": provider_id, "is_echo": True, "app_id": 990011, "text": taken.text}
        return self.event(at_ms, message=message | ({"metadata": taken.our_id} if taken.our_id else {}))


class InstagramWire(MetaWire):
    spec = INSTAGRAM
    section = InstagramSection(
        enabled=True,
        app_id="990011",
        app_secret=(Secret(APP_SECRET), Secret("old-secret")),
        webhook_secret=Secret("verify-me"),
    )
    accounts: ClassVar = {"instagram": ACCOUNT}
    participant = "9001000000000042"
    object_name = "instagram"
    page: ClassVar = MetaWire.page | {"instagram_business_account": {"id": ACCOUNT}}

    def channel(self, account: str, *, connected: bool = True) -> Channel:
        known = {"page_id": metadata.value(PAGE), "account_id": metadata.value(account)}
        return replace(super().channel(account, connected=connected), metadata=known)

    def form(self, kind: str) -> ChannelForm:
        return ConnectAccount(page_id=PAGE, account_id=ACCOUNT, page_token=Secret(self.token))

    def receipt(self, kind: str, provider_id: str, state: DeliveryState, at_ms: int) -> Webhook | None:
        return self.event(at_ms, read={"mid": provider_id}) if state is DeliveryState.READ else None

    def echo(self, kind: str, provider_id: str, taken: Taken, at_ms: int) -> Webhook | None:
        return self.event(at_ms, message={"mid": provider_id, "is_echo": True, "text": taken.text})


class InstagramLoginWire(InstagramWire):
    """An account without a page. Its token may be renewed while it is a day old and `renewable`."""

    host = "graph.instagram.com"
    secrets = (*MetaWire.secrets, LOGIN_SECRET, LOGIN_TOKEN, RENEWED_TOKEN)
    addresses = ("graph_url", "instagram_url")
    section = replace(InstagramWire.section, instagram_app_secret=(Secret(LOGIN_SECRET),))

    def __init__(self) -> None:
        super().__init__()
        self.app_secret, self.token = LOGIN_SECRET, LOGIN_TOKEN
        self.short_lived = False  # the pasted token lives for an hour, and is exchanged
        self.renewable = True
        self.valid_s: object = 60 * DAY_S  # of the tokens that are issued

    def channel(self, account: str, *, connected: bool = True) -> Channel:
        known = {"auth": "instagram_login", "account_id": account, "credentials_expire_at": "2025-02-25T00:00:00.000Z"}
        flat = {key: metadata.value(text) for key, text in known.items()}
        return replace(super().channel(account, connected=connected), metadata=flat)

    def form(self, kind: str) -> ChannelForm:
        return ConnectAccount(auth="instagram_login", token=Secret(self.token))

    def token_refused(self) -> Response:
        return self._error(401, 190, f"Error validating access token {LOGIN_TOKEN}: expired")

    def managed(self, request: Request) -> Response:
        last = request.path.rpartition("/")[2]
        if last in {"access_token", "refresh_access_token"}:
            return self._issued(request, taken=self.short_lived if last == "access_token" else self.renewable)
        if last == "me":
            known = {"id": "9900000000000001", "user_id": ACCOUNT, "username": "corner.bakery", "name": "Corner Bakery"}
            return answer(200, {**known, "profile_picture_url": "https://cdn.example.net/b.jpg"})
        return super().managed(request)

    def _issued(self, request: Request, *, taken: bool) -> Response:
        exchanges = request.path.endswith("/access_token")
        assert request.fields["grant_type"] == ("ig_exchange_token" if exchanges else "ig_refresh_token")
        assert request.fields.get("client_secret") == (self.app_secret if exchanges else None)
        if not taken:
            return self._error(400, 452, f"Session key invalid: {request.fields['access_token']}")
        return answer(200, {"access_token": RENEWED_TOKEN, "token_type": "bearer", "expires_in": self.valid_s})

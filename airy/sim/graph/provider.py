"""The simulated Graph API: Messenger, Instagram and WhatsApp behind one app."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import urlencode

from airy.errors import Refused
from airy.sim.graph import errors, messaging, send_api, whatsapp
from airy.sim.graph.errors import GraphRequest
from airy.sim.graph.graph_api import GraphApi, TokenOwner
from airy.sim.graph.options import FACEBOOK, INSTAGRAM, WHATSAPP, GraphOptions, kind_of
from airy.sim.provider.acts import PersonAct, SendsMedia
from airy.sim.provider.api import (
    AddressCheck,
    ApiReply,
    ApiRequest,
    Event,
    PendingWebhook,
    SimFile,
    WebhookRequestBody,
    json_reply,
    record,
)
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.files import SAMPLES
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.outbox import Redelivery
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.setup import Connect, Setup
from airy.sim.provider.state import Person

FIRST_PERSON = {FACEBOOK: 6_120_000_000_000_001, INSTAGRAM: 9_001_000_000_000_042, WHATSAPP: 4_915_112_345_678}
FILES = "/sim-files"  # where the provider's content network would be
RETRY_MS = (0, 1_000, 2_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000)
GIVE_UP_MS = 36 * 3_600_000


class GraphProvider(SimulatedProvider[GraphOptions]):
    title = "Graph"
    default_address = "https://graph.facebook.com"
    redelivery: ClassVar = Redelivery(retry_ms=RETRY_MS, give_up_ms=GIVE_UP_MS)

    def __init__(self, options: GraphOptions, *, now_ms: int = 0) -> None:
        super().__init__(options, now_ms=now_ms)
        self._api = GraphApi(self.state, options)

    def setup(self, address: str) -> Setup:
        options = self.options
        keys = {
            "appId": options.app_id,
            "appSecret": options.app_secret,
            "webhookSecret": options.verify_token,
            "graphUrl": address,
        }
        kinds = {kind_of(account) for account in options.accounts}
        sections = {kind: keys | ({"instagramUrl": address} if kind == INSTAGRAM else {}) for kind in sorted(kinds)}
        return Setup(sections, [_connect(account) for account in options.accounts])

    # --- calls

    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        if request.path.startswith(f"{FILES}/"):
            return self._file(request.path.removeprefix(f"{FILES}/"))
        call = errors.request(request)
        owner = self._api.owner(call)
        if isinstance(owner, ApiReply):
            return owner
        if call.method == "POST" and call.path.endswith("/messages"):
            return self._sent(call, owner, now_ms)
        return self._api.call(call, owner, f"{self.address}{FILES}")

    def _sent(self, call: GraphRequest, owner: TokenOwner, now_ms: int) -> ApiReply:
        target = call.path.strip("/").partition("/")[0]
        recipient = str(record(call.parameters.get("recipient")).get("id") or "")
        found = self._api.recipient_account(target, owner, recipient)
        if found is None:
            return errors.error("(#100) A page access token is required.", 100)
        account = found.account
        if kind_of(account) == WHATSAPP:
            return self._sent_to_whatsapp(call.parameters, account, now_ms)
        if call.text("sender_action"):
            known = recipient in self.state.people
            return json_reply({"recipient_id": recipient}) if known else send_api.NO_USER
        message = record(call.parameters.get("message"))
        text = message.get("text")
        send = SimMessage(
            account_id=account.id,
            recipient_id=recipient,
            content=dict(call.parameters),
            our_id=str(message.get("metadata") or ""),
            text=text if isinstance(text, str) else None,
            offers=messaging.offered(message),
        )
        return self.take(send, now_ms)

    def _sent_to_whatsapp(self, content: Any, account: SimAccount, now_ms: int) -> ApiReply:
        if content.get("status") == "read":
            return json_reply({"success": True})
        recipient = whatsapp.digits(str(content.get("to") or "")) or str(content.get("recipient") or "")
        send = SimMessage(
            account_id=account.id,
            recipient_id=recipient,
            content=dict(content),
            our_id=str(content.get("biz_opaque_callback_data") or ""),
            text=whatsapp.text_of(content),
            offers=whatsapp.offered(content),
            fails_with=whatsapp.fails_with(content, self.state.people.get(recipient), now_ms),
        )
        return self.take(send, now_ms)

    def _file(self, media_id: str) -> ApiReply:
        file = self.state.files.get(media_id)
        if file is None:
            return ApiReply(404, b"Not Found", "text/plain")
        return ApiReply(200, file.body, file.mime)

    # --- sends

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        account = self.state.accounts[send.account_id].account
        person = self.state.people.get(send.recipient_id)
        if kind_of(account) == WHATSAPP:
            blocked = person is not None and person.blocked
            return (
                self.fault_reply(SendFault.BLOCKED, send, None, None) if blocked else whatsapp.malformed(send.content)
            )
        return send_api.refusal(account, person, send.content, now_ms, human_agent=self.options.human_agent)

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        return send_api.fault_reply(self.state.accounts[send.account_id].account, fault, code, retry_after_s)

    def accepted(self, send: SimMessage, message_id: str) -> ApiReply:
        if kind_of(self.state.accounts[send.account_id].account) != WHATSAPP:
            return json_reply({"recipient_id": send.recipient_id, "message_id": message_id})
        contact = {"input": send.recipient_id, "wa_id": send.recipient_id}
        return json_reply({"messaging_product": "whatsapp", "contacts": [contact], "messages": [{"id": message_id}]})

    def code_of(self, reply: ApiReply) -> int | None:
        return errors.code_of(reply)

    # --- ids

    def message_id(self, account: SimAccount, person_id: str, *about: object) -> str:
        prefix = {WHATSAPP: "wamid.", INSTAGRAM: "aWdfZAG"}.get(kind_of(account), "m_")
        return f"{prefix}{self.state.digest(person_id, *about)}"

    def person_id(self, account: SimAccount, number: int) -> str:
        return str(FIRST_PERSON[kind_of(account)] + number)

    # --- events

    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        account = self.state.accounts[person.account_id].account
        file = self._sent_file(act)
        if kind_of(account) == WHATSAPP:
            return whatsapp.message_event(account, person, act, message_id, now_ms, file)
        url = f"{self.address}{FILES}/{file[0]}" if file is not None else ""
        element = messaging.element_of(account, person, act, message_id, now_ms, url)
        return messaging.event(account, element)

    def _sent_file(self, act: PersonAct) -> tuple[str, SimFile] | None:
        if not isinstance(act, SendsMedia):
            return None
        file_id = str(646_000_000_000_000 + self.state.count())
        self.state.keep_file(file_id, SAMPLES[act.kind])
        return file_id, SAMPLES[act.kind]

    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None:
        account = self.state.accounts[send.account_id].account
        if kind_of(account) == WHATSAPP:
            return None
        message = record(send.content.get("message"))
        app_id = self.options.app_id if kind_of(account) == FACEBOOK else None
        element = messaging.echo(account.id, person.id, now_ms, message_id, message, app_id=app_id)
        return messaging.event(account, element)

    def inbox_says(self, person_id: str, text: str, now_ms: int) -> str:
        """An agent replies in the page's own inbox. Returns the mid."""
        person = self.state.known(person_id)
        account = self.state.accounts[person.account_id].account
        if kind_of(account) == WHATSAPP:
            raise Refused("WhatsApp numbers have no inbox here", field="person")
        person.acts += 1
        mid = person.last_message_id = self.message_id(account, person_id, person.acts)
        element = messaging.echo(account.id, person_id, now_ms, mid, {"text": text})
        self.post(messaging.event(account, element), now_ms)
        return mid

    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        account = self.state.accounts[send.account_id].account
        kind = kind_of(account)
        if kind == WHATSAPP:
            return whatsapp.status_event(account, person, send, message_id, state, now_ms)
        if state == "delivered" and kind == FACEBOOK:
            return messaging.event(account, messaging.delivery(person.id, account.id, now_ms, message_id, now_ms))
        if state == "read":
            seen: dict[str, object] = {"watermark": now_ms} if kind == FACEBOOK else {"mid": message_id}
            return messaging.event(account, messaging.element(person.id, account.id, now_ms, read=seen))
        return None

    # --- webhooks

    def handle_answer(self, post: PendingWebhook, body: bytes, now_ms: int) -> None:
        """Meta reads nothing but the status."""

    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody:
        account = self.state.accounts[events[0].account_id].account
        kind = kind_of(account)
        document = (
            whatsapp.envelope(account, events) if kind == WHATSAPP else messaging.envelope(account, events, now_ms)
        )
        body = messaging.meta_json(document)
        signature = hmac.new(self.options.app_secret.encode(), body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
        return WebhookRequestBody(self.state.accounts[account.id].webhook_url or f"/{kind}", body, headers)

    def handshake(self, account: SimAccount) -> AddressCheck | None:
        challenge = str(self.state.draw("challenge", account.id).randrange(10**9))
        query = {
            "hub.mode": "subscribe",
            "hub.verify_token": self.options.verify_token,
            "hub.challenge": challenge,
        }
        return AddressCheck(f"/{kind_of(account)}?{urlencode(query)}", challenge)


def _connect(account: SimAccount) -> Connect:
    match kind_of(account):
        case "whatsapp":
            body = {"phone_number_id": account.id, "user_token": account.token, "name": account.name}
        case "instagram" if not account.owner_id:
            body = {"auth": "instagram_login", "token": account.token}
        case "instagram":
            body = {"page_id": account.owner_id, "account_id": account.id, "page_token": account.token}
        case _:
            body = {"page_id": account.id, "page_token": account.token}
    return Connect(kind_of(account), body)

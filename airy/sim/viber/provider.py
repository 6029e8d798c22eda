"""The simulated Viber: bots with one webhook each, whose address is checked when it is set."""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, ClassVar

import msgspec

from airy.errors import Refused
from airy.sim.provider.acts import Blocks, PersonAct, Presses, Reads, Returns, Says, SendsMedia, SharesLocation, Starts
from airy.sim.provider.api import (
    AddressCheck,
    ApiReply,
    ApiRequest,
    Event,
    PendingWebhook,
    WebhookRequestBody,
    record,
)
from airy.sim.provider.core import SimulatedProvider
from airy.sim.provider.files import SAMPLES
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.outbox import Redelivery
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.setup import Connect, Setup
from airy.sim.provider.state import AccountState, Person
from airy.sim.viber import bot_api
from airy.sim.viber.options import ViberOptions

RETRY_MS = (1_000, 10_000, 60_000, 300_000, 900_000)
GIVE_UP_MS = 3_600_000
FILES = "/sim-files"
TOKEN_FLOOR = 5_000_000_000_000_000_000  # above 2⁵³, as Viber's
UNANSWERED_MAX = 100
TYPES = {"image": "picture", "video": "video", "sticker": "sticker"}
ALWAYS = frozenset({"message", "subscribed", "unsubscribed", "webhook"})  # events without a subscription
RECEIPTS = {"delivered": "delivered", "read": "seen", "failed": "failed"}


class ViberProvider(SimulatedProvider[ViberOptions]):
    title = "Viber"
    default_address = "https://chatapi.viber.com"
    redelivery: ClassVar = Redelivery(retry_ms=RETRY_MS, give_up_ms=GIVE_UP_MS)

    def setup(self, address: str) -> Setup:
        connects = [Connect("viber", {"auth_token": account.token}) for account in self.options.accounts]
        return Setup({"viber": {"apiUrl": f"{address}/pa"}}, connects, needs_public_url=True)

    # --- calls

    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        if request.path.startswith(f"{FILES}/"):
            file = self.state.files.get(request.path.rpartition("/")[2])
            return ApiReply(404) if file is None else ApiReply(200, file.body, file.mime)
        document = request.document()
        token = request.headers.get("x-viber-auth-token") or document.get("auth_token")
        known = (each for each in self.state.accounts.values() if each.account.token == token and not each.revoked)
        account = next(known, None)
        if account is None:
            return bot_api.answer(2)
        return self._called(request, account, document, now_ms)

    def _called(self, request: ApiRequest, account: AccountState, document: Mapping[str, Any], now_ms: int) -> ApiReply:
        match request.path.rpartition("/")[2]:
            case "get_account_info":
                return self._shown(account)
            case "set_webhook":
                return self._set_webhook(account, document, now_ms)
            case "send_message":
                return self._sent(account, document, now_ms)
            case "get_user_details":
                person = self.state.people.get(str(document.get("id", "")))
                return bot_api.answer(5) if person is None else bot_api.answer(0, user=_user(person))
        return ApiReply(404, b"Not Found", "text/plain")

    def _shown(self, account: AccountState) -> ApiReply:
        return bot_api.answer(
            0,
            id=account.account.id,
            name=account.account.name,
            uri="cornerbakery",
            icon="https://cdn.example.net/bakery.png",
            webhook=account.webhook_url or "",
            event_types=sorted(account.fields or ()),
            subscribers_count=len(self.state.people),
        )

    def _set_webhook(self, account: AccountState, document: Mapping[str, Any], now_ms: int) -> ApiReply:
        url = document.get("url")
        if not isinstance(url, str):
            return bot_api.answer(4)
        account.webhook_url = url or None
        wanted = document.get("event_types")
        account.fields = frozenset(map(str, wanted)) | ALWAYS if isinstance(wanted, list) else None
        event_types = sorted(account.fields or ())
        if not url:
            return bot_api.answer(0, event_types=event_types)
        token = int(self.message_id(account.account, account.account.id, "webhook", now_ms))
        element = {"event": "webhook", "timestamp": now_ms, "message_token": token, "chat_hostname": "SN-CHAT-1"}
        event = Event(account.account.id, "webhook", element)
        request = self.webhook([event], now_ms)
        check = PendingWebhook(0, request.url, request.body, request.headers, (event,), now_ms, now_ms)
        accepted = bot_api.answer(0, chat_hostname="SN-CHAT-1", event_types=event_types)
        return msgspec.structs.replace(accepted, check=check, otherwise=bot_api.answer(1))

    def _sent(self, account: AccountState, document: Mapping[str, Any], now_ms: int) -> ApiReply:
        status = bot_api.problem(document)
        if status is not None or account.webhook_url is None:
            return bot_api.answer(status or 10)
        text = document.get("text")
        send = SimMessage(
            account_id=account.account.id,
            recipient_id=str(document["receiver"]),
            content=dict(document),
            our_id=str(document.get("tracking_data") or ""),
            text=text if isinstance(text, str) else None,
            offers=bot_api.offered(document),
        )
        return self.take(send, now_ms)

    # --- sends

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        person = self.state.people.get(send.recipient_id)
        if person is None:
            return bot_api.answer(5)
        if person.blocked:
            return bot_api.answer(6)
        return bot_api.answer(12) if person.unanswered >= UNANSWERED_MAX else None

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        return bot_api.answer(bot_api.FAULTS.get(fault, code or 3))

    def accepted(self, send: SimMessage, message_id: str) -> ApiReply:
        return bot_api.answer(0, message_token=int(message_id), chat_hostname="SN-CHAT-1", billing_status=1)

    def code_of(self, reply: ApiReply) -> int | None:
        return bot_api.code_of(reply)

    # --- ids

    def message_id(self, account: SimAccount, person_id: str, *about: object) -> str:
        return str(TOKEN_FLOOR + int(self.state.digest(person_id, *about)[:15], 16))

    def person_id(self, account: SimAccount, number: int) -> str:
        return f"u{number:05d}AbCdEfGhIjKlMn=="

    # --- events

    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        token = int(message_id)
        match act:
            case Reads():
                read = person.last_message_id
                return None if read is None else self._receipt_event(person, read, "seen", now_ms)
            case Blocks():
                element: dict[str, object] = {"event": "unsubscribed", "user_id": person.id}
            case Returns():
                element = {"event": "subscribed", "user": _user(person)}
            case Starts(reference):
                context = {"context": reference} if reference else {}
                element = {"event": "conversation_started", "type": "open", "user": _user(person), "subscribed": False}
                element |= context
            case _:
                element = {"event": "message", "sender": _user(person), "message": self._message(act, message_id)}
                element["silent"] = False
        kind = str(element["event"])
        stamped = {"timestamp": now_ms, "message_token": token, "chat_hostname": "SN-CHAT-1"}
        return Event(person.account_id, kind, element | stamped, (message_id,), topic=kind)

    def _message(self, act: PersonAct, message_id: str) -> dict[str, object]:
        match act:
            case Says(text, payload):
                return {"type": "text", "text": payload or text}
            case Presses(_, payload):
                return {"type": "text", "text": payload}
            case SharesLocation(latitude, longitude):
                return {"type": "location", "location": {"lat": latitude, "lon": longitude}}
            case SendsMedia("sticker"):
                return {"type": "sticker", "sticker_id": 46105, "media": "https://cdn.example.net/46105.png"}
            case SendsMedia(kind, url, caption):
                file, file_id = SAMPLES[kind], self.state.digest("file", message_id)
                self.state.keep_file(file_id, file)
                shown: dict[str, object] = {"type": TYPES.get(kind, "file"), "media": url or self._file_url(file_id)}
                shown |= {"text": caption} if caption else {}
                shown |= {"thumbnail": self._file_url(file_id)} if kind == "image" else {}
                return shown | {"file_name": file.name, "size": len(file.body)}
        raise Refused(f"Viber reports no such act: {type(act).__name__}", field="act")

    def _file_url(self, file_id: str) -> str:
        return f"{self.address}{FILES}/{file_id}"

    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None:
        """Viber has none."""

    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        event = RECEIPTS.get(state)
        return None if event is None else self._receipt_event(person, message_id, event, now_ms)

    def _receipt_event(self, person: Person, message_id: str, event: str, now_ms: int) -> Event:
        element = {"event": event, "timestamp": now_ms, "message_token": int(message_id), "user_id": person.id}
        if event == "failed":
            element["desc"] = "failure description: device has no support"
        return Event(person.account_id, event, element, (message_id,), topic=event)

    # --- webhooks

    def handshake(self, account: SimAccount) -> AddressCheck | None:
        """Viber checks an address when it is set."""

    def handle_answer(self, post: PendingWebhook, body: bytes, now_ms: int) -> None:
        """The response to `conversation_started` may hold one welcome message."""
        message = record(body.decode("utf-8", "replace"))
        event = post.events[0]
        if event.kind == "conversation_started" and message:
            person_id = record(event.element.get("user")).get("id")
            self._sent(self.state.accounts[event.account_id], {**message, "receiver": person_id}, now_ms)

    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody:
        account = self.state.accounts[events[0].account_id]
        body = msgspec.json.encode(events[0].element)
        signature = hmac.new(account.account.token.encode(), body, sha256).hexdigest()
        headers = {"content-type": "application/json", "x-viber-content-signature": signature}
        return WebhookRequestBody(account.webhook_url or "", body, headers)


def _user(person: Person) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": person.id,
        "name": person.name,
        "country": "DE",
        "language": "de",
        "api_version": 10,
    }
    return shown | {"avatar": f"https://cdn.example.net/people/{person.id.rstrip('=')}.jpg"}

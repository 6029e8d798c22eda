"""The simulated Business Messages: agents that answer in conversations which people begin."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec

from airy.sim.google import messages
from airy.sim.google.options import BusinessMessagesOptions
from airy.sim.google_api import errors, suggestions
from airy.sim.google_api.provider import AgentSignal, GoogleApi, written_time
from airy.sim.provider.acts import Blocks, PersonAct, Returns
from airy.sim.provider.api import ApiReply, ApiRequest, Event, WebhookRequestBody, json_reply
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.setup import Connect, Setup
from airy.sim.provider.state import Person

WINDOW_MS = 30 * 86_400_000
RECEIPTS = {"delivered": "DELIVERED", "read": "READ"}
EVENTS = frozenset({"TYPING_STARTED", "TYPING_STOPPED", "REPRESENTATIVE_JOINED", "REPRESENTATIVE_LEFT"})


class BusinessMessagesProvider(GoogleApi[BusinessMessagesOptions]):
    title = "Business Messages"
    default_address = "https://businessmessages.googleapis.com"
    scope: ClassVar = "https://www.googleapis.com/auth/businessmessages"
    webhook_path: ClassVar = "/google"

    def setup(self, address: str) -> Setup:
        keys = {
            "saFile": self.options.configured_key,
            "partnerKey": self.options.webhook_key,
            "apiUrl": address,
            "oauthUrl": f"{address}/token",
        }
        connects = [Connect("google", {"gbm_id": each.id, "name": each.name}) for each in self.options.accounts]
        return Setup({"google": keys}, connects)

    # --- calls

    def resource(self, request: ApiRequest, now_ms: int) -> ApiReply:
        match request.method, [unquote(part) for part in request.path.split("/")[1:]]:
            case "POST", ["v1", "conversations", conversation, "messages"]:
                return self._sent(conversation, request.document(), now_ms)
            case "PATCH", ["v1", "conversations", conversation, "messages", message_id, "receipt"]:
                return self._read(conversation, message_id, request.document())
            case "POST", ["v1", "conversations", conversation, "events"]:
                return self._signalled(conversation, request.query.get("eventId", ""), request.document())
        return errors.error(404)

    def _sent(self, conversation: str, message: Mapping[str, Any], now_ms: int) -> ApiReply:
        problem = messages.problem(message)
        if problem is not None:
            return errors.error(400, problem)
        person = self.state.people.get(conversation)
        text = message.get("text")
        send = SimMessage(
            account_id=self.options.accounts[0].id if person is None else person.account_id,
            recipient_id=conversation,
            content=dict(message),
            our_id=message["messageId"],
            text=text if isinstance(text, str) else None,
            offers=suggestions.offered(message),
        )
        return self.take(send, now_ms)

    def _read(self, conversation: str, message_id: str, receipt: Mapping[str, Any]) -> ApiReply:
        if conversation not in self.state.people:
            return errors.error(403)
        if receipt.get("receiptType") != "READ":
            return errors.error(400, "receipt.receipt_type must be READ.")
        self.read_by_agent(conversation, message_id)
        return json_reply({"name": f"{messages.name_of(conversation, message_id)}/receipt", "receiptType": "READ"})

    def _signalled(self, conversation: str, event_id: str, event: Mapping[str, Any]) -> ApiReply:
        if conversation not in self.state.people:
            return errors.error(403)
        kind = event.get("eventType")
        if not event_id or kind not in EVENTS:
            return errors.error(400, "event_id and event.event_type are required.")
        self.signals.append(AgentSignal(conversation, kind))
        return json_reply({"name": f"conversations/{conversation}/events/{event_id}", "eventType": kind})

    # --- sends

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        """Google's reference has one error for a conversation in which the agent cannot take part."""
        person = self.state.people.get(send.recipient_id)
        if person is None or person.blocked or person.wrote_at_ms is None:
            return errors.error(403)
        if now_ms - person.wrote_at_ms > WINDOW_MS:
            return errors.error(403)
        return errors.error(409) if self.is_repeated(send) else None

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        if fault in {SendFault.BLOCKED, SendFault.OUTSIDE_WINDOW}:
            return errors.error(403)
        return super().fault_reply(fault, send, code, retry_after_s)

    def accepted(self, send: SimMessage, message_id: str) -> ApiReply:
        return json_reply({**send.content, "name": messages.name_of(send.recipient_id, message_id)})

    # --- ids

    def person_id(self, account: SimAccount, number: int) -> str:
        """Of the conversation: Google names no person."""
        digest = self.state.digest("conversation", account.id, number)
        return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))

    # --- events

    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        if isinstance(act, Blocks | Returns):
            return None
        signature = self.state.digest("storage", message_id)
        content = messages.content_of(person, act, message_id, now_ms, signature)
        return self._event(person, content, message_id, now_ms)

    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None:
        """Business Messages has none."""

    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        kind = RECEIPTS.get(state)
        return (
            None
            if kind is None
            else self._event(person, messages.receipt(person, message_id, kind), message_id, now_ms)
        )

    def _event(self, person: Person, content: Mapping[str, object], message_id: str, now_ms: int) -> Event:
        account = self.state.accounts[person.account_id].account
        named = {} if person.private else {"displayName": person.name}
        element = {
            "agent": f"brands/{account.owner_id or 'brand-1'}/agents/{account.id}",
            "conversationId": person.id,
            "customAgentId": account.id,
            "context": {"userInfo": {**named, "userDeviceLocale": "de-DE"}},
            **content,
            "sendTime": written_time(now_ms),
        }
        return Event(account.id, next(iter(content)), element, (message_id,))

    # --- webhooks

    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody:
        """An event that is posted again has another `requestId`."""
        event = events[0]
        request_id = self.state.digest("request", event.kind, event.ids, now_ms)[:16]
        body = msgspec.json.encode({**event.element, "requestId": request_id})
        url = self.state.accounts[event.account_id].webhook_url or self.webhook_path
        return WebhookRequestBody(url, body, dict(self.signed(body)))

"""The simulated RCS for Business: agents that write to phone numbers.

Google's message queue posts an event in base64; the signature is of the event and not of the body.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote

import msgspec

from airy.sim.google_api import errors, suggestions
from airy.sim.google_api.provider import AgentSignal, GoogleApi, written_time
from airy.sim.provider.acts import PersonAct, SendsMedia
from airy.sim.provider.api import ApiReply, ApiRequest, Event, SimFile, WebhookRequestBody, json_reply, record
from airy.sim.provider.files import SAMPLES
from airy.sim.provider.options import SendFault, SimAccount
from airy.sim.provider.sends import SimMessage
from airy.sim.provider.setup import Connect, Setup
from airy.sim.provider.state import AccountState, Person
from airy.sim.rcs import messages
from airy.sim.rcs.options import RcsOptions

FIRST_PERSON = 4_915_155_500_001
FILES = "/files"
FEATURES = ("RICHCARD_STANDALONE", "RICHCARD_CAROUSEL", "ACTION_DIAL", "ACTION_OPEN_URL", "ACTION_SHARE_LOCATION")
RECEIPTS = {"delivered": "DELIVERED", "read": "READ", "failed": "TTL_EXPIRATION_REVOKED"}
_PHONE = re.compile(r"\+[1-9]\d{5,14}")


class RcsProvider(GoogleApi[RcsOptions]):
    title = "RCS"
    default_address = "https://europe-rcsbusinessmessaging.googleapis.com"
    scope: ClassVar = "https://www.googleapis.com/auth/rcsbusinessmessaging"
    webhook_path: ClassVar = "/rcs"

    def setup(self, address: str) -> Setup:
        keys = {
            "serviceAccount": self.options.configured_key,
            "clientToken": self.options.webhook_key,
            "apiUrl": address,
            "oauthUrl": f"{address}/token",
        }
        connects = [Connect("rcs", {"agent_id": each.id, "name": each.name}) for each in self.options.accounts]
        return Setup({"rcs": keys}, connects, needs_public_url=True)

    # --- calls

    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        if request.path.startswith(f"{FILES}/"):  # a person's file has a public address
            file = self.state.files.get(request.path.rpartition("/")[2])
            return ApiReply(404) if file is None else ApiReply(200, file.body, file.mime)
        return super().answer(request, now_ms)

    def resource(self, request: ApiRequest, now_ms: int) -> ApiReply:
        agent = self.state.accounts.get(request.query.get("agentId", ""))
        if agent is None:
            return errors.error(403)
        match request.method, [unquote(part) for part in request.path.split("/")[1:]]:
            case "POST", ["v1", "phones", phone, "agentMessages"]:
                return self._sent(agent, phone, request, now_ms)
            case "POST", ["v1", "phones", phone, "agentEvents"]:
                return self._signalled(phone, request.query.get("eventId", ""), request.document())
            case "GET", ["v1", "phones", phone, "capabilities"]:
                return json_reply({"features": FEATURES}) if phone in self.state.people else errors.error(404)
        return errors.error(404)

    def _sent(self, agent: AccountState, phone: str, request: ApiRequest, now_ms: int) -> ApiReply:
        content, our_id = record(request.document().get("contentMessage")), request.query.get("messageId", "")
        problem = messages.problem(content) if our_id else "message_id is required."
        if _PHONE.fullmatch(phone) is None:
            problem = "parent is no phone number in E.164 format."
        if problem is not None:
            return errors.error(400, problem)
        if phone not in self.state.people:
            self.state.add_person(agent.account.id, phone)  # an agent may begin
        text = content.get("text")
        send = SimMessage(
            account_id=agent.account.id,
            recipient_id=phone,
            content=request.document(),
            our_id=our_id,
            text=text if isinstance(text, str) else None,
            offers=suggestions.offered(content),
        )
        return self.take(send, now_ms)

    def _signalled(self, phone: str, event_id: str, event: Mapping[str, Any]) -> ApiReply:
        if phone not in self.state.people:
            return errors.error(404)
        kind, message_id = event.get("eventType"), event.get("messageId")
        if not event_id or kind not in messages.AGENT_EVENTS or (kind == "READ" and not message_id):
            return errors.error(400, "event_id, agent_event.event_type and the message_id of READ are required.")
        if kind == "READ":
            self.read_by_agent(phone, str(message_id))
        else:
            self.signals.append(AgentSignal(phone, kind))
        return json_reply({"name": f"phones/{phone}/agentEvents/{event_id}", **event})

    # --- sends

    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None:
        if self.state.people[send.recipient_id].blocked:
            return errors.error(404)
        return self.accepted(send, send.our_id) if self.is_repeated(send) else None  # Google ignores the second one

    def fault_reply(self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None) -> ApiReply:
        if fault is SendFault.BLOCKED:
            return errors.error(404)
        return super().fault_reply(fault, send, code, retry_after_s)

    def accepted(self, send: SimMessage, message_id: str) -> ApiReply:
        return json_reply({"name": f"phones/{send.recipient_id}/agentMessages/{message_id}", **send.content})

    # --- ids

    def person_id(self, account: SimAccount, number: int) -> str:
        return f"+{FIRST_PERSON + number}"

    # --- events

    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        content = messages.content_of(person, act, message_id, self._sent_file(act, message_id))
        return self._event(person, "senderPhoneNumber", content, message_id, now_ms)

    def _sent_file(self, act: PersonAct, message_id: str) -> tuple[str, SimFile] | None:
        if not isinstance(act, SendsMedia):
            return None
        file, file_id = SAMPLES[act.kind], self.state.digest("file", message_id)
        self.state.keep_file(file_id, file)
        return act.url or f"{self.address}{FILES}/{file_id}", file

    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None:
        """RCS has none."""

    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        kind = RECEIPTS.get(state)
        if kind is None:
            return None
        phone = "phoneNumber" if state == "failed" else "senderPhoneNumber"  # Google's servers say that it expired
        event_id = self.state.digest("receipt", message_id, kind)[:32]
        content = {"eventType": kind, "eventId": event_id, "messageId": message_id}
        return self._event(person, phone, content, message_id, now_ms)

    def _event(self, person: Person, phone: str, content: Mapping[str, object], message_id: str, now_ms: int) -> Event:
        element = {phone: person.id, **content, "sendTime": written_time(now_ms), "agentId": person.account_id}
        return Event(person.account_id, str(content.get("eventType", "message")), element, (message_id,))

    # --- webhooks

    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody:
        event = events[0]
        data = msgspec.json.encode(event.element)
        queued = {
            "data": b64encode(data).decode(),
            "attributes": {"business_id": event.account_id, "product": "RBM"},
            "messageId": str(self.state.draw("queued", event.kind, event.ids).randrange(10**16)),
            "publishTime": written_time(now_ms),
        }
        body = msgspec.json.encode({"message": queued, "subscription": "projects/rbm-simulated/subscriptions/rbm"})
        url = self.state.accounts[event.account_id].webhook_url or self.webhook_path
        return WebhookRequestBody(url, body, dict(self.signed(data)))

"""A simulated provider as a state machine without sockets and sleeps.

Inputs are calls, time and webhook responses (`call`, `advance`, `on_response`); outputs are replies and webhooks to
send. The same core runs behind a real HTTP server and in a simulation in virtual time. A subclass adds what differs:
paths and bodies of the API, events, signature. It shares no code with the source, so that tests check the protocol
alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from msgspec.structs import replace

from airy.errors import Refused
from airy.sim.provider.acts import (
    WRITING,
    Blocks,
    Edits,
    PersonAct,
    Presses,
    Reacts,
    Reads,
    Returns,
    Says,
    SendsMedia,
    Unsends,
    shown,
)
from airy.sim.provider.api import (
    AddressCheck,
    ApiReply,
    ApiRequest,
    Event,
    PendingWebhook,
    WebhookAnswer,
    WebhookRequestBody,
    api_request,
)
from airy.sim.provider.crowd import Crowd
from airy.sim.provider.journal import SimJournal
from airy.sim.provider.options import SendFault, SimAccount, SimOptions, WebhookFault
from airy.sim.provider.outbox import ExpectedWebhookFault, Redelivery, WebhookOutbox
from airy.sim.provider.sends import ExpectedFault, SendDesk, SimMessage
from airy.sim.provider.setup import Setup
from airy.sim.provider.state import ChatLine, Person, SimState

O = TypeVar("O", bound=SimOptions)  # noqa: E741 — options


class SimulatedProvider(ABC, Generic[O]):
    title: ClassVar[str]
    redelivery: ClassVar[Redelivery]
    default_address: ClassVar[str]  # of the real API, or where the server listens

    def __init__(self, options: O, *, now_ms: int = 0) -> None:
        self.state = SimState(options)
        self.address = self.default_address
        self.transcript: Callable[[str], None] = lambda _line: None  # called with each message text
        self.receipts_muted = False
        self._settings = options
        self._outbox = WebhookOutbox(self.state, self.redelivery, self.webhook)
        self._desk = SendDesk(self.state, self, lambda: self.pending >= self.options.pending_max)
        self._crowd = Crowd(self.state, self.acts, lambda: self.pending >= self.options.pending_max)
        self._calls = 0
        for number in range(options.customers):
            account = options.accounts[number % len(options.accounts)]
            self._crowd.join(self.state.known(self.person(account.id)), now_ms)

    @property
    def options(self) -> O:
        return self._settings

    @options.setter
    def options(self, options: O) -> None:
        self._settings = self.state.options = options

    @property
    def journal(self) -> SimJournal:
        return self.state.journal

    # --- what differs between providers

    @abstractmethod
    def answer(self, request: ApiRequest, now_ms: int) -> ApiReply:
        """A call of the API."""

    @abstractmethod
    def refusal(self, send: SimMessage, now_ms: int) -> ApiReply | None: ...

    @abstractmethod
    def fault_reply(
        self, fault: SendFault, send: SimMessage, code: int | None, retry_after_s: int | None
    ) -> ApiReply: ...

    @abstractmethod
    def accepted(self, send: SimMessage, message_id: str) -> ApiReply: ...

    @abstractmethod
    def code_of(self, reply: ApiReply) -> int | None: ...

    @abstractmethod
    def message_id(self, account: SimAccount, person_id: str, *about: object) -> str:
        """An id as the provider makes them, unique to its subject."""

    @abstractmethod
    def person_id(self, account: SimAccount, number: int) -> str: ...

    @abstractmethod
    def event_of(self, person: Person, act: PersonAct, message_id: str, now_ms: int) -> Event | None:
        """The event of an act; None: the provider reports none. Raises `Refused` for what its app cannot do."""

    @abstractmethod
    def receipt(self, person: Person, send: SimMessage, message_id: str, state: str, now_ms: int) -> Event | None:
        """`state` is sent, delivered, read or failed; None: the provider reports none."""

    @abstractmethod
    def echo(self, person: Person, send: SimMessage, message_id: str, now_ms: int) -> Event | None: ...

    @abstractmethod
    def webhook(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody: ...

    @abstractmethod
    def handle_answer(self, post: PendingWebhook, body: bytes, now_ms: int) -> None:
        """What a receiver may say in its response to a webhook."""

    @abstractmethod
    def handshake(self, account: SimAccount) -> AddressCheck | None:
        """None: the provider uses an address unasked, or asks while a call waits for it (`ApiReply.check`)."""

    @abstractmethod
    def setup(self, address: str) -> Setup:
        """How an installation finds this API at `address`."""

    # --- calls of the API

    def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, now_ms: int) -> ApiReply:
        """Returns at once; the caller delays the reply by `after_ms`. `headers` with lower-case names."""
        reply = self.answer(api_request(method, url, headers, body), now_ms)
        self._calls += 1
        after_ms = self.state.draw("latency", self._calls).randint(*self.options.behaviour.latency_ms)
        return replace(reply, after_ms=after_ms)

    def checked(self, reply: ApiReply, answer: WebhookAnswer) -> ApiReply:
        """The reply after its `check` was answered; an address that failed it is not used."""
        if answer.taken or reply.check is None or reply.otherwise is None:
            return reply
        self.state.accounts[reply.check.events[0].account_id].webhook_url = None
        return reply.otherwise

    def take(self, send: SimMessage, now_ms: int) -> ApiReply:
        return self._desk.take(send, now_ms)

    def expect(
        self,
        fault: SendFault | WebhookFault,
        *,
        times: int = 1,
        message_id: str | None = None,
        code: int | None = None,
        retry_after_s: int | None = None,
        delay_ms: int = 0,
    ) -> None:
        """The next sends (of this message) meet `fault`, before any draw; or the next events of people do."""
        if isinstance(fault, WebhookFault):
            self._outbox.expected.append(ExpectedWebhookFault(fault, times, delay_ms))
        else:
            self._desk.expected.append(ExpectedFault(fault, times, message_id, code, retry_after_s))

    def expected(self) -> list[ExpectedFault | ExpectedWebhookFault]:
        return [*self._desk.expected, *self._outbox.expected]

    def expect_nothing(self) -> None:
        self._desk.expected.clear()
        self._outbox.expected.clear()

    def reset(self) -> None:
        """Forgets people, faults and journal; registered webhooks are kept."""
        self._crowd.stop()
        self.state.reset()
        self._outbox.clear()
        self.expect_nothing()
        self.receipts_muted = False

    # --- actions of people

    def person(self, account_id: str | None = None, name: str | None = None) -> str:
        """Adds a person; returns the id."""
        account = self.state.account(account_id).account
        return self.state.add_person(account.id, self.person_id(account, len(self.state.people)), name).id

    def acts(self, person_id: str, act: PersonAct, now_ms: int, *, ahead_ms: int = 0) -> str:
        """A person does something. Returns the id of their message, or an id without meaning.

        `ahead_ms`: of the provider's clock, whose time the event has.
        """
        person = self.state.known(person_id)
        if isinstance(act, Reacts) and act.message_id is None and person.last_message_id is None:
            raise Refused("the account has sent nothing yet: name a message_id", field="message_id")
        account = self.state.account(person.account_id).account
        message_id = self.message_id(account, person_id, person.acts + 1)
        event = self.event_of(person, act, message_id, now_ms + ahead_ms)
        person.acts += 1
        if isinstance(act, WRITING):
            person.wrote_at_ms = now_ms
            person.unanswered = 0
            person.add_line(ChatLine(message_id, True, shown(act), now_ms))
            self.transcript(f"{person.name}: {shown(act)}")
        self._remember(person, act)
        if event is not None:
            self._outbox.add(event, now_ms)
        return message_id

    def says(
        self,
        person_id: str,
        text: str,
        now_ms: int,
        *,
        payload: str | None = None,
        reply_to: str | None = None,
        **extra: object,
    ) -> str:
        return self.acts(person_id, Says(text, payload, reply_to, extra), now_ms)

    def sends_image(self, person_id: str, url: str, now_ms: int) -> str:
        return self.acts(person_id, SendsMedia("image", url), now_ms)

    def presses(self, person_id: str, title: str, payload: str, now_ms: int, **extra: object) -> str:
        return self.acts(person_id, Presses(title, payload, extra=extra), now_ms)

    def reacts(self, person_id: str, message_id: str | None, emoji: str | None, now_ms: int) -> None:
        self.acts(person_id, Reacts(emoji, message_id), now_ms)

    def reads(self, person_id: str, now_ms: int) -> None:
        self.acts(person_id, Reads(), now_ms)

    def unsends(self, person_id: str, message_id: str, now_ms: int) -> None:
        self.acts(person_id, Unsends(message_id), now_ms)

    def edits(self, person_id: str, message_id: str, text: str, now_ms: int, *, revision: int = 1) -> None:
        self.acts(person_id, Edits(message_id, text, revision), now_ms)

    @staticmethod
    def _remember(person: Person, act: PersonAct) -> None:
        match act:
            case Blocks():
                person.blocked = True
            case Returns():
                person.blocked = False
            case Reads():
                for line in person.lines:
                    if not line.from_person and line.state != "failed":
                        line.state = "read"
            case Edits(message_id, text):
                for line in person.lines:
                    line.text = text if line.id == message_id else line.text
            case Unsends(message_id):
                person.lines = [line for line in person.lines if line.id != message_id]

    # --- webhooks

    @property
    def changed(self) -> Callable[[], None]:
        return self._outbox.changed

    @changed.setter
    def changed(self, changed: Callable[[], None]) -> None:
        """Called when `next_due_ms` may have become earlier."""
        self._outbox.changed = changed

    def post(self, event: Event, now_ms: int, *, later_ms: int = 0) -> None:
        self._outbox.add(event, now_ms, later_ms=later_ms)

    def advance(self, now_ms: int) -> list[PendingWebhook]:
        """Advances the time to `now_ms`. Returns the webhooks that are due."""
        self._crowd.advance(now_ms)
        return self._outbox.due(now_ms)

    def on_response(self, post: PendingWebhook, answer: WebhookAnswer | int | None, now_ms: int) -> None:
        """The receiver's response, or its status; None: no response."""
        given = answer if isinstance(answer, WebhookAnswer) else WebhookAnswer(answer)
        if self._outbox.on_response(post, given, now_ms) and given.body:
            self.handle_answer(post, given.body, now_ms)

    def next_due_ms(self) -> int | None:
        """When `advance` has work; None: never, without further input."""
        due = (self._crowd.next_due_ms(), self._outbox.next_due_ms())
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

    @property
    def pending(self) -> int:
        """Events and webhooks that are not yet acknowledged."""
        return self._outbox.pending

    @property
    def quiet(self) -> bool:
        """Nothing is pending and no customer is about to write. Resting customers may return later."""
        return self.pending == 0 and not self._crowd.about_to_act

    # --- consequences of an account's message

    def accept(self, send: SimMessage, number: int, now_ms: int) -> tuple[str, ApiReply]:
        account = self.state.accounts[send.account_id].account
        again_ms = 0 if send.our_id else now_ms  # the same text may be sent twice
        mid = self.message_id(account, send.recipient_id, "sent", send.key, number, again_ms)
        person = self.state.people.get(send.recipient_id)
        if person is not None:
            person.last_message_id = mid
            person.unanswered += 1
            person.add_line(
                ChatLine(
                    mid, False, send.text or "[attachment]", now_ms, our_id=send.our_id, content=dict(send.content)
                )
            )
            self.transcript(f"{account.name} → {person.name}: {send.text or '[attachment]'}")
            self._follow(person, send, mid, now_ms)
        return mid, self.accepted(send, mid)

    def _follow(self, person: Person, send: SimMessage, mid: str, now_ms: int) -> None:
        behaviour = self.options.behaviour
        draw = self.state.draw("follows", mid)
        if behaviour.echoes and (echo := self.echo(person, send, mid, now_ms)) is not None:
            self._outbox.add(echo, now_ms)
        late_ms = behaviour.late_ms if draw.random() < behaviour.late else 0
        received_ms = now_ms + draw.randint(*behaviour.event_ms)
        seen_ms = received_ms + draw.randint(*behaviour.event_ms)
        delivered, read = draw.random() < behaviour.delivered, draw.random() < behaviour.read
        if send.fails_with is not None:
            self.report(person, send, mid, "failed", received_ms)
            return
        if delivered:  # a provider that reports deliveries also reports what was sent
            self.report(person, send, mid, "sent", now_ms)
            self.report(person, send, mid, "delivered", received_ms, later_ms=late_ms)
        if read:
            self.report(person, send, mid, "read", seen_ms, later_ms=late_ms)
        self._crowd.reply(person, send.offers, mid, seen_ms)
        self._outbox.changed()

    def report(self, person: Person, send: SimMessage, mid: str, state: str, at_ms: int, *, later_ms: int = 0) -> None:
        """Posts a receipt, unless receipts are muted."""
        if self.receipts_muted or (event := self.receipt(person, send, mid, state, at_ms)) is None:
            return
        line = person.line(mid)
        if line is not None:
            line.state = state
        self._outbox.add(event, at_ms, later_ms=later_ms)

    def report_by_hand(self, message_id: str, state: str, code: int | None, now_ms: int) -> None:
        """A receipt for a message that was accepted. Raises `Refused`."""
        for person in self.state.people.values():
            line = person.line(message_id)
            if line is not None and not line.from_person:
                send = self.sent(person, line, code)
                event = self.receipt(person, send, message_id, state, now_ms)
                if event is None:
                    raise Refused(f"{self.title} does not report {state}", field="state")
                line.state = state
                self._outbox.add(event, now_ms)
                return
        raise Refused(f"unknown message {message_id}", field="message_id")

    def sent(self, person: Person, line: ChatLine, code: int | None) -> SimMessage:
        """A message of the account, from its line."""
        return SimMessage(
            account_id=person.account_id,
            recipient_id=person.id,
            content=line.content,
            our_id=line.our_id,
            text=line.text,
            fails_with=code,
        )

    def stop_customers(self) -> None:
        """Customers write no more; pending webhooks are still sent."""
        self._crowd.stop()

"""The simulated Messenger as a state machine without sockets and sleeps.

Inputs are calls, time and webhook responses (`call`, `advance`, `on_response`); outputs are replies and webhooks to
send. The same core runs behind a real HTTP server and in a simulation in virtual time. Calls other than sends are in
graph_api.py.
"""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from airy.sim.messenger import customers, events, graph
from airy.sim.messenger.customers import Act, CustomerState, Leaves, Presses, Reacts, Says, SendsImage, Taps
from airy.sim.messenger.events import Event
from airy.sim.messenger.graph import GraphReply
from airy.sim.messenger.graph_api import GraphApi
from airy.sim.messenger.journal import WebhookAttempt
from airy.sim.messenger.options import SendFault, SimOptions
from airy.sim.messenger.schedule import Schedule
from airy.sim.messenger.send_api import Content, SendApi
from airy.sim.messenger.state import Person, SimState

RETRY_MS = (0, 1_000, 2_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000)  # after the last, the last again
GIVE_UP_MS = 36 * 3_600_000


class PendingWebhook(Struct, frozen=True):
    """A webhook to send; its response goes to `MessengerCore.on_response`."""

    id: int
    body: bytes
    headers: dict[str, str]
    events: tuple[Event, ...]
    first_ms: int
    attempt: int = 1
    duplicate: bool = False


class _CustomerTurn(Struct, frozen=True):
    """A customer's next action; None: a new topic. Void if the customer has acted meanwhile."""

    psid: str
    act: Act | None
    acts: int


class MessengerCore:
    def __init__(self, options: SimOptions, *, now_ms: int = 0) -> None:
        self.options = options
        self.state = SimState(options)
        self.journal = self.state.journal
        self.changed: Callable[[], None] = lambda: None  # called when `next_due_ms` may have become earlier
        self.transcript: Callable[[str], None] = lambda _line: None  # called with each message text
        self._events: Schedule[Event] = Schedule()
        self._posts: Schedule[PendingWebhook] = Schedule()
        self._turns: Schedule[_CustomerTurn] = Schedule()
        self._in_flight = 0
        self._posted = 0
        self._calls = 0
        self._graph_api = GraphApi(self.state)
        self._send_api = SendApi(self.state, self._on_accepted, lambda: self.pending >= options.pending_max)
        for number in range(options.customers):
            page = options.pages[number % len(options.pages)]
            person = self.state.person(page.id)
            person.customer = CustomerState(0, 0)
            delay_ms = self.state.draw("arrives", person.psid).randint(0, options.turns_ms[1])
            self._turns.add(now_ms + delay_ms, _CustomerTurn(person.psid, None, person.acts))

    # --- calls of the Graph API

    def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, now_ms: int) -> GraphReply:
        """Returns at once; the caller delays the reply by `after_ms`. `headers` with lower-case names."""
        request = graph.request(method, url, headers, body)
        owner = self._graph_api.owner(request)
        if isinstance(owner, GraphReply):
            reply = owner
        elif request.method == "POST" and request.path.endswith("/messages"):
            reply = self._send_api.call(request, owner, now_ms)
        else:
            reply = self._graph_api.call(request, owner)
        self._calls += 1
        after_ms = self.state.draw("latency", self._calls).randint(*self.options.behaviour.latency_ms)
        return replace(reply, after_ms=after_ms)

    def expect(self, fault: SendFault, *, times: int = 1, message_id: str | None = None) -> None:
        """The next sends (of this message) meet `fault`, before any draw."""
        self._send_api.expect(fault, times, message_id)

    # --- actions of people

    def person(self, page_id: str | None = None, name: str | None = None) -> str:
        """Add a person; returns the id."""
        return self.state.person(page_id, name).psid

    def says(self, psid: str, text: str, now_ms: int, **content: object) -> str:
        """A person writes to their page. Returns the mid. `content`: further fields of the message object."""
        return self._writes(psid, text, now_ms, message={"text": text, **content})

    def sends_image(self, psid: str, url: str, now_ms: int) -> str:
        attachment = {"type": "image", "payload": {"url": url}}
        return self._writes(psid, "[image]", now_ms, message={"attachments": [attachment]})

    def presses(self, psid: str, title: str, payload: str, now_ms: int, **postback: object) -> str:
        node = {"title": title, "payload": payload, **postback}
        return self._writes(psid, f"[{title}]", now_ms, postback=node)

    def reacts(self, psid: str, mid: str, emoji: str | None, now_ms: int) -> None:
        """`emoji` None removes the reaction."""
        self._does(psid, now_ms, **events.reaction(mid, emoji))

    def reads(self, psid: str, now_ms: int) -> None:
        self._does(psid, now_ms, read={"watermark": now_ms})

    def unsends(self, psid: str, mid: str, now_ms: int) -> None:
        self._does(psid, now_ms, message={"mid": mid, "is_deleted": True})

    def edits(self, psid: str, mid: str, text: str, now_ms: int, *, revision: int = 1) -> None:
        self._does(psid, now_ms, message_edit={"mid": mid, "text": text, "num_edit": revision})

    def inbox_says(self, psid: str, text: str, now_ms: int) -> str:
        """An agent replies in the page's own inbox. Returns the mid."""
        person = self._acting(psid)
        mid = self.state.mid(psid, person.acts)
        person.last_mid = mid
        element = events.echo(person.page_id, psid, now_ms, mid, {"text": text})
        self.post(Event(person.page_id, element), now_ms)
        return mid

    def _writes(self, psid: str, line: str, now_ms: int, **node: dict[str, object]) -> str:
        """An action that opens the messaging window."""
        person = self._acting(psid)
        mid = self.state.mid(psid, person.acts)
        ((name, content),) = node.items()
        element = events.element(psid, person.page_id, now_ms, **{name: {"mid": mid, **content}})
        person.wrote_at_ms = now_ms
        self.transcript(f"{person.name}: {line}")
        self.post(Event(person.page_id, element), now_ms)
        return mid

    def _does(self, psid: str, now_ms: int, **node: object) -> None:
        person = self._acting(psid)
        self.post(Event(person.page_id, events.element(psid, person.page_id, now_ms, **node)), now_ms)

    def _acting(self, psid: str) -> Person:
        person = self.state.known(psid)
        person.acts += 1
        return person

    # --- webhooks

    def post(self, event: Event, now_ms: int, *, later_ms: int = 0) -> None:
        """Schedule an event's webhook after the usual delay and `later_ms`, if its page is subscribed to it."""
        fields = self.state.pages[event.page_id].fields
        if fields is not None and event.subscription not in fields:
            return
        behaviour = self.options.behaviour
        draw = self.state.draw("event", events.meta_json(event.element))
        delay_ms = draw.randint(*behaviour.event_ms)
        if draw.random() < behaviour.reordered:
            delay_ms += draw.randint(0, behaviour.reordered_ms)
        self._events.add(now_ms + delay_ms + later_ms, event)
        self.changed()

    def advance(self, now_ms: int) -> list[PendingWebhook]:
        """Advance the time to `now_ms`. Returns the webhooks that are due."""
        while (due_ms := self._turns.next_due_ms()) is not None and due_ms <= now_ms:
            for turn_ms, turn in self._turns.take(due_ms):
                self._take_turn(turn, turn_ms)
        for batch in self._batches(now_ms):
            self._post(batch, now_ms)
        due = [post for _, post in self._posts.take(now_ms)]
        self._in_flight += len(due)
        return due

    def on_response(self, post: PendingWebhook, status: int | None, now_ms: int) -> None:
        """The receiver's response; None: no response. A webhook without a 2xx is retried."""
        self._in_flight -= 1
        kinds = tuple(event.kind for event in post.events)
        mids = tuple(mid for event in post.events for mid in event.mids)
        self.journal.webhook_attempts.append(
            WebhookAttempt(now_ms, post.id, post.attempt, post.duplicate, kinds, mids, status)
        )
        if status is not None and 200 <= status < 300:
            return
        if now_ms - post.first_ms > GIVE_UP_MS:
            self.journal.given_up += 1
            return
        delay_ms = RETRY_MS[min(post.attempt, len(RETRY_MS)) - 1]
        self._posts.add(now_ms + delay_ms, replace(post, attempt=post.attempt + 1))
        self.changed()

    def next_due_ms(self) -> int | None:
        """When `advance` has work; None: never, without further input."""
        due = (self._turns.next_due_ms(), self._events.next_due_ms(), self._posts.next_due_ms())
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

    @property
    def pending(self) -> int:
        """Events and webhooks that are not yet acknowledged."""
        return len(self._events) + len(self._posts) + self._in_flight

    @property
    def quiet(self) -> bool:
        """Nothing is pending and no customer is about to write. Resting customers may return later."""
        return self.pending == 0 and not self._turns.any(lambda turn: turn.act is not None and self._is_valid(turn))

    def _batches(self, now_ms: int) -> list[list[Event]]:
        batches: list[list[Event]] = []
        for _, event in self._events.take(now_ms):
            last = batches[-1] if batches else []
            room = 0 < len(last) < self.options.behaviour.elements_max
            if room and last[0].page_id == event.page_id:
                last.append(event)
            else:
                batches.append([event])
        return batches

    def _post(self, batch: list[Event], now_ms: int) -> None:
        """Schedule a webhook, and sometimes duplicates, which are sent whatever the first response is."""
        self._posted += 1
        behaviour = self.options.behaviour
        body = events.webhook(batch, now_ms)
        draw = self.state.draw("post", events.meta_json([event.element for event in batch]))
        self._posts.add(now_ms, PendingWebhook(self._posted, body, self._signed(body), tuple(batch), now_ms))
        if draw.random() >= behaviour.duplicated or behaviour.copies_max < 2:
            return
        for _ in range(draw.randint(1, behaviour.copies_max - 1)):
            due_ms = now_ms + draw.randint(0, max(1, behaviour.reordered_ms))
            if draw.random() < 0.5:  # encoded again: the envelope differs, the events do not
                body = events.webhook(batch, due_ms)
            post = PendingWebhook(self._posted, body, self._signed(body), tuple(batch), now_ms, duplicate=True)
            self._posts.add(due_ms, post)

    def _signed(self, body: bytes) -> dict[str, str]:
        signature = hmac.new(self.options.app_secret.encode(), body, sha256).hexdigest()
        return {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}

    # --- consequences of a page's message

    def _on_accepted(self, person: Person, content: Content, mid: str, now_ms: int) -> None:
        behaviour, page_id = self.options.behaviour, person.page_id
        draw = self.state.draw("follows", mid)
        self.transcript(f"{self.state.pages[page_id].page.name} → {person.name}: {content.get('text', '[attachment]')}")
        if behaviour.echoes:
            element = events.echo(page_id, person.psid, now_ms, mid, content, app_id=self.options.app_id)
            self.post(Event(page_id, element), now_ms)
        late_ms = behaviour.late_ms if draw.random() < behaviour.late else 0
        received_ms = now_ms + draw.randint(*behaviour.event_ms)
        if draw.random() < behaviour.delivered:
            element = events.delivery(person.psid, page_id, received_ms, mid, received_ms)
            self.post(Event(page_id, element), received_ms, later_ms=late_ms)
        seen_ms = received_ms + draw.randint(*behaviour.event_ms)
        if draw.random() < behaviour.read:
            element = events.element(person.psid, page_id, seen_ms, read={"watermark": seen_ms})
            self.post(Event(page_id, element), seen_ms, later_ms=late_ms)
        self._customer_replies(person, content, mid, seen_ms)
        self.changed()

    def _customer_replies(self, person: Person, message: Content, mid: str, now_ms: int) -> None:
        if person.customer is None:
            return
        draw = self.state.draw("answers", mid)
        act, person.customer = customers.answer(person.customer, message, draw)
        if isinstance(act, Leaves):
            self._schedule_return(person, now_ms)
        else:
            self._turns.add(now_ms + draw.randint(*self.options.turns_ms), _CustomerTurn(person.psid, act, person.acts))

    def _schedule_return(self, person: Person, now_ms: int) -> None:
        delay_ms = self.state.draw("returns", person.psid, person.acts).randint(*self.options.rest_ms)
        self._turns.add(now_ms + delay_ms, _CustomerTurn(person.psid, None, person.acts))

    # --- customers

    def stop_customers(self) -> None:
        """Customers write no more; pending webhooks are still sent."""
        self._turns = Schedule()
        for person in self.state.people.values():
            person.customer = None

    def _is_valid(self, turn: _CustomerTurn) -> bool:
        return self.state.people[turn.psid].acts == turn.acts

    def _take_turn(self, turn: _CustomerTurn, now_ms: int) -> None:
        if not self._is_valid(turn):
            return
        if self.pending >= self.options.pending_max:
            self._turns.add(now_ms + self.options.rest_ms[1], turn)
            return
        person, act = self.state.people[turn.psid], turn.act
        if act is None:
            act, person.customer = customers.opening(self.state.draw("opens", person.psid, person.acts))
        self._act(person, act, now_ms)
        self._schedule_return(person, now_ms)  # void if the customer acts before

    def _act(self, person: Person, act: Act, now_ms: int) -> None:
        match act:
            case Says(text):
                self.says(person.psid, text, now_ms)
            case SendsImage(url):
                self.sends_image(person.psid, url, now_ms)
            case Taps(title, payload):
                self.says(person.psid, title, now_ms, quick_reply={"payload": payload})
            case Presses(title, payload):
                self.presses(person.psid, title, payload, now_ms)
            case Reacts(emoji):
                self.reacts(person.psid, person.last_mid or "", emoji, now_ms)
            case Leaves():
                raise AssertionError("Leaves is not an action to perform")

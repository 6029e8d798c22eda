"""The simulated Messenger: people, pages, and what happens between them. A state machine without sockets or
sleep.

It is told what happens and when (`call`, `advance`, `posted`) and says what comes of it (a reply, webhooks to
post). The same core stands behind a real HTTP server and inside a simulation in virtual time. What Graph
answers to calls that are not sends is in directory.py.
"""

import hmac
from collections.abc import Callable, Mapping
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from airy.sim.messenger import customers, events, graph
from airy.sim.messenger.agenda import Agenda
from airy.sim.messenger.customers import Act, Leaves, Mood, Presses, Reacts, Says, SendsImage, Taps
from airy.sim.messenger.directory import Directory
from airy.sim.messenger.events import Event
from airy.sim.messenger.graph import Reply
from airy.sim.messenger.journal import Posting
from airy.sim.messenger.options import Fault, SimOptions
from airy.sim.messenger.sends import Content, Sends
from airy.sim.messenger.world import Person, World

RETRY_MS = (0, 1_000, 2_000, 5_000, 15_000, 60_000, 300_000, 900_000, 3_600_000)  # then the last again and again
GIVE_UP_MS = 36 * 3_600_000


class Post(Struct, frozen=True):
    """A webhook to be posted; tell `MessengerCore.posted` what came of it."""

    id: int
    body: bytes
    headers: dict[str, str]
    events: tuple[Event, ...]
    first_ms: int
    attempt: int = 1
    copy: bool = False


class _Turn(Struct, frozen=True):
    """A customer does something; None: they think of a new topic. Void if they did anything meanwhile."""

    psid: str
    act: Act | None
    acts: int


class MessengerCore:
    def __init__(self, options: SimOptions, *, now_ms: int = 0) -> None:
        self.options = options
        self.world = World(options)
        self.journal = self.world.journal
        self.changed: Callable[[], None] = lambda: None  # something may be due earlier than it was
        self.overheard: Callable[[str], None] = lambda _line: None  # what people and pages say
        self._events: Agenda[Event] = Agenda()
        self._posts: Agenda[Post] = Agenda()
        self._turns: Agenda[_Turn] = Agenda()
        self._under_way = 0
        self._posted = 0
        self._calls = 0
        self._directory = Directory(self.world)
        self._sends = Sends(self.world, self._taken, lambda: self.pending >= options.pending_max)
        for number in range(options.customers):
            page = options.pages[number % len(options.pages)]
            person = self.world.person(page.id)
            person.mood = Mood(0, 0)
            delay_ms = self.world.draw("arrives", person.psid).randint(0, options.turns_ms[1])
            self._turns.add(now_ms + delay_ms, _Turn(person.psid, None, person.acts))

    # --- calls of the Graph API

    def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, now_ms: int) -> Reply:
        """Answered at once: whoever carries the reply makes it take `after_ms`. `headers` in lower case."""
        request = graph.request(method, url, headers, body)
        holder = self._directory.holder(request)
        if isinstance(holder, Reply):
            reply = holder
        elif request.method == "POST" and request.path.endswith("/messages"):
            reply = self._sends.call(request, holder, now_ms)
        else:
            reply = self._directory.call(request, holder)
        self._calls += 1
        after_ms = self.world.draw("latency", self._calls).randint(*self.options.behaviour.latency_ms)
        return replace(reply, after_ms=after_ms)

    def expect(self, fault: Fault, *, times: int = 1, message_id: str | None = None) -> None:
        """The next sends (of this message of ours) meet `fault`, before chance is asked."""
        self._sends.expect(fault, times, message_id)

    # --- what people do

    def person(self, page_id: str | None = None, name: str | None = None) -> str:
        """Somebody new; their id."""
        return self.world.person(page_id, name).psid

    def says(self, psid: str, text: str, now_ms: int, **content: object) -> str:
        """Somebody writes to their page; the mid. `content` is more of the message object."""
        return self._writes(psid, text, now_ms, message={"text": text, **content})

    def sends_image(self, psid: str, url: str, now_ms: int) -> str:
        attachment = {"type": "image", "payload": {"url": url}}
        return self._writes(psid, "[image]", now_ms, message={"attachments": [attachment]})

    def presses(self, psid: str, title: str, payload: str, now_ms: int, **postback: object) -> str:
        node = {"title": title, "payload": payload, **postback}
        return self._writes(psid, f"[{title}]", now_ms, postback=node)

    def reacts(self, psid: str, mid: str, emoji: str | None, now_ms: int) -> None:
        """`emoji` None takes the reaction back."""
        self._does(psid, now_ms, **events.reaction(mid, emoji))

    def reads(self, psid: str, now_ms: int) -> None:
        self._does(psid, now_ms, read={"watermark": now_ms})

    def unsends(self, psid: str, mid: str, now_ms: int) -> None:
        self._does(psid, now_ms, message={"mid": mid, "is_deleted": True})

    def edits(self, psid: str, mid: str, text: str, now_ms: int, *, revision: int = 1) -> None:
        self._does(psid, now_ms, message_edit={"mid": mid, "text": text, "num_edit": revision})

    def inbox_says(self, psid: str, text: str, now_ms: int) -> str:
        """A colleague answers in the page's own inbox; the mid."""
        person = self._acting(psid)
        mid = self.world.mid(psid, person.acts)
        person.last_mid = mid
        element = events.echo(person.page_id, psid, now_ms, mid, {"text": text})
        self.post(Event(person.page_id, element), now_ms)
        return mid

    def _writes(self, psid: str, line: str, now_ms: int, **node: dict[str, object]) -> str:
        """What opens the window."""
        person = self._acting(psid)
        mid = self.world.mid(psid, person.acts)
        ((name, content),) = node.items()
        element = events.element(psid, person.page_id, now_ms, **{name: {"mid": mid, **content}})
        person.wrote_at_ms = now_ms
        self.overheard(f"{person.name}: {line}")
        self.post(Event(person.page_id, element), now_ms)
        return mid

    def _does(self, psid: str, now_ms: int, **node: object) -> None:
        person = self._acting(psid)
        self.post(Event(person.page_id, events.element(psid, person.page_id, now_ms, **node)), now_ms)

    def _acting(self, psid: str) -> Person:
        person = self.world.known(psid)
        person.acts += 1
        return person

    # --- webhooks

    def post(self, event: Event, now_ms: int, *, later_ms: int = 0) -> None:
        """Have an event posted, after the usual delay and `later_ms`; not if its page is not subscribed to it."""
        fields = self.world.pages[event.page_id].fields
        if fields is not None and event.subscription not in fields:
            return
        behaviour = self.options.behaviour
        draw = self.world.draw("event", events.written(event.element))
        delay_ms = draw.randint(*behaviour.event_ms)
        if draw.random() < behaviour.reordered:
            delay_ms += draw.randint(0, behaviour.reordered_ms)
        self._events.add(now_ms + delay_ms + later_ms, event)
        self.changed()

    def advance(self, now_ms: int) -> list[Post]:
        """Let the time pass; the webhooks that are due now."""
        while (due_ms := self._turns.next_due_ms()) is not None and due_ms <= now_ms:
            for turn_ms, turn in self._turns.take(due_ms):
                self._take_turn(turn, turn_ms)
        for batch in self._batches(now_ms):
            self._post(batch, now_ms)
        due = [post for _, post in self._posts.take(now_ms)]
        self._under_way += len(due)
        return due

    def posted(self, post: Post, status: int | None, now_ms: int) -> None:
        """What the receiver answered; None: nothing. Anything but 2xx is posted again."""
        self._under_way -= 1
        kinds = tuple(event.kind for event in post.events)
        mids = tuple(mid for event in post.events for mid in event.mids)
        self.journal.postings.append(Posting(now_ms, post.id, post.attempt, post.copy, kinds, mids, status))
        if status is not None and 200 <= status < 300:
            return
        if now_ms - post.first_ms > GIVE_UP_MS:
            self.journal.given_up += 1
            return
        delay_ms = RETRY_MS[min(post.attempt, len(RETRY_MS)) - 1]
        self._posts.add(now_ms + delay_ms, replace(post, attempt=post.attempt + 1))
        self.changed()

    def next_due_ms(self) -> int | None:
        """When `advance` has something to do; None: never, as things are."""
        due = (self._turns.next_due_ms(), self._events.next_due_ms(), self._posts.next_due_ms())
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

    @property
    def pending(self) -> int:
        """Events and webhooks that nobody has taken yet."""
        return len(self._events) + len(self._posts) + self._under_way

    @property
    def quiet(self) -> bool:
        """Nothing is under way, and nobody is about to write; those who rest may come back."""
        return self.pending == 0 and not self._turns.any(lambda turn: turn.act is not None and self._valid(turn))

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
        """Once, and sometimes more: the copies come whatever the first one is answered."""
        self._posted += 1
        behaviour = self.options.behaviour
        body = events.webhook(batch, now_ms)
        draw = self.world.draw("post", events.written([event.element for event in batch]))
        self._posts.add(now_ms, Post(self._posted, body, self._signed(body), tuple(batch), now_ms))
        if draw.random() >= behaviour.duplicated or behaviour.copies_max < 2:
            return
        for _ in range(draw.randint(1, behaviour.copies_max - 1)):
            due_ms = now_ms + draw.randint(0, max(1, behaviour.reordered_ms))
            if draw.random() < 0.5:  # told anew: the envelope differs, what happened does not
                body = events.webhook(batch, due_ms)
            post = Post(self._posted, body, self._signed(body), tuple(batch), now_ms, copy=True)
            self._posts.add(due_ms, post)

    def _signed(self, body: bytes) -> dict[str, str]:
        signature = hmac.new(self.options.app_secret.encode(), body, sha256).hexdigest()
        return {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}

    # --- what follows from a message of the page

    def _taken(self, person: Person, content: Content, mid: str, now_ms: int) -> None:
        behaviour, page_id = self.options.behaviour, person.page_id
        draw = self.world.draw("follows", mid)
        self.overheard(f"{self.world.pages[page_id].page.name} → {person.name}: {content.get('text', '[attachment]')}")
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
        self._answers(person, content, mid, seen_ms)
        self.changed()

    def _answers(self, person: Person, said: Content, mid: str, now_ms: int) -> None:
        if person.mood is None:
            return
        draw = self.world.draw("answers", mid)
        act, person.mood = customers.answer(person.mood, said, draw)
        if isinstance(act, Leaves):
            self._comes_back(person, now_ms)
        else:
            self._turns.add(now_ms + draw.randint(*self.options.turns_ms), _Turn(person.psid, act, person.acts))

    def _comes_back(self, person: Person, now_ms: int) -> None:
        delay_ms = self.world.draw("returns", person.psid, person.acts).randint(*self.options.rest_ms)
        self._turns.add(now_ms + delay_ms, _Turn(person.psid, None, person.acts))

    # --- customers

    def dismiss(self) -> None:
        """Customers say no more: what is under way comes to its end."""
        self._turns = Agenda()
        for person in self.world.people.values():
            person.mood = None

    def _valid(self, turn: _Turn) -> bool:
        return self.world.people[turn.psid].acts == turn.acts

    def _take_turn(self, turn: _Turn, now_ms: int) -> None:
        if not self._valid(turn):
            return
        if self.pending >= self.options.pending_max:
            self._turns.add(now_ms + self.options.rest_ms[1], turn)
            return
        person, act = self.world.people[turn.psid], turn.act
        if act is None:
            act, person.mood = customers.opening(self.world.draw("opens", person.psid, person.acts))
        self._act(person, act, now_ms)
        self._comes_back(person, now_ms)  # void as soon as the page answers and they do

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
                raise AssertionError("who leaves is not asked to act")

"""A provider's webhooks: events that are due become requests, and a request is repeated on the provider's schedule.

Events with the same `order` are strictly one at a time: the next one waits until the one before is acknowledged or
given up.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from airy.sim.provider.api import Event, PendingWebhook, WebhookAnswer, WebhookRequestBody
from airy.sim.provider.journal import WebhookAttempt
from airy.sim.provider.options import WebhookFault
from airy.sim.provider.schedule import Schedule
from airy.sim.provider.state import SimState

RETRY_AFTER_MAX_S = 3_600.0
HELD_BACK_MS = 3_000  # by the fault `reorder`
UNPOSTED_MS = 500  # between two looks whether a webhook has an address now
ALWAYS_RETRY_MS_MAX = 60_000  # of a provider that redelivers always
COPY_MS = 300  # after which the fault `duplicate` posts again


class Redelivery(Struct, frozen=True):
    """`retry_ms`: waits after a failure; after the last, the last again. `only_unreached`: an answer of any status ends
    it. `honours_retry_after`: of the receiver, up to an hour.
    """

    retry_ms: tuple[int, ...]
    give_up_ms: int
    attempts_max: int | None = None
    only_unreached: bool = False
    honours_retry_after: bool = False


class Envelope(Protocol):
    def __call__(self, events: Sequence[Event], now_ms: int) -> WebhookRequestBody: ...


class ExpectedWebhookFault(Struct):
    fault: WebhookFault
    times: int
    delay_ms: int = 0


class WebhookOutbox:
    def __init__(self, state: SimState, redelivery: Redelivery, envelope: Envelope) -> None:
        self.changed: Callable[[], None] = lambda: None  # called when `next_due_ms` may have become earlier
        self.expected: deque[ExpectedWebhookFault] = deque()
        self._state = state
        self._redelivery = redelivery
        self._envelope = envelope
        self._events: Schedule[Event] = Schedule()
        self._posts: Schedule[PendingWebhook] = Schedule()
        self._queues: dict[str, deque[PendingWebhook]] = {}  # by order; the first one is scheduled or in flight
        self._in_flight = 0
        self._posted = 0

    @property
    def pending(self) -> int:
        """Events and webhooks that are not yet acknowledged."""
        queued = sum(len(queue) - 1 for queue in self._queues.values())
        return len(self._events) + len(self._posts) + self._in_flight + queued

    def next_due_ms(self) -> int | None:
        due = (self._events.next_due_ms(), self._posts.next_due_ms())
        return min((due_ms for due_ms in due if due_ms is not None), default=None)

    def add(self, event: Event, now_ms: int, *, later_ms: int = 0) -> None:
        """Schedules an event's webhook after the usual delay and `later_ms`, if its account is subscribed to it."""
        fields = self._state.accounts[event.account_id].fields
        if fields is not None and event.topic and event.topic not in fields:
            return
        behaviour = self._state.options.behaviour
        draw = self._state.draw("event", event.kind, event.ids, msgspec.json.encode(event.element))
        delay_ms = draw.randint(*behaviour.event_ms)
        if not event.order and draw.random() < behaviour.reordered:
            delay_ms += draw.randint(0, behaviour.reordered_ms)
        delay_ms += self._held_back_ms()
        self._events.add(now_ms + delay_ms + later_ms, event)
        self.changed()

    def due(self, now_ms: int) -> list[PendingWebhook]:
        """The webhooks that are due; each is in flight until its response is reported."""
        for batch in self._batches(now_ms):
            self._post(batch, now_ms)
        due = [post for _, post in self._posts.take(now_ms)]
        self._in_flight += len(due)
        return due

    def on_response(self, post: PendingWebhook, answer: WebhookAnswer, now_ms: int) -> bool:
        """Whether the receiver took it. One that it did not take is posted again, or given up."""
        self._in_flight -= 1
        if not answer.posted:
            self._posts.add(now_ms + UNPOSTED_MS, replace(self._again(post), first_ms=now_ms))
            self.changed()
            return False
        kinds = tuple(event.kind for event in post.events)
        ids = tuple(each for event in post.events for each in event.ids)
        self._state.journal.webhook_attempts.append(
            WebhookAttempt(now_ms, post.id, post.attempt, post.duplicate, kinds, ids, answer.status)
        )
        wait_ms = None if answer.taken else self._wait_ms(post, answer, now_ms)
        if wait_ms is not None:
            self._posts.add(now_ms + wait_ms, replace(self._again(post), attempt=post.attempt + 1))
        else:
            self._state.journal.given_up += not answer.taken
            self._next_in_order(post, now_ms)
        self.changed()
        return answer.taken

    def clear(self) -> None:
        """Forgets what is not in flight."""
        self._events, self._posts, self._queues = Schedule(), Schedule(), {}
        self.expected.clear()

    # --- internals

    def _wait_ms(self, post: PendingWebhook, answer: WebhookAnswer, now_ms: int) -> int | None:
        """None: it is given up."""
        rules, index = self._redelivery, post.attempt - 1
        wait_ms = rules.retry_ms[min(index, len(rules.retry_ms) - 1)]
        if self._state.options.behaviour.redelivers_always:
            return min(wait_ms, ALWAYS_RETRY_MS_MAX)
        lives_ms = min([rules.give_up_ms, *(event.lives_ms for event in post.events if event.lives_ms is not None)])
        attempts_max = rules.attempts_max
        spent = now_ms - post.first_ms > lives_ms or (attempts_max is not None and post.attempt >= attempts_max)
        if spent or (rules.only_unreached and answer.status is not None):
            return None
        if rules.honours_retry_after and answer.retry_after_s is not None:
            return round(min(answer.retry_after_s, RETRY_AFTER_MAX_S) * 1000)
        return wait_ms

    def _batches(self, now_ms: int) -> list[list[Event]]:
        batches: list[list[Event]] = []
        for _, event in self._events.take(now_ms):
            last = batches[-1] if batches else []
            room = bool(event.batch) and 0 < len(last) < self._state.options.behaviour.elements_max
            if room and last[0].batch == event.batch:
                last.append(event)
            else:
                batches.append([event])
        return batches

    def _post(self, batch: list[Event], now_ms: int) -> None:
        """Schedules a webhook, and sometimes duplicates, which are sent whatever the first response is."""
        self._posted += 1
        behaviour = self._state.options.behaviour
        draw = self._state.draw("post", [event.ids for event in batch], msgspec.json.encode(batch[0].element))
        self._schedule(self._encoded(batch, now_ms, first_ms=now_ms), now_ms)
        copies = self._copies()
        if draw.random() < behaviour.duplicated and behaviour.copies_max > 1:
            copies += draw.randint(1, behaviour.copies_max - 1)
        for _ in range(copies):
            due_ms = now_ms + draw.randint(min(COPY_MS, behaviour.reordered_ms), max(1, behaviour.reordered_ms))
            encoded_ms = due_ms if draw.random() < 0.5 else now_ms  # again: the envelope differs, the events do not
            self._schedule(self._encoded(batch, encoded_ms, first_ms=now_ms, duplicate=True), due_ms)

    def _encoded(self, batch: list[Event], at_ms: int, *, first_ms: int, duplicate: bool = False) -> PendingWebhook:
        request = self._envelope(batch, at_ms)
        return PendingWebhook(
            id=self._posted,
            url=request.url,
            body=request.body,
            headers=request.headers,
            events=tuple(batch),
            first_ms=first_ms,
            encoded_ms=at_ms,
            duplicate=duplicate,
        )

    def _again(self, post: PendingWebhook) -> PendingWebhook:
        """The same body, to the address and with the secret of now."""
        request = self._envelope(post.events, post.encoded_ms)
        return replace(post, url=request.url, body=request.body, headers=request.headers)

    def _schedule(self, post: PendingWebhook, due_ms: int) -> None:
        order = post.events[0].order
        if order:
            queue = self._queues.setdefault(order, deque())
            queue.append(post)
            if len(queue) > 1:
                return
        self._posts.add(due_ms, post)

    def _next_in_order(self, post: PendingWebhook, now_ms: int) -> None:
        queue = self._queues.get(post.events[0].order)
        if not queue or queue[0].id != post.id:
            return
        queue.popleft()
        if queue:
            self._posts.add(now_ms, queue[0])
        else:
            del self._queues[post.events[0].order]

    def _held_back_ms(self) -> int:
        for expected in self.expected:
            if expected.fault is not WebhookFault.DUPLICATE:
                self._used(expected)
                return HELD_BACK_MS if expected.fault is WebhookFault.REORDER else expected.delay_ms
        return 0

    def _copies(self) -> int:
        for expected in self.expected:
            if expected.fault is WebhookFault.DUPLICATE:
                self._used(expected)
                return 1
        return 0

    def _used(self, expected: ExpectedWebhookFault) -> None:
        expected.times -= 1
        if expected.times <= 0:
            self.expected.remove(expected)

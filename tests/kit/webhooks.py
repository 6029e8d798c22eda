"""Webhook delivery in memory: a log with its folded changes, scripted endpoints, actors that run until the test
ends.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from random import Random

import anyio
import msgspec
import structlog
from msgspec import Struct

from airy import topics
from airy.actors.runtime import Actor, Context
from airy.bus.api import Bus
from airy.bus.memory import MemoryBus
from airy.bus.record import Position, ProducerRecord, TopicPartition
from airy.bus.record_schema import Hold
from airy.clock import LoopClock
from airy.errors import Unavailable
from airy.http_client import ConnectFailed, Response, ResponseLost
from airy.model import ids
from airy.model.change import Change, ChangeKind
from airy.model.dead_delivery import DeadDelivery
from airy.model.delivery_attempt import DeliveryAttempt
from airy.model.entity import Webhook
from airy.queue.api import Job, WebhookQueue
from airy.seal import Sealer
from airy.store.api import StoredChange
from airy.webhooks.matching import subscription_start

SEALER = Sealer({"k1": bytes(32)})


class Outbox:
    """A log and a store that has folded it; implements the store and the progress that publisher and dispatcher
    need.
    """

    def __init__(self, bus: Bus, clock: LoopClock) -> None:
        self.bus = bus
        self.clock = clock
        self.version = 0
        self.changed: dict[TopicPartition, list[StoredChange]] = {}
        self.known: dict[str, Webhook] = {}
        self.pruned: dict[TopicPartition, int] = {}
        self.dead: dict[str, DeadDelivery] = {}
        self._positions: dict[TopicPartition, int] = {}
        self._advanced = anyio.Event()
        self._sequences: dict[str, int] = {}

    # --- called by tests

    async def happens(
        self,
        lane: str = "conversation",
        *,
        kind: ChangeKind = ChangeKind.MESSAGE_CREATED,
        changes: int = 1,
        at_ms: int | None = None,
    ) -> list[str]:
        """Publishes and folds a fact; returns the ids of its changes."""
        (position,) = await self.bus.publish([fact(lane)])
        return self.fold(position, lane, kind=kind, changes=changes, at_ms=at_ms)

    def fold(
        self,
        position: Position,
        lane: str,
        *,
        kind: ChangeKind = ChangeKind.MESSAGE_CREATED,
        changes: int = 1,
        at_ms: int | None = None,
    ) -> list[str]:
        sequence = self._sequences[lane] = self._sequences.get(lane, 0) + 1
        made = [ids.change_id(lane, str(sequence), nth) for nth in range(changes)]
        for nth, change_id in enumerate(made):
            body = msgspec.json.encode({"id": change_id, "type": kind, "sequence": sequence, "payload": {"lane": lane}})
            change = Change(
                id=change_id,
                kind=kind,
                lane=lane,
                sequence=sequence,
                body=body,
                at_ms=self.clock.now_ms() if at_ms is None else at_ms,
            )
            self.changed.setdefault(position.topic_partition, []).append(StoredChange(position, nth, change))
        self.advance(position)
        return made

    async def subscribes(self, name: str, *, folded: bool = True, **more: object) -> Webhook:
        """A webhook that starts now, as the API creates it."""
        since = subscription_start(await self.bus.end_offsets(topics.FOLDED))
        webhook = msgspec.structs.replace(
            Webhook(id=name, url=f"https://{name}.example.com/", status="Subscribed", since=since), **more
        )
        await self.writes(webhook, folded=folded)
        return webhook

    async def writes(self, webhook: Webhook, *, folded: bool = True) -> Position:
        (position,) = await self.bus.publish([topics.WEBHOOKS.record(webhook.id, webhook)])
        if folded:
            self.fold_webhook(position, webhook)
        return position

    def fold_webhook(self, position: Position, webhook: Webhook) -> None:
        self.known[webhook.id] = webhook
        self.advance(position)

    def advance(self, position: Position) -> None:
        self._positions[position.topic_partition] = max(
            self._positions.get(position.topic_partition, 0), position.offset + 1
        )
        self.version += 1
        self._advanced.set()
        self._advanced = anyio.Event()

    async def disable_webhook(self, webhook_id: str, reason: str) -> None:
        webhook = self.known[webhook_id]
        await self.writes(msgspec.structs.replace(webhook, status="Unsubscribed", disabled_reason=reason))

    # --- called by publisher and dispatcher

    def positions(self) -> Mapping[TopicPartition, int]:
        return self._positions

    async def wait_for_progress(self, since: int, within_s: float) -> int:
        if self.version <= since:
            with anyio.move_on_after(within_s):
                await self._advanced.wait()
        return self.version

    async def changes(self, tp: TopicPartition, *, after: tuple[int, int], changes_max: int) -> list[StoredChange]:
        found = [one for one in self.changed.get(tp, []) if (one.position.offset, one.nth) > after]
        return found[:changes_max]

    async def webhooks(self) -> list[Webhook]:
        return list(self.known.values())

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return self.known.get(webhook_id)

    held: dict[TopicPartition, Hold] = {}  # noqa: RUF012 - none, ever

    async def dead_deliveries_of(self, delivery_id: str) -> list[DeadDelivery]:
        return [one for one in await self._dead() if one.delivery_id == delivery_id]

    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        newest = {one.delivery_id: one for one in reversed(await self._dead())}
        wished = sorted(
            (one.replay_requested_at_ms, one.id, one)
            for one in newest.values()
            if one.replay_requested_at_ms is not None
        )
        return [one for at_ms, id_, one in wished if (at_ms, id_) > after][:replays_max]

    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
        records = await self._dead()
        old = [one.id for number, one in enumerate(records) if number >= keep_max or one.died_at_ms < before_ms]
        return old[::-1][:deliveries_max]

    async def _dead(self) -> list[DeadDelivery]:
        """Newest first; folded on demand."""
        topic = topics.DEAD_DELIVERIES
        folded = {tp: self._positions.get(tp, 0) for tp in topic.topic_partitions}
        if any(folded[tp] < end for tp, end in (await self.bus.end_offsets([topic])).items()):
            async with self.bus.tail(folded) as tail:
                for record in await tail.fetch(records_max=100_000, wait_s=0):
                    self.advance(record.position)
                    one = topic.decode(record)
                    if one is None:
                        self.dead.pop(record.key.decode(), None)
                    else:
                        self.dead[one.id] = one
        return sorted(self.dead.values(), key=lambda one: (one.died_at_ms, one.id), reverse=True)

    async def pruned_below(self) -> dict[TopicPartition, int]:
        return self.pruned

    async def prune_changes(self, below: Mapping[TopicPartition, int]) -> int:
        for tp, offset in below.items():
            self.pruned[tp] = offset
            self.changed[tp] = [one for one in self.changed.get(tp, []) if one.position.offset >= offset]
        return 0


def no_rebuild(reason: str) -> None:
    """For a store that is never pruned too far."""
    raise AssertionError(reason)


def fact(lane: str) -> ProducerRecord:
    return ProducerRecord(topics.EVENTS.name, topics.EVENTS.partition(lane), lane.encode(), b"{}")


def tp_of(lane: str) -> TopicPartition:
    return TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(lane))


class Request(Struct, frozen=True):
    at_s: float
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def lane(self) -> str:
        return str(msgspec.json.decode(self.body)["payload"]["lane"])


Behaviour = Callable[[Request], Awaitable[Response]]


class Endpoints:
    """`HttpClient` with a script per URL that records every request. Unknown URLs answer 200 at once."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.behaviours: dict[str, Behaviour] = {}
        self.in_flight: dict[str, int] = {}
        self.most: dict[str, int] = {}  # in flight at once, per URL and ("") in total
        self._called = anyio.Event()

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Response:
        assert method == "POST"
        request = Request(anyio.current_time(), url, dict(headers), body or b"")
        self.requests.append(request)
        self._called.set()
        self._called = anyio.Event()
        for key in (url, ""):
            self.in_flight[key] = self.in_flight.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self.in_flight[key])
        try:
            with anyio.fail_after(total_s):
                answer = await self.behaviours.get(url, answers(200))(request)
        except TimeoutError as error:
            raise ResponseLost("time-out") from error
        finally:
            for key in (url, ""):
                self.in_flight[key] -= 1
        return Response(answer.status, answer.headers, answer.body[:body_bytes_max])

    def to(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.url == f"https://{name}.example.com/"]

    async def reached(self, name: str, count: int, within_s: float) -> list[Request]:
        """Returns once there were so many requests to it."""
        with anyio.fail_after(within_s):
            while len(self.to(name)) < count:
                await self._called.wait()
        return self.to(name)

    def behave(self, name: str, behaviour: Behaviour) -> None:
        self.behaviours[f"https://{name}.example.com/"] = behaviour


def answers(status: int, *, after_s: float = 0.0, body: bytes = b"", **headers: str) -> Behaviour:
    async def behave(_request: Request) -> Response:
        await anyio.sleep(after_s)
        return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    return behave


def refuses() -> Behaviour:
    async def behave(_request: Request) -> Response:
        raise ConnectFailed("connection refused")

    return behave


def hangs() -> Behaviour:
    return answers(200, after_s=1e9)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last one is repeated."""
    left = list(behaviours)

    async def behave(request: Request) -> Response:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


@asynccontextmanager
async def logged() -> AsyncIterator[Outbox]:
    """The log is not run: its housekeeping every few seconds would dominate a test of days."""
    clock = LoopClock()
    yield Outbox(MemoryBus(topics.ALL, clock=clock), clock)


def context(name: str, *, clock: LoopClock, seed: int = 0) -> Context:
    log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()])
    return Context(name, clock=clock, random=Random(f"{seed}/{name}"), log=log)


@asynccontextmanager
async def acting(*actors: Actor, clock: LoopClock, seed: int = 0) -> AsyncIterator[list[Context]]:
    """Runs the actors inside and drains them at the end."""
    contexts = [context(f"actor-{number}", clock=clock, seed=seed) for number in range(len(actors))]
    async with anyio.create_task_group() as tasks:
        for actor, ctx in zip(actors, contexts, strict=True):
            tasks.start_soon(actor.run, ctx)
        yield contexts
        for ctx in contexts:
            ctx.draining.set()


async def until(condition: Callable[[], bool], *, within_s: float = 1_000_000.0, step_s: float = 0.05) -> None:
    with anyio.fail_after(within_s):
        while not condition():
            await anyio.sleep(step_s)


async def attempts(bus: Bus) -> list[DeliveryAttempt]:
    """Every attempt recorded so far."""
    starts = await bus.beginning_offsets([topics.ATTEMPTS])
    found: list[DeliveryAttempt] = []
    async with bus.tail(starts) as tail:
        while records := await tail.fetch(records_max=10_000, wait_s=0):
            found += [msgspec.json.decode(record.value or b"", type=DeliveryAttempt) for record in records]
    return sorted(found, key=lambda one: (one.at_ms, one.id, one.attempt))


class Lossy:
    """A queue whose requests and answers are lost and delayed at random, by seed."""

    def __init__(self, queue: WebhookQueue, random: Random, *, loss: float, pause_s: float) -> None:
        self._queue = queue
        self._random = random
        self._loss = loss
        self._pause_s = pause_s

    def __getattr__(self, name: str) -> object:
        call = getattr(self._queue, name)

        async def lossy(*arguments: object, **named: object) -> object:
            await anyio.sleep(self._random.random() * self._pause_s)
            if self._random.random() < self._loss:
                raise Unavailable("the request was lost")
            answer = await call(*arguments, **named)
            if self._random.random() < self._loss:
                raise Unavailable("the answer was lost")
            return answer

        return lossy


async def deliver_all(queue: WebhookQueue, now_ms: int, done: Callable[[Job], None], *, jobs_max: int = 50) -> int:
    """Claims due jobs and completes them; returns how many."""
    jobs = await queue.claim(now_ms=now_ms, lease_ms=60_000, jobs_max=jobs_max, per_webhook_max=1_000)
    for job in jobs:
        done(job)
        await queue.complete(job)
    return len(jobs)


def lanes(requests: Iterable[Request]) -> dict[str, list[str]]:
    """Per lane, event ids in the order they were sent, without repetitions."""
    sent: dict[str, list[str]] = {}
    for request in requests:
        of_lane = sent.setdefault(request.lane, [])
        if request.event_id not in of_lane:
            of_lane.append(request.event_id)
    return sent

"""A whole process in miniature for tests of the edge: log, store, the fold that follows, commands, the
application.

Requests go in through `Desk.post`, as a client would send them. What no client can do (a contact writes, a
provider refuses) goes straight into the log, through `Desk.happen`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from airy import components, topics
from airy.actors.commands import Commands, Page, Writer
from airy.actors.follower import Follower
from airy.actors.runtime import Context
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position, Record
from airy.bus.topic import Topic
from airy.clock import LoopClock, RandomIds
from airy.components import Service
from airy.errors import Refused
from airy.http.app import Front, application
from airy.http.auth import Authenticator, Guard, Tokens
from airy.http.bodies import BodyReader
from airy.http.cors import Cors
from airy.http.ingress import Gate, Ingress
from airy.http.metrics import route as metrics_route
from airy.http.ports import Edge, Fleet
from airy.model.entity import Channel
from airy.model.fact import Fact
from airy.seal import Sealer
from airy.secret import Secret
from airy.sources.api import Account
from airy.store.sqlite import SqliteStore
from tests.kit.asgi import Response, call
from tests.kit.builders import START_MS
from tests.kit.signing import SigningSource

TOKEN = "a-token-of-thirty-two-characters"
DAY_MS = 86_400_000
ORIGIN = "https://inbox.example.net"


class StubStatus:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.is_alive = True
        self.waiting: dict[str, str] = {}
        self.off: set[str] = set()  # services that are not enabled
        self.told = Fleet()

    def alive(self) -> bool:
        return self.is_alive

    def waiting_for(self) -> Mapping[str, str]:
        return self.waiting

    def fleet(self) -> Fleet:
        return self.told

    def services(self) -> Mapping[str, Service]:
        components = {"api-communication": "api-communication", "webhook-publisher": "integration-webhook"}
        return {
            name: Service(enabled=name not in self.off, healthy=name not in self.off, component=component)
            for name, component in components.items()
        }


class TwoPages:
    """A provider that knows two pages, and one token that may have them."""

    token = "user token"
    pages = ("204918377001", "204918377002")

    def __init__(self) -> None:
        self.subscribed: set[str] = set()
        self.refusal: str | None = None  # of a disconnect
        self.error: Exception | None = None  # a disconnect raises it

    async def connect(self, account_id: str, token: Secret) -> Page:
        if token.reveal() != self.token or account_id not in self.pages:
            raise Refused("the provider knows no such page for this token", field="page_id")
        self.subscribed.add(account_id)
        return Page(name=f"Page {account_id[-1]}", image_url=None, token=Secret("long lived token"))

    async def disconnect(self, account_id: str, token: Secret) -> str | None:
        if self.error is not None:
            raise self.error
        if token.reveal() != "long lived token":
            return "this token may not unsubscribe the page"
        if self.refusal is None:
            self.subscribed.discard(account_id)
        return self.refusal

    async def explore(self, token: Secret, connected: frozenset[str]) -> Sequence[Account]:
        if token.reveal() != self.token:
            raise Refused("the provider does not know this token", field="auth_token")
        return [Account(page, f"Page {page[-1]}", None, page in connected) for page in self.pages]


class Desk(Struct):
    """One process; `follow` can be stopped and started to see what happens while its store lags."""

    bus: MemoryBus
    store: SqliteStore
    queue: SqliteQueue
    follower: Follower
    status: StubStatus
    front: Front
    writer: Writer
    sealer: Sealer
    pages: TwoPages

    async def post(self, path: str, body: object = None, /, **headers: str) -> Response:
        """JSON, with the token; headers are written with underscores, and None leaves the body out."""
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(self.front, "POST", path, body=raw, headers=given.items())

    async def asked(self, path: str, body: object = None, /, status: int = 200, **headers: str) -> Any:
        """The document of an answer that has to have this status."""
        answer = await self.post(path, body, **headers)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json() if answer.body else None

    async def happen(self, *facts: Fact | Channel) -> None:
        """These are in the log and folded when it returns."""
        await self.writer.write([_emit(fact) for fact in facts])

    async def records(self, topic: Topic[Any]) -> list[Record]:
        async with self.bus.tail(await self.bus.starts([topic])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)


def _emit(thing: Fact | Channel) -> Emit:
    if isinstance(thing, Channel):
        return topics.CHANNELS.emit(thing.id, thing)
    return topics.EVENTS.emit(thing.conversation_id, thing)


@asynccontextmanager
async def desk(
    *,
    authenticators: Iterable[Authenticator] | None = None,
    following: bool = True,
    wait_s: float = 5.0,
    seed: int = 0,
    caught_up: Callable[[], bool] = lambda: True,
    running: Collection[str] = frozenset(components.BY_NAME),
) -> AsyncIterator[Desk]:
    clock, ids = LoopClock(START_MS + DAY_MS), RandomIds(Random(seed))
    bus, store, queue = MemoryBus(topics.ALL, clock=clock), SqliteStore(":memory:"), SqliteQueue(ids=ids)
    await store.open()
    await queue.open()
    sealer = Sealer({"k1": bytes(32)})
    pages = TwoPages()
    follower, status, reader = Follower(bus, store), StubStatus(), BodyReader()
    writer = Writer(bus, follower.reached, clock, ids, within_s=wait_s)
    edge = Edge(
        commands=Commands(writer, store, sealer, pages),
        store=store,
        queue=queue,
        reached=follower.reached,
        status=status,
        clock=clock,
        ids=ids,
        version="1.2.3",
        read_wait_s=wait_s,
        caught_up=caught_up,
    )
    guard = Guard(authenticators or [Tokens({"tests": Secret(TOKEN)})])
    ingress = Ingress(SigningSource(), bus, clock=clock, ids=ids, gate=Gate(), reader=reader)

    async def samples() -> Mapping[str, float | Mapping[str, float]]:
        return {"responses_total": dict(front.responses), "send_pending": 3}

    app = application(edge, reader, guard, running, [metrics_route(samples)])
    front = Front(app, {"/facebook": ingress}, cors=Cors([ORIGIN]), ids=ids)
    async with anyio.create_task_group() as tasks:
        if following:
            tasks.start_soon(follower.run, Context("store", clock=clock, random=Random(seed)))
        yield Desk(bus, store, queue, follower, status, front, writer, sealer, pages)
        tasks.cancel_scope.cancel()
    await queue.close()
    await store.close()


def token_of(answer: Response) -> Position:
    return topics.parse_position_token(answer.headers["x-airy-position"])

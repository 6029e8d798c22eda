"""A whole Airy in one process as it is composed for real, with everything outside it simulated: the log in memory, the
provider, a subscriber's endpoint. Requests go in through the ASGI application; virtual time.
"""

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import anyio
import msgspec
import structlog
from structlog.testing import LogCapture

from airy import topics
from airy.actors.runtime import run_tree
from airy.actors.webhooks.queue_sqlite import SqliteQueue
from airy.app.edge import front
from airy.app.parts import assemble
from airy.app.plan import plan
from airy.app.presence import Reporter
from airy.app.samples import Samples
from airy.app.status import TreeStatus
from airy.bus.memory import MemoryBus
from airy.bus.record import Record
from airy.bus.topic import Topic
from airy.clock import LoopClock, RandomIds
from airy.components import enabled
from airy.config import Components, Config, FacebookComponent, Security
from airy.fetch import Answer, Fetch
from airy.log import add_trace
from airy.seal import Sealer
from airy.secret import Secret
from airy.sim.messenger.core import MessengerCore
from airy.sim.messenger.fetch import SimFetch
from airy.sim.messenger.options import DEMO_PAGE, Behaviour, SimOptions
from airy.sources.facebook.verify import signature
from airy.store.sqlite import SqliteStore
from tests.kit.asgi import Response, call
from tests.sim.endpoint import Endpoint

GRAPH = "https://graph.sim"
HOOK = "https://hook.example.org/airy"
SECRET = "app-secret"
TOKEN = "a-token-of-thirty-two-characters"


class Composition:
    def __init__(self, seed: int = 0, *, running: frozenset[str] | None = None) -> None:
        self.clock = LoopClock()
        self.config = _config()
        self.running = running or enabled(self.config)
        self.ids = RandomIds(Random(seed))
        self.bus = MemoryBus(topics.ALL, clock=self.clock)
        self.store = SqliteStore(":memory:")
        self.queue = SqliteQueue(":memory:", ids=self.ids)
        self.endpoint = Endpoint(Random(seed), trouble=0.0)
        options = SimOptions(app_secret=SECRET, seed=seed, behaviour=Behaviour(read=0.0, delivered=0.0, echoes=False))
        self.messenger = MessengerCore(options, now_ms=self.clock.now_ms())
        self.person = self.messenger.person()
        self._graph = SimFetch(self.messenger, self.clock, graph_url=GRAPH)
        self.provider_calls: list[Mapping[str, str]] = []  # their headers
        self.logged = LogCapture()
        self.parts = assemble(
            self.config,
            clock=self.clock,
            ids=self.ids,
            bus=self.bus,
            store=self.store,
            queue=self.queue,
            sealer=Sealer({"k1": bytes(32)}),
            provider_fetch=self._fetch,
            webhook_fetch=self._fetch,
            arrived=self.queue.arrived,
        )
        self.samples = Samples(self.parts)
        self.status = TreeStatus(self.parts, self.running, self.samples.totals)
        self.samples.counters = self.status.counters
        self.front, ingresses = front(self.parts, self.running, self.status, self.samples.read)
        self.samples.watch(self.front, ingresses)
        self.report = Reporter(self.parts, self.status, host="here", where=lambda: "http://127.0.0.1:8080")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Composition"]:
        """Runs it, and stops it in order on leaving."""
        await self.store.open()
        await self.queue.open()
        stop = anyio.Event()
        log = structlog.wrap_logger(
            None,
            processors=[structlog.contextvars.merge_contextvars, add_trace, self.logged],
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: run_tree(
                    plan(self.parts, self.running, report=self.report),
                    clock=self.clock,
                    seed=1,
                    stop=stop,
                    log=log,
                    on_start=self.status.started,
                )
            )
            await self.until(lambda: not self.status.waiting_for())
            yield self
            stop.set()
        await self.queue.close()
        await self.store.close()

    async def until(self, wanted: Callable[[], Any], *, within_s: float = 120.0) -> Any:
        """What `wanted` finds once it finds something."""
        with anyio.fail_after(within_s):
            while not (found := wanted()):
                await anyio.sleep(0.1)
        return found

    def line(self, event: str) -> MutableMapping[str, Any] | None:
        """The first log line of the tree with this event."""
        return next((entry for entry in self.logged.entries if entry["event"] == event), None)

    async def records(self, topic: Topic[Any]) -> list[Record]:
        async with self.bus.tail(await self.bus.starts([topic])) as tail:
            return await tail.fetch(records_max=10_000, wait_s=0)

    # --- requests

    async def post(self, path: str, body: object = None, /, **headers: str) -> Response:
        given = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(self.front, "POST", path, body=msgspec.json.encode(body), headers=given.items())

    async def asked(self, path: str, body: object = None, /, **headers: str) -> Any:
        answer = await self.post(path, body, **headers)
        assert answer.status < 300, (answer.status, answer.body)
        return answer.json() if answer.body else None

    async def get(self, path: str) -> Response:
        return await call(self.front, "GET", path, headers=[("authorization", f"Bearer {TOKEN}")])

    async def says(self, text: str, **headers: str) -> Response:
        """Somebody writes to the page: one signed webhook, as the provider posts it."""
        self.messenger.says(self.person, text, self.clock.now_ms())  # so that it lets us answer; it posts nothing
        event = {
            "sender": {"id": self.person},
            "recipient": {"id": DEMO_PAGE.id},
            "timestamp": self.clock.now_ms(),
            "message": {"mid": f"m_{text}", "text": text},
        }
        body = msgspec.json.encode(
            {
                "object": "page",
                "entry": [{"id": DEMO_PAGE.id, "time": self.clock.now_ms(), "messaging": [event]}],
            }
        )
        return await self.posts(body, **headers)

    async def posts(self, body: bytes, **headers: str) -> Response:
        """The provider posts this."""
        signed = f"sha256={signature(SECRET, body).decode()}"
        given = {"x-hub-signature-256": signed, "content-type": "application/json", **headers}
        return await call(self.front, "POST", "/facebook", body=body, headers=given.items())

    async def connect(self) -> None:
        await self.asked("/channels.facebook.connect", {"page_id": DEMO_PAGE.id, "page_token": DEMO_PAGE.token})

    async def subscribe(self, *events: str) -> None:
        await self.asked("/webhooks.subscribe", {"url": HOOK, "events": list(events)})

    async def _fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = {},
        body: bytes | None = None,
        connect_s: float = 5.0,
        total_s: float = 15.0,
        body_bytes_max: int = 1_048_576,
    ) -> Answer:
        provider = url.startswith(GRAPH)
        if provider:
            self.provider_calls.append(headers)
        port: Fetch = self._graph if provider else self.endpoint
        return await port(
            method,
            url,
            headers=headers,
            body=body,
            connect_s=connect_s,
            total_s=total_s,
            body_bytes_max=body_bytes_max,
        )


def _config() -> Config:
    facebook = FacebookComponent(
        enabled=True,
        app_id="990011",
        app_secret=(Secret(SECRET),),
        webhook_secret=Secret("verify-me"),
        graph_url=GRAPH,
    )
    return Config(components=Components(sources_facebook=facebook), security=Security(system_token=Secret(TOKEN)))

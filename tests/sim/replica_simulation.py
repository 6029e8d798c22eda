"""Two replicas of the API over one log, in virtual time, kept small because the history checker runs many seeds.

Both have the real HTTP application (built once and bound to the running process), the real store and fold. While
clients write and read, replicas are killed, stopped, paused and slowed, and lose their stores; where they also run the
source's actors, groups are rebalanced.
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import attrgetter
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Struct, field

from airy import topics
from airy.actors.runtime import Child
from airy.app.services import Ports, Services, build_services
from airy.bus.memory import Faults, GroupTimeouts, MemoryBus
from airy.bus.record import Position, ProducerRecord
from airy.clock import LoopClock, RandomIds
from airy.config import Config
from airy.http.app import RootAsgiApp, litestar_app
from airy.http.auth import Guard, TokenAuthenticator
from airy.http.body_reader import BodyReader
from airy.http.catalogue import RESOURCES, served
from airy.http.client_address import ClientLimiter
from airy.http.configured_tokens import ConfiguredTokens
from airy.http.cors import CorsPolicy
from airy.http.ingress import Ingress
from airy.http.ports import ApiContext
from airy.http.visitor_directory import VisitorDirectory
from airy.http_client import ConnectFailed, Response
from airy.live_config.live_config import LiveConfig
from airy.rate_limit import RateLimiter
from airy.seal import Sealer, seal_context
from airy.secret import Secret
from tests.kit.api import FakeHealth
from tests.kit.asgi import call
from tests.kit.builders import Chat, channel
from tests.kit.clock import SkewedClock
from tests.kit.config_source import MemoryConfigSource
from tests.kit.downloads import WholeBodies
from tests.kit.media import MemoryStorage, media_library
from tests.sim.api_clients import ApiClient, ApiResponse, Ask
from tests.sim.cluster import EDGE, SOURCES, SimulatedNode, killed, paused, rebalanced, slowed, stopped
from tests.sim.history import Operation, violations
from tests.sim.pausable_ports import PausableBus, pausable
from tests.sim.simulation import _config

TOKEN = "a-token-of-thirty-two-characters"
READ_WAIT_S = 5.0
CONVERSATIONS = 2
CLIENTS = 3
REPLICAS = 2
QUIESCENT_WITHIN_S = 3600.0
DISRUPTIONS = (killed, stopped, paused, slowed, rebalanced)
WEIGHTS = (3, 2, 2, 6, 1)


class ReplicaSize(Struct, frozen=True, kw_only=True):
    steps: int = 6  # of each client
    receives: int = 6
    disruptions: int = 3
    rates: dict[tuple[str, str], float] = field(
        default_factory=lambda: {
            ("publish", "unavailable"): 0.03,
            ("published", "unavailable"): 0.03,
            ("publish", "delay"): 0.15,
            ("published", "delay"): 0.15,
        }
    )


class _SharedApi:
    """An HTTP application that serves the process bound to it."""

    def __init__(self, name: str, components: frozenset[str]) -> None:
        self.services: Services | None = None
        self.ids = RandomIds(Random(0))
        edge = ApiContext(
            commands=_LatePort(self, "commands"),
            store=_LatePort(self, "ports.store"),
            queue=_LatePort(self, "ports.queue"),  # type: ignore[arg-type]
            dead_letters=_LatePort(self, "dead_letters"),  # type: ignore[arg-type]
            wait_for_position=self._wait_for_position,
            changes=_LatePort(self, "changes"),  # type: ignore[arg-type]
            media=media_library(MemoryStorage(), LoopClock()),
            health=FakeHealth(),
            endpoint_tests=_LatePort(self, "endpoint_tests"),  # type: ignore[arg-type]
            message_traces=_LatePort(self, "message_traces"),  # type: ignore[arg-type]
            topics=_LatePort(self, "topics"),  # type: ignore[arg-type]
            logs=_LatePort(self, "logs"),  # type: ignore[arg-type]
            configuration=LiveConfig(Config(), MemoryConfigSource()),
            clock=_LatePort(self, "ports.clock"),  # type: ignore[arg-type]
            ids=_LatePort(self, "ports.ids"),
            version="1",
            read_wait_s=READ_WAIT_S,  # type: ignore[arg-type]
        )
        visitors = VisitorDirectory(_LatePort(self, "commands.visitors"), lambda: True)  # type: ignore[arg-type]
        self._guard = Guard([TokenAuthenticator(ConfiguredTokens({name: Secret(TOKEN)}), visitors)])
        app = litestar_app(edge, BodyReader(), self._guard, served(RESOURCES, components))
        self.front = RootAsgiApp(app, {}, cors=CorsPolicy([]), ids=self.ids)

    def bind(self, services: Services) -> None:
        if services is not self.services:
            self.services = services
            self._guard.limiter = RateLimiter()  # the time of this process may be earlier than that of the one before
            self._guard.clients = ClientLimiter()

    async def _wait_for_position(self, position: Any, within_s: float) -> bool:
        assert self.services is not None
        return await self.services.projector.wait_for_position(position, within_s)


class _LatePort:
    """A port of the bound process, looked up at each use by its dotted path in `Services`."""

    def __init__(self, shared: _SharedApi, port: str) -> None:
        self._shared = shared
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(attrgetter(self._port)(self._shared.services), name)


_shared_apis: dict[frozenset[str], deque[_SharedApi]] = {}  # building one costs as much as a short run


class ReplicaSimulation:
    """`run` fills it; `history` is for the checker."""

    sources = ("facebook",)

    def __init__(self, seed: int, size: ReplicaSize) -> None:
        self.seed = seed
        self.size = size
        self.random = Random(f"replicas {seed}")
        self.clock = LoopClock()
        self.machine_clock = SkewedClock(self.clock)
        self.config = _config()
        self.sealer = Sealer({"k1": bytes(32)})
        self.ingress_type = Ingress
        self.ids = RandomIds(Random(f"ids {seed}"))
        self.faults = Faults(Random(f"faults {seed}"), rates=size.rates, delay_s_max=0.3)  # type: ignore[arg-type]
        self.bus = MemoryBus(
            topics.ALL, clock=self.clock, faults=self.faults, timeouts=GroupTimeouts(session_s=10.0, rebalance_s=25.0)
        )
        self.abandoned_memberships: list[AbstractAsyncContextManager[Any]] = []
        components = EDGE | SOURCES if seed % 5 == 0 else EDGE
        self.nodes = [SimulatedNode(self, number, components) for number in range(REPLICAS)]  # type: ignore[arg-type]
        self.stopping = False
        self.failures = 0
        self.sent = 0
        self.history: list[Operation] = []
        self.quiescent = False

    def build_services(self, node: SimulatedNode) -> Services:
        return build_services(
            self.config,
            Ports(
                clock=node.clock,
                ids=node.ids,
                bus=PausableBus(self.bus, node.switch, self.abandoned_memberships),  # type: ignore[arg-type]
                store=node.store,
                queue=None,  # type: ignore[arg-type] - no webhooks here
                sealer=self.sealer,
                media=MemoryStorage(),
                provider_http=pausable(self._provider, node.switch),
                provider_files=WholeBodies(pausable(self._provider, node.switch)),
                attachment_files=WholeBodies(pausable(self._provider, node.switch)),
                webhook_http=self._provider,
            ),
        )

    def extra_children(self, _services: Services) -> Sequence[Child]:
        return ()

    async def _provider(self, method: str, url: str, **_: object) -> Response:
        if method != "POST":
            raise ConnectFailed("no profiles here")
        self.sent += 1
        return Response(200, {}, msgspec.json.encode({"recipient_id": "1", "message_id": f"m_sent_{self.sent}"}))

    def violations(self) -> list[str]:
        return violations(self.history)

    # --- the run

    @asynccontextmanager
    async def running_nodes(self) -> AsyncIterator[None]:
        """Until the end of the block; it begins once all are ready."""
        async with anyio.create_task_group() as running:
            for node in self.nodes:
                running.start_soon(node.run)
            with anyio.fail_after(QUIESCENT_WITHIN_S):
                while not all(node.ready for node in self.nodes):
                    await anyio.sleep(0.05)
            yield
            self.stopping = True
            running.cancel_scope.cancel()
        for membership in self.abandoned_memberships:
            await membership.__aexit__(None, None, None)

    async def run(self) -> None:
        chats = [Chat(number) for number in range(CONVERSATIONS)]
        page = channel()
        sealed = self.sealer.seal("token", seal_context(topics.CHANNELS.name, page.id, "token"))
        await self._write([topics.CHANNELS.record(page.id, msgspec.structs.replace(page, token=sealed))])
        for chat in chats:
            await self._receive(chat, 0)
        names = [chat.conversation_id for chat in chats]
        asks = {node.name: ask_of(node) for node in self.nodes}
        clients = [
            ApiClient(f"c{number}", asks, names, Random(f"client {number} of {self.seed}"), self.history)
            for number in range(CLIENTS)
        ]
        async with self.running_nodes():
            async with anyio.create_task_group() as acting:
                for client in clients:
                    acting.start_soon(client.act, self.size.steps)
                acting.start_soon(self._receive_more, chats)
                acting.start_soon(self._disrupt)
            self.faults.clear()
            await self._read_finally(clients, names)

    async def _receive_more(self, chats: list[Chat]) -> None:
        for number in range(1, self.size.receives):
            await anyio.sleep(self.random.uniform(0.0, 1.0))
            await self._receive(self.random.choice(chats), number)

    async def _receive(self, chat: Chat, number: int) -> None:
        """Append a message of a contact, as a router would."""
        fact, begin = chat.received(f"r{number}"), anyio.current_time()
        (position,) = await self._write([topics.EVENTS.record(fact.conversation_id, fact)])
        self.history.append(
            Operation(
                client="provider",
                replica="",
                kind="receive",
                conversation=chat.conversation_id,
                begin=begin,
                end=anyio.current_time(),
                outcome="ok",
                position=position.offset,
                message_id=fact.message_id,
            )
        )

    async def _write(self, records: Sequence[ProducerRecord]) -> Sequence[Position]:
        """Append without injected faults: records that no client writes."""
        return await self.bus._storage.publish(records)

    async def _disrupt(self) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(self.size.disruptions):
                await anyio.sleep(self.random.uniform(0.0, 1.5))
                disruption = self.random.choices(DISRUPTIONS, weights=WEIGHTS)[0]
                tasks.start_soon(disruption, self, self.random.choice(self.nodes))

    async def _read_finally(self, clients: list[ApiClient], conversations: list[str]) -> None:
        with anyio.move_on_after(QUIESCENT_WITHIN_S) as limit:
            await self._settle()
            reader = clients[0]
            for other in clients[1:]:
                reader.learn(other.positions)
            for node in self.nodes:
                for conversation in conversations:
                    while not await reader.read_messages(node.name, conversation, final=True):
                        await anyio.sleep(0.2)
                    while not await reader.read_conversation(node.name, conversation, final=True):
                        await anyio.sleep(0.2)
        self.quiescent = not limit.cancelled_caught

    async def _settle(self) -> None:
        """Until the log has not grown for a second and both replicas have folded all of it."""
        before: Mapping[Any, int] = {}
        while True:
            ends = await self.bus.end_offsets(topics.FOLDED)
            running = [node.process for node in self.nodes if node.ready and not node.switch.paused]
            if (
                before == ends
                and len(running) == len(self.nodes)
                and all(
                    process.services.projector.positions()[tp] >= end
                    for process in running
                    if process
                    for tp, end in ends.items()
                )
            ):
                return
            before = ends
            await anyio.sleep(1.0)


def ask_of(node: SimulatedNode, components: frozenset[str] = EDGE) -> Ask:
    """One request to the node, over the HTTP application of these components."""
    apis = _shared_apis.setdefault(components, deque())
    shared = apis.popleft() if len(apis) >= REPLICAS else _SharedApi("clients", components)
    apis.append(shared)

    async def ask(path: str, body: Mapping[str, object], headers: Mapping[str, str]) -> ApiResponse:
        process = node.process
        if process is None or not process.services.projector.caught_up:
            await anyio.sleep(0.05)  # no replica is ready
            return ApiResponse(0, {})
        shared.bind(process.services)
        sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **headers}
        answer = await process.call(
            lambda: call(shared.front, "POST", path, body=msgspec.json.encode(body), headers=sent.items())
        )
        if answer is None:
            return ApiResponse(0, {})
        document = answer.json() if answer.body and answer.status < 300 else None
        return ApiResponse(answer.status, answer.headers, document)

    return ask

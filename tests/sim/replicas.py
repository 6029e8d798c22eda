"""Two replicas of the API over one log, in virtual time: for histories, so as small as it can be.

Both have the real HTTP application (built once and plugged into the process that is alive), the real store and fold.
While clients write and read they are killed, stopped, paused and slowed, stores are lost, and where they also run the
source's actors, groups are rebalanced.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Any

import anyio
import msgspec
from msgspec import Struct, field

from airy import topics
from airy.app.parts import Parts, assemble
from airy.bus.faults import Faults
from airy.bus.memory import MemoryBus
from airy.bus.record import Emit, Position
from airy.clock import LoopClock, RandomIds
from airy.fetch import Answer, NotSent
from airy.http.app import Front, application
from airy.http.auth import Guard, Tokens
from airy.http.bodies import BodyReader
from airy.http.cors import Cors
from airy.http.ingress import Ingress
from airy.http.ports import Edge
from airy.seal import Sealer, place
from airy.secret import Secret
from tests.kit.asgi import call
from tests.kit.builders import Chat, channel
from tests.kit.edge import StubStatus
from tests.sim.clients import Client, Told
from tests.sim.fleet import EDGE, SOURCES, Node, killed, paused, rebalanced, slowed, stopped
from tests.sim.gates import GatedBus, gated
from tests.sim.history import Operation
from tests.sim.world import _config

TOKEN = "a-token-of-thirty-two-characters"
READ_WAIT_S = 5.0
CONVERSATIONS = 2
CLIENTS = 3
REPLICAS = 2
PEACE_S = 3600.0
DEEDS = (killed, stopped, paused, slowed, rebalanced)
WEIGHTS = (3, 2, 2, 6, 1)


class ReplicaShape(Struct, frozen=True, kw_only=True):
    steps: int = 6  # of each client
    receives: int = 6
    troubles: int = 3
    rates: dict[tuple[str, str], float] = field(
        default_factory=lambda: {
            ("publish", "unavailable"): 0.03,
            ("published", "unavailable"): 0.03,
            ("publish", "delay"): 0.15,
            ("published", "delay"): 0.15,
        }
    )


class _Plug:
    """An application that serves whichever process is plugged in."""

    def __init__(self, name: str) -> None:
        self.parts: Parts | None = None
        self.ids = RandomIds(Random(0))
        edge = Edge(
            commands=_Late(self, "commands"),
            store=_Late(self, "store"),
            queue=_Late(self, "queue"),  # type: ignore[arg-type]
            reached=self._reached,
            status=StubStatus(),
            clock=_Late(self, "clock"),  # type: ignore[arg-type]
            ids=_Late(self, "ids"),
            version="1",
            read_wait_s=READ_WAIT_S,  # type: ignore[arg-type]
        )
        app = application(edge, BodyReader(), Guard([Tokens({name: Secret(TOKEN)})]), EDGE)
        self.front = Front(app, {}, cors=Cors([]), ids=self.ids)

    async def _reached(self, position: Any, within_s: float) -> bool:
        assert self.parts is not None
        return await self.parts.follower.reached(position, within_s)


class _Late:
    def __init__(self, plug: _Plug, port: str) -> None:
        self._plug = plug
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._plug.parts, self._port), name)


_plugs: deque[_Plug] = deque()  # building one costs as much as a short story


class Replicas:
    """Filled by `live`; `history` is for the checker."""

    def __init__(self, seed: int, shape: ReplicaShape) -> None:
        self.seed = seed
        self.shape = shape
        self.random = Random(f"replicas {seed}")
        self.clock = LoopClock()
        self.config = _config()
        self.sealer = Sealer({"k1": bytes(32)})
        self.ingress_type = Ingress
        self.ids = RandomIds(Random(f"ids {seed}"))
        self.faults = Faults(Random(f"faults {seed}"), rates=shape.rates, delay_s_max=0.3)  # type: ignore[arg-type]
        self.bus = MemoryBus(topics.ALL, clock=self.clock, faults=self.faults, session_s=10.0, rebalance_s=25.0)
        self.graves: list[AbstractAsyncContextManager[Any]] = []
        components = EDGE | SOURCES if seed % 5 == 0 else EDGE
        self.nodes = [Node(self, number, components) for number in range(REPLICAS)]  # type: ignore[arg-type]
        self.over = False
        self.failures = 0
        self.sent = 0
        self.history: list[Operation] = []
        self.peaceful = False

    def assemble(self, node: Node) -> Parts:
        return assemble(
            self.config,
            clock=node.clock,
            ids=node.ids,
            bus=GatedBus(self.bus, node.switch, self.graves),  # type: ignore[arg-type]
            store=node.store,
            queue=None,  # type: ignore[arg-type] - nobody here has webhooks
            sealer=self.sealer,
            provider_fetch=gated(self._provider, node.switch),
            webhook_fetch=self._provider,
        )

    async def _provider(self, method: str, url: str, **_: object) -> Answer:
        if method != "POST":
            raise NotSent("no profiles here")
        self.sent += 1
        return Answer(200, {}, msgspec.json.encode({"recipient_id": "1", "message_id": f"m_sent_{self.sent}"}))

    # --- the story

    async def live(self) -> None:
        chats = [Chat(number) for number in range(CONVERSATIONS)]
        page = channel()
        sealed = self.sealer.seal("token", place(topics.CHANNELS.name, page.id, "token"))
        await self._write([topics.CHANNELS.emit(page.id, msgspec.structs.replace(page, token=sealed))])
        for chat in chats:
            await self._receive(chat, 0)
        names = [chat.conversation_id for chat in chats]
        asks = {node.name: _ask(node) for node in self.nodes}
        clients = [
            Client(f"c{number}", asks, names, Random(f"client {number} of {self.seed}"), self.history)
            for number in range(CLIENTS)
        ]
        async with anyio.create_task_group() as running:
            for node in self.nodes:
                running.start_soon(node.live)
            with anyio.fail_after(PEACE_S):
                while not all(node.ready for node in self.nodes):
                    await anyio.sleep(0.05)
            async with anyio.create_task_group() as acting:
                for client in clients:
                    acting.start_soon(client.act, self.shape.steps)
                acting.start_soon(self._receive_more, chats)
                acting.start_soon(self._make_trouble)
            self.faults.calm()
            await self._read_finally(clients, names)
            self.over = True
            running.cancel_scope.cancel()
        for membership in self.graves:
            await membership.__aexit__(None, None, None)

    async def _receive_more(self, chats: list[Chat]) -> None:
        for number in range(1, self.shape.receives):
            await anyio.sleep(self.random.uniform(0.0, 1.0))
            await self._receive(self.random.choice(chats), number)

    async def _receive(self, chat: Chat, number: int) -> None:
        """A message of a contact, as a router would write it; until it is written."""
        fact, begin = chat.received(f"r{number}"), anyio.current_time()
        (position,) = await self._write([topics.EVENTS.emit(fact.conversation_id, fact)])
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

    async def _write(self, emits: Sequence[Emit]) -> Sequence[Position]:
        """Straight to the log, past its faults: how things are written that no client writes."""
        return await self.bus._storage.publish(emits)

    async def _make_trouble(self) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(self.shape.troubles):
                await anyio.sleep(self.random.uniform(0.0, 1.5))
                deed = self.random.choices(DEEDS, weights=WEIGHTS)[0]
                tasks.start_soon(deed, self, self.random.choice(self.nodes))

    async def _read_finally(self, clients: list[Client], conversations: list[str]) -> None:
        with anyio.move_on_after(PEACE_S) as limit:
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
        self.peaceful = not limit.cancelled_caught

    async def _settle(self) -> None:
        """Until the log has stood still for a while and both have all of it."""
        before: Mapping[Any, int] = {}
        while True:
            ends = await self.bus.ends(topics.FOLDED)
            lives = [node.life for node in self.nodes if node.ready and not node.switch.paused]
            if (
                before == ends
                and len(lives) == len(self.nodes)
                and all(
                    life.parts.follower.positions()[where] >= end
                    for life in lives
                    if life
                    for where, end in ends.items()
                )
            ):
                return
            before = ends
            await anyio.sleep(1.0)


def _ask(node: Node) -> Any:
    plug = _plugs.popleft() if len(_plugs) >= REPLICAS else _Plug("clients")
    _plugs.append(plug)

    async def ask(path: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Told:
        life = node.life
        if life is None or not life.parts.follower.caught_up:
            await anyio.sleep(0.05)  # the front has nobody to send it to
            return Told(0, {})
        plug.parts = life.parts
        sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **headers}
        answer = await life.call(
            lambda: call(plug.front, "POST", path, body=msgspec.json.encode(body), headers=sent.items())
        )
        if answer is None:
            return Told(0, {})
        document = answer.json() if answer.body and answer.status < 300 else None
        return Told(answer.status, answer.headers, document)

    return ask

"""Two replicas of the API, visitors of chat plugins, and thieves of their resume tokens, in virtual time."""

from random import Random

import anyio

from airy import topics
from airy.model import ids
from airy.model.entity import Channel
from airy.sources.chatplugin.spec import KIND, ChatPluginSection
from tests.kit.clock import SkewedClock
from tests.sim.cluster import EDGE, SimulatedNode
from tests.sim.replica_simulation import QUIESCENT_WITHIN_S, ReplicaSimulation, ReplicaSize, ask_of
from tests.sim.visitor_clients import Visitor
from tests.sim.visitor_history import SKEW_S, VisitorOperation, violations

COMPONENTS = EDGE | {"sources-chatplugin"}
SIZE = ReplicaSize(steps=12, receives=0, disruptions=2)
ROUNDS, ROUND_S = 8, 15.0  # of disruptions
VISITORS = 4
CHANNELS = 2


class VisitorSimulation(ReplicaSimulation):
    """`run` fills `visitor_history`."""

    def __init__(self, seed: int, size: ReplicaSize = SIZE) -> None:
        super().__init__(seed, size)
        self.config = self.config.with_sections(ChatPluginSection(enabled=True))
        self.nodes = [SimulatedNode(self, number, COMPONENTS) for number in range(len(self.nodes))]  # type: ignore[arg-type]
        for node in self.nodes:
            node.clock = SkewedClock(self.clock, round(self.random.uniform(-SKEW_S, SKEW_S) * 1000))
        self.visitor_history: list[VisitorOperation] = []

    async def run(self) -> None:
        channels = [
            Channel(id=ids.channel_id(KIND, name), source=KIND, source_channel_id=name, connected=True)
            for name in (f"shop-{number}" for number in range(CHANNELS))
        ]
        await self._write([topics.CHANNELS.record(each.id, each) for each in channels])
        asks = {node.name: ask_of(node, COMPONENTS) for node in self.nodes}
        visitors = [
            Visitor(
                f"v{number}",
                channels[number % CHANNELS].id,
                asks,
                Random(f"visitor {number} of {self.seed}"),
                self.visitor_history,
            )
            for number in range(VISITORS)
        ]
        async with self.running_nodes():
            async with anyio.create_task_group() as acting:
                for visitor in visitors:
                    acting.start_soon(visitor.act, self.size.steps)
                    acting.start_soon(visitor.steal, visitors, self.size.steps)
                acting.start_soon(self._disrupt)
            self.faults.clear()
            await self._look_finally(visitors)

    async def _disrupt(self) -> None:
        """Over all of the time in which visitors act."""
        async with anyio.create_task_group() as tasks:
            for _ in range(ROUNDS):
                tasks.start_soon(super()._disrupt)
                await anyio.sleep(ROUND_S)

    async def _look_finally(self, visitors: list[Visitor]) -> None:
        with anyio.move_on_after(QUIESCENT_WITHIN_S) as limit:
            await self._settle()
            for node in self.nodes:
                for visitor in visitors:
                    for visit in dict.fromkeys(visitor.visits):
                        while (await visitor.probe(node.name, visit, final=True)).status in {0, 429, 503}:
                            await anyio.sleep(0.2)
                    for conversation in {visit.conversation for visit in visitor.visits}:
                        while not await self._read_finally_of(node, visitor, conversation):
                            await anyio.sleep(0.2)
        self.quiescent = not limit.cancelled_caught

    async def _read_finally_of(self, node: SimulatedNode, visitor: Visitor, conversation: str) -> bool:
        """What agents see."""
        begin, body = anyio.current_time(), {"conversation_id": conversation, "page_size": 100}
        answer = await ask_of(node, COMPONENTS)("/messages.list", body, {})
        if answer.status not in {200, 404}:
            return False
        messages = answer.document["data"] if answer.status == 200 else []
        shown = tuple(each["content"]["text"] for each in reversed(messages))
        if messages or answer.status == 404:
            self.visitor_history.append(
                VisitorOperation(
                    kind="read",
                    begin=begin,
                    end=anyio.current_time(),
                    outcome="ok",
                    opened=conversation,
                    shown=shown,
                    final=True,
                )
            )
        return True

    def violations(self) -> list[str]:
        return violations(self.visitor_history)

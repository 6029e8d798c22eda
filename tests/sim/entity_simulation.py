"""Two replicas of the API whose clients write the same channel, tag, template, webhook and contact at once, in virtual
time.
"""

from random import Random
from typing import Any

import anyio
import msgspec

from airy import topics
from airy.app.services import Services
from airy.http.configured_tokens import caller_id
from airy.http_client import Response
from airy.model import ids
from airy.model.contact import KEY as CONTACTS_KEY
from tests.kit.builders import PAGE
from tests.sim.cluster import EDGE, SOURCES, SimulatedNode
from tests.sim.entity_clients import WEBHOOK_ID, EntityClient, EntityKind
from tests.sim.entity_history import EntityOperation, violations
from tests.sim.replica_simulation import QUIESCENT_WITHIN_S, ReplicaSimulation, ReplicaSize, ask_of

CLIENTS = 3
SIZE = ReplicaSize(steps=15, receives=0, disruptions=2)
OWNER = caller_id("clients")  # the caller of every client: ids of an idempotency key depend on it


class NoQueue:
    """No deliveries here: deleting a webhook drops nothing."""

    async def drop_webhook(self, _webhook_id: str) -> None:
        return

    async def forget_attempts(self, _webhook_id: str) -> None:
        return


class EntitySimulation(ReplicaSimulation):
    """`run` fills `entity_history`."""

    def __init__(self, seed: int, size: ReplicaSize = SIZE) -> None:
        super().__init__(seed, size)
        self.nodes = [SimulatedNode(self, number, EDGE) for number in range(len(self.nodes))]  # type: ignore[arg-type]
        self.entity_history: list[EntityOperation] = []
        self.kinds = [
            EntityKind("channel", topics.CHANNELS, ids.channel_id("facebook", PAGE)),
            EntityKind("tag", topics.TAGS, ids.derive(f"tag|{OWNER}|tag")),
            EntityKind("template", topics.TEMPLATES, ids.derive(f"template|{OWNER}|template")),
            EntityKind("webhook", topics.WEBHOOKS, WEBHOOK_ID),
            EntityKind("contact", topics.CONTACTS, ids.derive(f"contact|0|{OWNER}|contact"), CONTACTS_KEY),
        ]

    def build_services(self, node: SimulatedNode) -> Services:
        services = super().build_services(node)
        services.ports.queue = NoQueue()  # type: ignore[assignment]
        return services

    async def _provider(self, method: str, url: str, **_: object) -> Response:
        """The Graph API of connecting and disconnecting a page."""
        await anyio.sleep(self.random.uniform(0.0, 0.2))
        if method == "GET" and "oauth" not in url:
            return _json({"id": PAGE, "name": "page", "access_token": "long-lived"})
        return _json({"access_token": "long-lived", "success": True})

    async def run(self) -> None:
        asks = {node.name: ask_of(node, EDGE | SOURCES) for node in self.nodes}
        clients = [
            EntityClient(f"c{number}", asks, self.kinds, Random(f"client {number} of {self.seed}"), self.entity_history)
            for number in range(CLIENTS)
        ]
        async with self.running_nodes():
            for kind in self.kinds:
                await clients[0].create(self.nodes[0].name, kind)
            async with anyio.create_task_group() as acting:
                for client in clients:
                    acting.start_soon(client.act, self.size.steps)
                acting.start_soon(self._disrupt)
            self.faults.clear()
            await self._read_all(clients)
            await self._compare_changes()

    async def _read_all(self, clients: list[EntityClient]) -> None:
        with anyio.move_on_after(QUIESCENT_WITHIN_S) as limit:
            await self._settle()
            reader = clients[0]
            for other in clients[1:]:
                for entity, offset in other.positions.items():
                    reader.positions[entity] = max(offset, reader.positions.get(entity, -1))
            for node in self.nodes:
                for kind in self.kinds:
                    while not await reader.read(node.name, kind, final=True):
                        await anyio.sleep(0.2)
        self.quiescent = not limit.cancelled_caught

    async def _compare_changes(self) -> None:
        """Changes of every replica: one for each accepted write, numbered upwards."""
        self.change_violations: list[str] = []
        for kind in self.kinds[:2]:
            tp = kind.topic.topic_partitions[kind.partition]
            of_replicas = [
                [stored.change for stored in await node.store.changes(tp, after=(-1, -1), changes_max=1_000)]
                for node in self.nodes
            ]
            sequences = [change.sequence for change in of_replicas[0]]
            if any(changes != of_replicas[0] for changes in of_replicas):
                self.change_violations.append(f"{kind.name}: replicas made different changes")
            if sequences != sorted(set(sequences)):
                self.change_violations.append(f"{kind.name}: sequences {sequences}")
            writes = [each for each in self.entity_history if each.entity == kind.name and each.kind != "read"]
            accepted = [each for each in writes if each.outcome == "ok" and (each.kind != "delete" or not each.clears)]
            doubtful = [each for each in writes if each.outcome == "doubt"]
            if not len(accepted) <= len(sequences) <= len(accepted) + len(doubtful):
                self.change_violations.append(f"{kind.name}: {len(sequences)} changes of {len(accepted)} writes")

    def violations(self) -> list[str]:
        return [*violations(self.entity_history), *self.change_violations]


def _json(document: dict[str, Any]) -> Response:
    return Response(200, {}, msgspec.json.encode(document))

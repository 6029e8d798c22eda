"""A cluster of two versions: the older processes do not know one kind of fact. Then they are upgraded one by one.

The newer version is the code as it is; the older one lacks a kind in its record schema, so it meets records of that
kind exactly as a process meets records of a future version.
"""

import anyio

from airy import topics
from airy.bus.record import TopicPartition
from airy.bus.record_schema import Hold
from airy.store.sqlite import SqliteStore
from tests.sim.checkers import deliveries, records
from tests.sim.cluster import ClusterSimulation, ClusterSize, SimulatedNode

FOLD_S = 120.0
DOWN_S = 2.0  # of a process that is upgraded


class RollingUpgrade(ClusterSimulation):
    """`violations` are found before the upgrade; the checkers of the cluster apply after it."""

    def __init__(self, seed: int, size: ClusterSize, unknown_kind: str) -> None:
        super().__init__(seed, size)
        self._unknown_kind = unknown_kind
        known = topics.SCHEMAS[topics.EVENTS.name]
        older = {**topics.SCHEMAS, topics.EVENTS.name: known.without(unknown_kind)}
        self.older = self.nodes[: len(self.nodes) // 2]
        for node in self.older:
            node.schemas = older
            node.store = SqliteStore(":memory:", schemas=older)
        self.violations: list[str] = []
        self.holds: dict[str, list[Hold]] = {}  # by node

    async def _after_traffic(self) -> None:
        self.faults.clear()
        expected = await self._first_unknown_records()
        for node in self.older:
            self.violations += await self._check_older(node, expected)
        for node in self.older:
            await self._upgrade(node)

    async def _first_unknown_records(self) -> dict[TopicPartition, int]:
        """Per partition, the offset of the first record of the unknown kind."""
        first: dict[TopicPartition, int] = {}
        for record in await records(self):
            if record.header("kind") == self._unknown_kind:
                first.setdefault(record.topic_partition, record.offset)
        return first

    async def _check_older(self, node: SimulatedNode, expected: dict[TopicPartition, int]) -> list[str]:
        """It holds where it must and says so, and what it has folded is what the newer version folds."""
        with anyio.move_on_after(FOLD_S) as limit:
            while not (node.ready and node.process and expected.keys() == node.process.services.projector.held.keys()):
                await anyio.sleep(0.5)
        if limit.cancelled_caught or node.process is None:
            return [f"{node.name} does not hold every partition with records of an unknown kind, and no other"]
        held = node.process.services.projector.held
        self.holds[node.name] = list(held.values())
        found = [
            f"{node.name} holds {tp} at {hold.position.offset}, not {expected[tp]}"
            for tp, hold in held.items()
            if hold.position.offset != expected[tp]
        ]
        reference = SqliteStore(":memory:")
        await reference.open()
        newer = await deliveries(reference, await records(self))
        await reference.close()
        for tp in topics.EVENTS.topic_partitions:
            for stored in await node.store.changes(tp, after=(-1, -1), changes_max=100_000):
                change = stored.change
                if newer.get(change.id) != (change.lane, change.sequence, change.body):
                    found.append(f"{node.name} has another change {change.id} than the newer version")
        return found

    async def _upgrade(self, node: SimulatedNode) -> None:
        """Stop the process, and start the newer version over the same store."""
        node.stop(DOWN_S)
        while node.process is not None:
            await anyio.sleep(0.1)
        node.schemas = topics.SCHEMAS
        node.store._schemas = topics.SCHEMAS
        node.store._start()  # as a new process opens the file

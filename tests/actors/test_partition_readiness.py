"""Only assigned partitions that the local store has fully folded are ready."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from airy import topics
from airy.actors.partition_readiness import REFRESH_S, PartitionReadiness
from airy.actors.projector import Projector
from airy.bus.memory import Faults, MemoryBus
from airy.bus.record import TopicPartition
from airy.bus.record_schema import Hold
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.kit.harness import Harness


class UnansweringBus(MemoryBus):
    """A bus whose end offsets are unavailable while `unavailable` is set."""

    unavailable = False

    async def end_offsets(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        if self.unavailable:
            raise Unavailable("no leader")
        return await super().end_offsets(topics)


def tp_of(chat: Chat) -> TopicPartition:
    return TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))


async def test_a_partition_is_ready_once_the_store_has_folded_the_log_as_of_the_assignment() -> None:
    harness, chat = Harness(), Chat()
    behind = Projector(harness.bus, SqliteStore(":memory:"))  # never runs: a store that has nothing
    async with harness.open():
        await harness.append(chat.received("a"))
        abreast, lagging = (
            PartitionReadiness(harness.bus, one, [topics.EVENTS]) for one in (harness.projector, behind)
        )
        for readiness in (abreast, lagging):
            readiness.assigned([tp_of(chat)])

        assert await abreast.ready() == [tp_of(chat)]
        assert await lagging.ready() == []
        abreast.revoked([tp_of(chat)])
        assert await abreast.ready() == []


async def test_a_store_that_falls_behind_later_makes_its_partitions_unready_within_seconds() -> None:
    """For example after the process was suspended."""
    harness, chat = Harness(), Chat()
    positions: dict[TopicPartition, int] = {}

    class Stuck:
        held: Mapping[TopicPartition, Hold] = {}

        def positions(self) -> dict[TopicPartition, int]:
            return positions

    async with harness.open():
        readiness = PartitionReadiness(harness.bus, Stuck(), [topics.EVENTS])  # type: ignore[arg-type]
        readiness.assigned([tp_of(chat)])
        assert await readiness.ready() == [tp_of(chat)]
        await harness.append(chat.received("a"))
        await anyio.sleep(REFRESH_S)

        assert await readiness.ready() == []
        positions[tp_of(chat)] = 1
        assert await readiness.ready() == [tp_of(chat)]


async def test_without_end_offsets_known_partitions_stay_ready_and_new_ones_wait() -> None:
    harness, old, new = Harness(), Chat(0), Chat(1)
    harness.bus = UnansweringBus(topics.ALL, clock=harness.clock, faults=Faults())
    harness.projector = Projector(harness.bus, harness.store)
    assert tp_of(old) != tp_of(new), "choose other chats"
    async with harness.open():
        readiness = PartitionReadiness(harness.bus, harness.projector, [topics.EVENTS])
        readiness.assigned([tp_of(old)])
        assert await readiness.ready() == [tp_of(old)]
        harness.bus.unavailable = True
        readiness.assigned([tp_of(new)])
        await anyio.sleep(REFRESH_S)

        assert await readiness.ready() == [tp_of(old)]
        harness.bus.unavailable = False
        assert await readiness.ready() == sorted([tp_of(old), tp_of(new)])


async def test_the_share_is_the_fraction_of_assigned_partitions() -> None:
    harness = Harness()
    readiness = PartitionReadiness(harness.bus, harness.projector, [topics.EVENTS])
    assert readiness.share == 0
    readiness.assigned(topics.EVENTS.topic_partitions[:4])

    assert readiness.share == 4 / topics.EVENT_PARTITIONS

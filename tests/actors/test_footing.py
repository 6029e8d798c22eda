"""Where a member of a group stands: it acts on partitions its own store is abreast of the log in, and on no others."""

from collections.abc import Sequence
from typing import Any

import anyio

from airy import topics
from airy.actors.follower import Follower
from airy.actors.footing import LOOK_S, Footing
from airy.bus.faults import Faults
from airy.bus.memory import MemoryBus
from airy.bus.record import TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.kit.house import House


class Deaf(MemoryBus):
    """Cannot say where the log ends, while it is told so."""

    unavailable = False

    async def ends(self, topics: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
        if self.unavailable:
            raise Unavailable("no leader")
        return await super().ends(topics)


def where(chat: Chat) -> TopicPartition:
    return TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(chat.conversation_id))


async def test_a_partition_is_firm_once_our_store_has_what_was_in_the_log_when_it_became_ours() -> None:
    house, chat = House(), Chat()
    behind = Follower(house.bus, SqliteStore(":memory:"))  # never runs: a store that has nothing
    async with house.open():
        await house.tell(chat.received("a"))
        abreast, lagging = (Footing(house.bus, one, topics.EVENTS) for one in (house.follower, behind))
        for footing in (abreast, lagging):
            footing.assigned([where(chat)])

        assert await abreast.firm() == [where(chat).partition]
        assert await lagging.firm() == []
        abreast.revoked([where(chat)])
        assert await abreast.firm() == []


async def test_who_fell_behind_later_notices_within_seconds() -> None:
    """As a process does that was stopped for a while and goes on."""
    house, chat = House(), Chat()
    positions: dict[TopicPartition, int] = {}

    class Stuck:
        def positions(self) -> dict[TopicPartition, int]:
            return positions

    async with house.open():
        footing = Footing(house.bus, Stuck(), topics.EVENTS)  # type: ignore[arg-type]
        footing.assigned([where(chat)])
        assert await footing.firm() == [where(chat).partition]
        await house.tell(chat.received("a"))
        await anyio.sleep(LOOK_S)

        assert await footing.firm() == []
        positions[where(chat)] = 1
        assert await footing.firm() == [where(chat).partition]


async def test_while_the_log_cannot_be_asked_what_was_known_holds_and_what_is_new_waits() -> None:
    house, old, new = House(), Chat(0), Chat(1)
    house.bus = Deaf(topics.ALL, clock=house.clock, faults=Faults())
    house.follower = Follower(house.bus, house.store)
    assert where(old) != where(new), "choose other chats"
    async with house.open():
        footing = Footing(house.bus, house.follower, topics.EVENTS)
        footing.assigned([where(old)])
        assert await footing.firm() == [where(old).partition]
        house.bus.unavailable = True
        footing.assigned([where(new)])
        await anyio.sleep(LOOK_S)

        assert await footing.firm() == [where(old).partition]
        house.bus.unavailable = False
        assert await footing.firm() == sorted([where(old).partition, where(new).partition])


async def test_the_share_is_that_of_the_partitions() -> None:
    house = House()
    footing = Footing(house.bus, house.follower, topics.EVENTS)
    assert footing.share == 0
    footing.assigned(topics.EVENTS.where[:4])

    assert footing.share == 4 / topics.EVENT_PARTITIONS

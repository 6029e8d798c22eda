"""The janitor forgets changes nobody needs any more, and no others."""

import anyio

from airy import topics
from airy.app.janitor import Janitor
from airy.bus.record import TopicPartition
from tests.kit.builders import Chat
from tests.kit.house import House

GROUP = "reader"


async def changes_held(house: House) -> int:
    return (await house.store.counts())["changes"]


async def test_where_nobody_reads_changes_they_are_forgotten() -> None:
    house = House()
    async with house.open(janitor=lambda: Janitor(house.bus, house.store, ())):
        await house.connect()
        await house.tell(Chat().received("hello"))
        await anyio.sleep(30)

        assert await changes_held(house) == 0


async def test_changes_stay_until_their_slowest_reader_has_committed_them() -> None:
    house = House()
    async with house.open(janitor=lambda: Janitor(house.bus, house.store, (GROUP,))):
        await house.connect()
        fact = Chat().received("hello")
        await house.tell(fact)
        await anyio.sleep(30)
        assert await changes_held(house) > 0

        where = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(fact.conversation_id))
        async with house.bus.subscribe([topics.EVENTS, topics.CHANNELS], group=GROUP) as reader:
            await reader.fetch(records_max=0, wait_s=0.1)
            ends = await house.bus.ends([topics.EVENTS, topics.CHANNELS])
            await reader.commit({each: end for each, end in ends.items() if each != where})
            await anyio.sleep(30)
            kept = await house.store.changes(where, after=(-1, -1), changes_max=100)
            await reader.commit({where: ends[where]})
            await anyio.sleep(30)

        assert kept
        assert not await house.store.changes(where, after=(-1, -1), changes_max=100)


async def test_the_store_is_checkpointed_every_period() -> None:
    house = House()
    times: list[float] = []

    async def checkpoint() -> None:
        times.append(anyio.current_time())

    async with house.open(janitor=lambda: Janitor(house.bus, house.store, (), checkpoint=checkpoint, period_s=5.0)):
        await anyio.sleep(26)

        assert len(times) == 5

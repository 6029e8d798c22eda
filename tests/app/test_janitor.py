"""The janitor forgets changes nobody needs any more, and no others."""

from types import SimpleNamespace

import anyio

from airy import topics
from airy.app.janitor import Janitor
from airy.app.plan import _janitor
from airy.bus.record import TopicPartition
from airy.config import Config
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


async def test_a_process_that_only_serves_keeps_what_a_publisher_elsewhere_has_not_committed() -> None:
    """Its store may be started over by a publisher later."""
    house = House()
    parts = SimpleNamespace(bus=house.bus, store=house.store, config=Config())
    async with house.open(janitor=lambda: _janitor(parts, {"api-communication"})):  # type: ignore[arg-type]
        await house.connect()
        await house.tell(Chat().received("hello"))
        await anyio.sleep(30)

        assert await changes_held(house) > 0
        assert await house.store.forgotten() == {}

"""The change pruner deletes changes below the low-water mark of their readers, and no others."""

from types import SimpleNamespace

import anyio

from airy import topics
from airy.actors.change_pruner import ChangePruner
from airy.app.tree import _change_pruner
from airy.bus.record import TopicPartition
from airy.config import Config
from tests.kit.builders import Chat
from tests.kit.harness import Harness

GROUP = "reader"


async def changes_held(harness: Harness) -> int:
    return (await harness.store.counts())["changes"]


async def test_changes_without_readers_are_pruned() -> None:
    harness = Harness()
    async with harness.open(pruner=lambda: ChangePruner(harness.bus, harness.store, ())):
        await harness.connect()
        await harness.append(Chat().received("hello"))
        await anyio.sleep(30)

        assert await changes_held(harness) == 0


async def test_changes_stay_until_their_slowest_reader_has_committed_them() -> None:
    harness = Harness()
    async with harness.open(pruner=lambda: ChangePruner(harness.bus, harness.store, (GROUP,))):
        await harness.connect()
        fact = Chat().received("hello")
        await harness.append(fact)
        await anyio.sleep(30)
        assert await changes_held(harness) > 0

        tp = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(fact.conversation_id))
        async with harness.bus.subscribe([topics.EVENTS, topics.CHANNELS], group=GROUP) as reader:
            await reader.fetch(records_max=0, wait_s=0.1)
            ends = await harness.bus.end_offsets([topics.EVENTS, topics.CHANNELS])
            await reader.commit({each: end for each, end in ends.items() if each != tp})
            await anyio.sleep(30)
            kept = await harness.store.changes(tp, after=(-1, -1), changes_max=100)
            await reader.commit({tp: ends[tp]})
            await anyio.sleep(30)

        assert kept
        assert not await harness.store.changes(tp, after=(-1, -1), changes_max=100)


async def test_an_api_process_keeps_changes_a_publisher_elsewhere_has_not_committed() -> None:
    """A publisher may be started over its store later."""
    harness = Harness()
    services = SimpleNamespace(ports=harness, config=Config())
    async with harness.open(pruner=lambda: _change_pruner(services, {"api-communication"})):  # type: ignore[arg-type]
        await harness.connect()
        await harness.append(Chat().received("hello"))
        await anyio.sleep(30)

        assert await changes_held(harness) > 0
        assert await harness.store.pruned_below() == {}

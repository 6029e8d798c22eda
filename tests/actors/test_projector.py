"""The projector: folding, waits, resuming, and rebuilding for another log."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from airy import topics
from airy.actors.projector import DISK_RETRY_S, Projector
from airy.bus.record import Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import DiskFull, Unavailable
from airy.model.entity import Webhook
from airy.store.api import Applied
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.kit.harness import Harness


class FullStore(SqliteStore):
    """On a disk without space."""

    full = True

    async def apply(self, records: Sequence[Record]) -> Applied:
        if self.full:
            raise DiskFull("no space left")
        return await super().apply(records)


async def test_waiting_for_a_position_returns_once_its_effect_is_stored() -> None:
    harness = Harness()
    async with harness.open():
        chat = Chat()
        fact = chat.received("hello")
        (position,) = await harness.bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])

        assert await harness.projector.wait_for_position(position, 5.0)
        assert await harness.store.message(fact.message_id) is not None


async def test_a_full_disk_delays_the_fold_and_restarts_no_actor_that_starts_after_it() -> None:
    harness = Harness()
    harness.store = store = FullStore(":memory:")
    harness.projector = Projector(harness.bus, store)
    async with harness.open():
        fact = Chat().received("hello")
        (position,) = await harness.bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        await anyio.sleep(1.5 * DISK_RETRY_S)
        assert harness.projector.delayed == "no space left"
        store.full = False

        assert await harness.projector.wait_for_position(position, 5.0)
        assert harness.projector.delayed == ""
        assert not [line for line in harness.logged.entries if line["event"] == "actor.dependency_unavailable"]


async def test_waiting_for_a_position_that_is_never_written_times_out() -> None:
    harness = Harness()
    async with harness.open():
        before = anyio.current_time()

        assert not await harness.projector.wait_for_position(Position(topics.EVENTS.name, 0, 10_000), 7.0)
        assert 7.0 <= anyio.current_time() - before < 8.0
        assert not any(harness.projector._waiting.values())


async def test_a_wait_begun_before_the_start_ends_for_a_position_the_store_already_holds() -> None:
    harness = Harness()
    async with harness.open():
        fact = Chat().received("before the restart")
        (position,) = await harness.bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])
        assert await harness.projector.wait_for_position(position, 5.0)
        second = Projector(harness.bus, harness.store)
        outcome: list[bool] = []

        async def ask() -> None:
            outcome.append(await second.wait_for_position(position, 60.0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(second.run, _context(harness))
            with anyio.fail_after(10):
                while not outcome:
                    await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()

        assert outcome == [True]


async def test_an_undecodable_fact_is_dead_lettered_and_the_next_one_is_folded() -> None:
    harness = Harness()
    async with harness.open():
        fact = Chat().received("fine")
        good = topics.EVENTS.record(fact.conversation_id, fact)
        bad = type(good)(good.topic, good.partition, good.key, b'{"kind":"nonsense"}')
        positions = await harness.bus.publish([bad, good])
        assert await harness.projector.wait_for_position(positions[-1], 5.0)

        assert await harness.store.message(fact.message_id) is not None
        dead = topics.dead_letters(topics.EVENTS.name)
        ends = await harness.bus.end_offsets([dead])
        assert sum(ends.values()) == 1


async def test_a_store_of_another_log_is_rebuilt_from_this_one(tmp_path: Path) -> None:
    elsewhere, harness = Harness(), Harness()
    elsewhere.store = SqliteStore(tmp_path / "store.db")
    elsewhere.projector = Projector(elsewhere.bus, elsewhere.store)
    async with elsewhere.open():
        for number in range(20):
            await elsewhere.append(Chat().received(f"of another log {number}"))
    harness.store = SqliteStore(tmp_path / "store.db")
    harness.projector = Projector(harness.bus, harness.store)
    async with harness.open():
        fact = Chat(7).received("of this log")
        await harness.append(fact)

        assert (await harness.store.counts())["messages"] == 1
        assert await harness.store.message(fact.message_id) is not None


async def test_a_store_of_another_log_of_the_same_length_is_rebuilt_before_it_folds_anything() -> None:
    """A recreated cluster that has grown since: no position is out of range."""
    elsewhere, harness = Harness(), Harness()
    async with elsewhere.open(), harness.open():
        await elsewhere.append(*(Chat().received(f"of another log {number}") for number in range(5)))
        await harness.append(*(Chat().received(f"of this log {number}") for number in range(5)))  # the same partition
        await harness.append(*(Chat(number).received("in others") for number in range(1, 20)))
        before = await elsewhere.store.digest()
        second, context = Projector(harness.bus, elsewhere.store), _context(harness)
        with (
            anyio.fail_after(60),
            pytest.raises(Unavailable, match=r"events/\d+/4 differs .*: this is another log"),
        ):
            await second.run(context)
        assert not second.caught_up
        assert await elsewhere.store.digest() == before
        await _runs(second, context)

        assert second.caught_up
        assert await elsewhere.store.digest() == await harness.store.digest()


async def test_a_store_of_this_log_resumes_at_its_position_in_each_partition() -> None:
    harness, behind, read = Harness(), SqliteStore(":memory:"), list[Record]()
    tp = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(Chat().conversation_id))
    await behind.open()
    apply = behind.apply

    async def applied(records: Sequence[Record]) -> Applied:
        read.extend(records)
        return await apply(records)

    behind.apply = applied  # type: ignore[method-assign]
    async with harness.open():
        await harness.append(*(Chat(number).received("elsewhere, and before") for number in range(1, 20)))
        await harness.append(*(Chat().received(text) for text in "abc"))
        async with harness.bus.tail({tp: 0}) as tail:
            await behind.apply(await tail.fetch(records_max=100, wait_s=1.0))
        await _runs(Projector(harness.bus, behind), _context(harness))

        assert len(read) == 22, "each once"
        assert await behind.digest() == await harness.store.digest()
    await behind.close()


async def test_progress_wakes_every_waiting_caller() -> None:
    harness = Harness()
    async with harness.open():
        version = harness.projector.version
        seen: list[int] = []

        async def look() -> None:
            seen.append(await harness.projector.wait_for_progress(version, 60.0))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(look)
            await harness.append(Chat().received("news"))

        assert all(later > version for later in seen)
        assert len(seen) == 3


async def _runs(projector: Projector, context: Any) -> None:
    """Run for 10 s: long enough to fold everything."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(projector.run, context)
        await anyio.sleep(10)
        tasks.cancel_scope.cancel()


def _context(harness: Harness) -> object:
    from random import Random

    from airy.actors.runtime import Context

    return Context("second", clock=harness.clock, random=Random(0))


async def test_wait_until_current_waits_for_the_end_of_the_log_at_the_time_of_the_call() -> None:
    harness, chat = Harness(), Chat()
    behind = Projector(harness.bus, harness.store)  # does not run
    async with harness.open():
        assert await behind.wait_until_current([topics.TAGS], 1.0)  # there is nothing in it
        fact = chat.received("a")
        await harness.bus.publish([topics.EVENTS.record(fact.conversation_id, fact)])

        assert not await behind.wait_until_current([topics.EVENTS], 1.0)
        assert await harness.projector.wait_until_current([topics.EVENTS], 5.0)
        assert await harness.store.message(fact.message_id) is not None


async def test_rebuild_starts_with_an_empty_store_and_folds_everything_again() -> None:
    harness, chat = Harness(), Chat()
    async with harness.open():
        fact = chat.received("a")
        await harness.connect()
        await harness.append(fact)
        before = await harness.store.digest(changes=True)
        await harness.store.prune_changes(dict.fromkeys(topics.EVENTS.topic_partitions, 100))
        assert await harness.store.digest(changes=True) != before
        harness.projector.rebuild("requested by the test")
        await anyio.sleep(30)

        assert harness.projector.caught_up
        assert await harness.store.pruned_below() == {}
        assert await harness.store.digest(changes=True) == before


async def test_a_store_with_a_row_that_cannot_be_read_is_rebuilt_at_once() -> None:
    """A reader that skipped the row would drop the deliveries to its webhook."""
    harness = Harness()
    async with harness.open():
        webhook = Webhook(id=harness.ids.new(), url="https://hook.example.org/", status="Subscribed")
        await harness.bus.publish([topics.WEBHOOKS.record(webhook.id, webhook)])
        await anyio.sleep(1)
        (known,) = await harness.store.webhooks()
        harness.store._file.write.execute("UPDATE entities SET body = substr(body, 2)")
        with pytest.raises(Unavailable, match="cannot be read"):
            await harness.store.webhook(webhook.id)
        await anyio.sleep(30)

        assert await harness.store.webhooks() == [known]
        assert harness.projector.caught_up


async def test_an_end_offset_that_is_briefly_too_low_causes_no_rebuild() -> None:
    """A new partition leader may report that until it learns the old one's end offset."""
    harness, chat = Harness(), Chat()
    async with harness.open():
        await harness.append(chat.received("a"))
        wiped: list[str] = []
        ends, asked = harness.bus.end_offsets, 0

        async def short(of: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
            nonlocal asked
            asked += 1
            return dict.fromkeys(await ends(of), 0) if asked == 1 else await ends(of)

        async def wipe() -> None:
            wiped.append("wiped")

        harness.bus.end_offsets = short  # type: ignore[method-assign]
        harness.store.wipe = wipe  # type: ignore[method-assign]
        second = Projector(harness.bus, harness.store)
        await _runs(second, _context(harness))

        assert second.caught_up
        assert wiped == []


async def test_conversations_that_are_read_are_reported_once_and_not_while_the_store_is_rebuilt() -> None:
    harness, chat, reported = Harness(), Chat(), []
    async with harness.open():
        with harness.projector.watching_reads(reported.extend):
            await harness.append(chat.received("a"), chat.read(), chat.read(), chat.received("b"))
        assert reported == [chat.conversation_id]  # the second read changed nothing
        await harness.store.wipe()
    harness.projector = Projector(harness.bus, harness.store)
    with harness.projector.watching_reads(reported.extend):
        async with harness.open():
            await harness.append(chat.received("c"))
            assert reported == [chat.conversation_id]
            await harness.append(chat.read())
    assert reported == [chat.conversation_id] * 2

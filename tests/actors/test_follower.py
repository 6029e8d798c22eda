"""The follower: it folds what comes, says when, and finds its place again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from airy import topics
from airy.actors.follower import Follower
from airy.bus.record import Position, Record, TopicPartition
from airy.bus.topic import Topic
from airy.errors import Unavailable
from airy.store.api import Applied
from airy.store.sqlite import SqliteStore
from tests.kit.builders import Chat
from tests.kit.house import House


async def test_whoever_waits_for_a_position_gets_its_effect() -> None:
    house = House()
    async with house.open():
        chat = Chat()
        fact = chat.received("hello")
        (position,) = await house.bus.publish([topics.EVENTS.emit(fact.conversation_id, fact)])

        assert await house.follower.reached(position, 5.0)
        assert await house.store.message(fact.message_id) is not None


async def test_waiting_for_what_never_comes_ends_in_time() -> None:
    house = House()
    async with house.open():
        before = anyio.current_time()

        assert not await house.follower.reached(Position(topics.EVENTS.name, 0, 10_000), 7.0)
        assert 7.0 <= anyio.current_time() - before < 8.0
        assert not any(house.follower._waiters.values())


async def test_what_the_store_holds_already_is_reached_by_who_asked_before_the_start() -> None:
    house = House()
    async with house.open():
        fact = Chat().received("before the restart")
        (position,) = await house.bus.publish([topics.EVENTS.emit(fact.conversation_id, fact)])
        assert await house.follower.reached(position, 5.0)
        second = Follower(house.bus, house.store)
        outcome: list[bool] = []

        async def ask() -> None:
            outcome.append(await second.reached(position, 60.0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(second.run, _context(house))
            with anyio.fail_after(10):
                while not outcome:
                    await anyio.sleep(0.1)
            tasks.cancel_scope.cancel()

        assert outcome == [True]


async def test_an_unreadable_fact_is_a_dead_letter_and_the_next_one_is_folded() -> None:
    house = House()
    async with house.open():
        fact = Chat().received("fine")
        good = topics.EVENTS.emit(fact.conversation_id, fact)
        bad = type(good)(good.topic, good.partition, good.key, b'{"kind":"nonsense"}')
        positions = await house.bus.publish([bad, good])
        assert await house.follower.reached(positions[-1], 5.0)

        assert await house.store.message(fact.message_id) is not None
        dead = topics.dead_letters(topics.EVENTS.name)
        ends = await house.bus.ends([dead])
        assert sum(ends.values()) == 1


async def test_a_store_of_another_log_is_built_again_from_this_one(tmp_path: Path) -> None:
    elsewhere, house = House(), House()
    elsewhere.store = SqliteStore(tmp_path / "store.db")
    elsewhere.follower = Follower(elsewhere.bus, elsewhere.store)
    async with elsewhere.open():
        for number in range(20):
            await elsewhere.tell(Chat().received(f"of another log {number}"))
    house.store = SqliteStore(tmp_path / "store.db")
    house.follower = Follower(house.bus, house.store)
    async with house.open():
        fact = Chat(7).received("of this log")
        await house.tell(fact)

        assert (await house.store.counts())["messages"] == 1
        assert await house.store.message(fact.message_id) is not None


async def test_a_store_of_another_log_of_the_same_length_is_built_again_and_takes_nothing_before() -> None:
    """A cluster that was made anew and has grown since: no position is out of its range."""
    elsewhere, house = House(), House()
    async with elsewhere.open(), house.open():
        await elsewhere.tell(*(Chat().received(f"of another log {number}") for number in range(5)))
        await house.tell(*(Chat().received(f"of this log {number}") for number in range(5)))  # the same partition
        await house.tell(*(Chat(number).received("in others") for number in range(1, 20)))
        before = await elsewhere.store.digest()
        second, context = Follower(house.bus, elsewhere.store), _context(house)
        with (
            anyio.fail_after(60),
            pytest.raises(Unavailable, match=r"events/\d+/4 is not what was folded: this is another log"),
        ):
            await second.run(context)
        assert not second.caught_up
        assert await elsewhere.store.digest() == before
        await _runs(second, context)

        assert second.caught_up
        assert await elsewhere.store.digest() == await house.store.digest()


async def test_a_store_of_this_log_goes_on_where_it_was_in_each_partition() -> None:
    house, behind, read = House(), SqliteStore(":memory:"), list[Record]()
    where = TopicPartition(topics.EVENTS.name, topics.EVENTS.partition(Chat().conversation_id))
    await behind.open()
    apply = behind.apply

    async def applied(records: Sequence[Record]) -> Applied:
        read.extend(records)
        return await apply(records)

    behind.apply = applied  # type: ignore[method-assign]
    async with house.open():
        await house.tell(*(Chat(number).received("elsewhere, and before") for number in range(1, 20)))
        await house.tell(*(Chat().received(text) for text in "abc"))
        async with house.bus.tail({where: 0}) as tail:
            await behind.apply(await tail.fetch(records_max=100, wait_s=1.0))
        await _runs(Follower(house.bus, behind), _context(house))

        assert len(read) == 22, "each once"
        assert await behind.digest() == await house.store.digest()
    await behind.close()


async def test_progress_is_told_to_everybody_who_waits() -> None:
    house = House()
    async with house.open():
        version = house.follower.version
        seen: list[int] = []

        async def look() -> None:
            seen.append(await house.follower.progressed(version, 60.0))

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(look)
            await house.tell(Chat().received("news"))

        assert all(later > version for later in seen)
        assert len(seen) == 3


async def _runs(follower: Follower, context: Any) -> None:
    """For a while: long enough to fold what there is."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.run, context)
        await anyio.sleep(10)
        tasks.cancel_scope.cancel()


def _context(house: House) -> object:
    from random import Random

    from airy.actors.runtime import Context

    return Context("second", clock=house.clock, random=Random(0))


async def test_current_waits_for_what_was_in_the_log_and_for_nothing_later() -> None:
    house, chat = House(), Chat()
    behind = Follower(house.bus, house.store)  # does not run
    async with house.open():
        assert await behind.current([topics.TAGS], 1.0)  # there is nothing in it
        fact = chat.received("a")
        await house.bus.publish([topics.EVENTS.emit(fact.conversation_id, fact)])

        assert not await behind.current([topics.EVENTS], 1.0)
        assert await house.follower.current([topics.EVENTS], 5.0)
        assert await house.store.message(fact.message_id) is not None


async def test_asked_to_rebuild_it_starts_over_with_an_empty_store_and_has_everything_again() -> None:
    house, chat = House(), Chat()
    async with house.open():
        fact = chat.received("a")
        await house.connect()
        await house.tell(fact)
        before = await house.store.digest(changes=True)
        await house.store.forget_changes(dict.fromkeys(topics.EVENTS.where, 100))
        assert await house.store.digest(changes=True) != before
        house.follower.rebuild("a test wants it")
        await anyio.sleep(30)

        assert house.follower.caught_up
        assert await house.store.forgotten() == {}
        assert await house.store.digest(changes=True) == before


async def test_a_log_that_for_a_moment_says_it_is_shorter_costs_no_rebuild() -> None:
    """As a partition's new leader may, until it has heard how far the old one had got."""
    house, chat = House(), Chat()
    async with house.open():
        await house.tell(chat.received("a"))
        wiped: list[str] = []
        ends, asked = house.bus.ends, 0

        async def short(of: Sequence[Topic[Any]]) -> dict[TopicPartition, int]:
            nonlocal asked
            asked += 1
            return dict.fromkeys(await ends(of), 0) if asked == 1 else await ends(of)

        async def wipe() -> None:
            wiped.append("wiped")

        house.bus.ends = short  # type: ignore[method-assign]
        house.store.wipe = wipe  # type: ignore[method-assign]
        second = Follower(house.bus, house.store)
        await _runs(second, _context(house))

        assert second.caught_up
        assert wiped == []

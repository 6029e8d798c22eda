"""The lanes of the producer, over a client that does what the test says: order, offsets, and who is told what."""

import asyncio  # noqa: TID251 - the client is asyncio's
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from aiokafka import errors
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from airy.bus.api import RecordTooLarge
from airy.bus.kafka.failure import meaning
from airy.bus.kafka.lanes import Lane, Part, Together
from airy.bus.kafka.producer import Producer
from airy.bus.kafka.room import Room
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import Emit, TopicPartition
from airy.errors import Unavailable
from tests.kit.world import asyncio_world

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_world()], ids=["asyncio"])

WHERE = TopicPartition("facts", 0)


class Client:
    """A log that is written when the test says so. A batch takes so many records."""

    def __init__(self, batch_records: int = 3) -> None:
        self.batch_records = batch_records
        self.log: list[bytes] = []
        self.under_way: list[tuple[list[bytes], asyncio.Future[Any]]] = []
        self.sent: list[list[bytes]] = []
        self.client = SimpleNamespace(cluster=SimpleNamespace(partitions_for_topic=lambda _: {0}))

    def create_batch(self) -> Any:
        values: list[bytes] = []

        def append(*, timestamp: int | None, key: bytes, value: bytes, headers: Sequence[Any]) -> object | None:
            if len(values) >= self.batch_records:
                return None
            values.append(value)
            return object()

        return SimpleNamespace(append=append, values=values)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        assert topic == WHERE.topic
        future = asyncio.get_running_loop().create_future()
        self.under_way.append((batch.values, future))
        self.sent.append(batch.values)
        return future

    def write(self) -> None:
        """What is under way is durable."""
        ((values, future),) = self.under_way  # never more than one
        self.under_way.clear()
        future.set_result(SimpleNamespace(offset=len(self.log)))
        self.log += values

    def refuse(self, error: BaseException) -> None:
        ((_, future),) = self.under_way
        self.under_way.clear()
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)


class Place:
    """A lane and the calls that use it."""

    def __init__(self, batch_records: int = 3, broken: "asyncio.Future[None] | None" = None) -> None:
        self.client = Client(batch_records)
        self.broken: asyncio.Future[None] = broken or asyncio.get_running_loop().create_future()
        settings = KafkaSettings(bootstrap=("nowhere",))
        self.lane = Lane(self.client, WHERE, settings, self.broken)  # type: ignore[arg-type]

    def call(self, *values: int, alone: bool = False) -> Part:
        emits = [Emit(*WHERE, b"key", b"%d" % value) for value in values]
        part = Part(emits, asyncio.get_running_loop().create_future(), alone=alone)
        self.lane.add(part)
        return part

    async def settle(self) -> None:
        for _ in range(10):
            await checkpoint()


def outcome(part: Part) -> None:
    """What its caller is told."""
    error = part.done.result()
    if error is not None:
        raise error


def values(place: Place) -> list[int]:
    return [int(value) for value in place.client.log]


async def test_a_call_is_done_when_the_last_of_it_is_durable() -> None:
    place = Place()
    part = place.call(0, 1, 2, 3)
    await place.settle()
    assert not part.done.done()
    place.client.write()
    await place.settle()
    assert not part.done.done()
    place.client.write()
    await place.settle()
    outcome(part)
    assert part.offsets == [0, 1, 2, 3]


@given(calls=st.lists(st.tuples(st.integers(1, 7), st.booleans(), st.integers(0, 3))), batch_records=st.integers(1, 5))
async def test_the_order_is_that_of_the_calls(calls: list[tuple[int, bool, int]], batch_records: int) -> None:
    """However they fall into batches, and each is told the offsets of its own records."""
    place = Place(batch_records)
    parts, number = [], 0
    for size, alone, writes in calls:
        parts.append((number, place.call(*range(number, number + size), alone=alone)))
        number += size
        for _ in range(writes):
            await place.settle()
            if place.client.under_way:
                place.client.write()
    for _ in range(number + 1):
        await place.settle()
        if place.client.under_way:
            place.client.write()
    assert values(place) == list(range(number))
    for begin, part in parts:
        outcome(part)
        assert part.offsets == list(range(begin, begin + len(part.emits)))
        batches = [batch for batch in place.client.sent if b"%d" % begin in batch]
        if part.alone:
            assert {int(value) for value in batches[0]} <= set(range(begin, begin + len(part.emits)))


async def test_what_waits_goes_in_one_batch() -> None:
    place = Place(batch_records=100)
    for number in range(10):
        place.call(number)
        await place.settle()
    place.client.write()
    await place.settle()
    assert [len(batch) for batch in place.client.sent] == [1, 9]


async def test_a_call_given_up_is_not_sent_any_further() -> None:
    place = Place()
    begun, other = place.call(0, 1, 2, 3, 4), place.call(5)
    await place.settle()
    place.lane.give_up(begun)
    place.client.write()
    await place.settle()
    place.client.write()
    await place.settle()
    assert values(place) == [0, 1, 2, 5]
    assert other.offsets == [3]


async def test_a_failed_batch_fails_who_is_in_it_and_breaks_the_client() -> None:
    """Those behind it were not written, and are not any more: the client's numbering has a hole."""
    place = Place()
    failed = place.call(0, 1)
    await place.settle()
    behind = place.call(2)
    place.client.refuse(errors.CorruptRecordException())
    await place.settle()
    assert place.broken.done()
    for part, words in ((failed, "CorruptRecord"), (behind, "not written")):
        with pytest.raises(Unavailable, match=words):
            outcome(part)
    assert place.client.under_way == []


async def test_who_is_refused_with_others_is_not_blamed() -> None:
    place = Place()
    place.call(0)
    await place.settle()
    together = [place.call(1), place.call(2)]
    place.client.write()
    await place.settle()
    place.client.refuse(errors.MessageSizeTooLargeError())
    await place.settle()
    for part in together:
        with pytest.raises(Together):
            outcome(part)


async def test_who_is_refused_alone_is() -> None:
    place = Place()
    part = place.call(0, alone=True)
    place.call(1)
    await place.settle()
    place.client.refuse(errors.MessageSizeTooLargeError())
    await place.settle()
    with pytest.raises(RecordTooLarge):
        outcome(part)


async def test_a_batch_the_client_cancels_by_itself_has_failed() -> None:
    place = Place()
    part = place.call(0)
    await place.settle()
    place.client.refuse(asyncio.CancelledError())
    await place.settle()
    with pytest.raises(Unavailable, match="given up"):
        outcome(part)


async def test_when_the_client_is_given_up_what_is_under_way_may_have_been_written() -> None:
    place = Place()
    part = place.call(0)
    await place.settle()
    place.broken.set_result(None)
    await place.settle()
    with pytest.raises(Unavailable, match="may have been written"):
        outcome(part)


async def test_what_is_not_the_clients_error_stays_a_bug() -> None:
    assert isinstance(meaning(KeyError("x"), "writing"), KeyError)
    assert isinstance(meaning(asyncio.CancelledError(), "writing"), Unavailable)


async def test_a_bug_while_a_batch_is_filled_is_told_to_everybody_in_it_and_behind_it() -> None:
    place = Place()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # the lane's task crashes, as it should
    calls = [place.call(1), place.call(2)]
    calls[1].emits = [Emit(*WHERE, b"key", b"2", headers=None)]  # type: ignore[arg-type]
    await place.settle()
    for call in calls:
        with pytest.raises(TypeError):
            outcome(call)


async def test_a_refusal_in_one_partition_is_not_hidden_by_what_it_breaks_in_another() -> None:
    """Else the call that caused it would be repeated for ever, and break its neighbours each time."""
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    places = {TopicPartition("facts", number): Place(broken=broken) for number in (0, 1)}
    generation = SimpleNamespace(broken=broken, lane=lambda where: places[where].lane, stop=checkpoint)
    for where in list(places):
        producer = Producer(KafkaSettings(bootstrap=("nowhere",)))
        producer._generations.client = generation  # type: ignore[assignment]
        call = asyncio.ensure_future(producer.publish([Emit(*where, b"key", b"0") for where in places]))
        await anyio.sleep(0.01)
        places[where].client.refuse(errors.MessageSizeTooLargeError())
        with pytest.raises(RecordTooLarge):
            await call
        await producer.close()
        assert producer._generations.client is None
        broken = asyncio.get_running_loop().create_future()
        places = {each: Place(broken=broken) for each in places}
        generation.broken = broken


class TestRoom:
    async def test_beyond_the_limit_callers_wait_in_turn(self) -> None:
        room, entered = Room(10, 1_000), []

        async def enter(number: int, records: int) -> None:
            assert await room.enter(records, records, 100)
            entered.append(number)

        async with anyio.create_task_group() as tasks:
            for number, records in enumerate((6, 4, 5, 1, 1)):
                tasks.start_soon(enter, number, records)
                await anyio.sleep(0.01)
            assert entered == [0, 1]
            room.leave(4, 4)
            await anyio.sleep(0.01)
            assert entered == [0, 1]  # the small ones do not overtake
            room.leave(6, 6)
            await anyio.sleep(0.01)
            assert entered == [0, 1, 2, 3, 4]

    async def test_who_waits_too_long_or_is_cancelled_takes_nothing(self) -> None:
        room = Room(1, 1_000)
        assert await room.enter(1, 1, 10)
        assert not await room.enter(1, 1, 1)
        with anyio.move_on_after(1):
            await room.enter(1, 1, 100)
        room.leave(1, 1)
        assert (room._records, room._bytes, len(room._waiting)) == (0, 0, 0)

    async def test_a_call_larger_than_everything_goes_alone(self) -> None:
        room = Room(10, 10)
        assert await room.enter(100, 1_000, 10)
        assert not await room.enter(1, 1, 1)
        room.leave(100, 1_000)
        assert await room.enter(1, 1, 10)

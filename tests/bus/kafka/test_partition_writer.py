"""Partition writers and the in-flight limit of the producer, over a scripted client."""

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
from airy.bus.kafka.errors import translate
from airy.bus.kafka.inflight import InFlightLimit
from airy.bus.kafka.partition_writer import BatchRefused, PartitionWriter, PendingWrite
from airy.bus.kafka.producer import Producer
from airy.bus.kafka.settings import KafkaSettings
from airy.bus.record import ProducerRecord, TopicPartition
from airy.errors import Unavailable
from tests.kit.event_loops import asyncio_backend

pytestmark = pytest.mark.parametrize("anyio_backend", [asyncio_backend()], ids=["asyncio"])

WHERE = TopicPartition("facts", 0)


class Client:
    """A log that is written when the test says so. Batches have a fixed number of records."""

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
        """The batch in flight becomes durable."""
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
    """A writer and the calls that use it."""

    def __init__(self, batch_records: int = 3, broken: "asyncio.Future[None] | None" = None) -> None:
        self.client = Client(batch_records)
        self.broken: asyncio.Future[None] = broken or asyncio.get_running_loop().create_future()
        settings = KafkaSettings(bootstrap=("nowhere",))
        self.writer = PartitionWriter(self.client, WHERE, settings, self.broken)  # type: ignore[arg-type]

    def call(self, *values: int, alone: bool = False) -> PendingWrite:
        records = [ProducerRecord(*WHERE, b"key", b"%d" % value) for value in values]
        write = PendingWrite(records, asyncio.get_running_loop().create_future(), alone=alone)
        self.writer.add(write)
        return write

    async def settle(self) -> None:
        for _ in range(10):
            await checkpoint()


def outcome(write: PendingWrite) -> None:
    """The error of a write, if any."""
    error = write.done.result()
    if error is not None:
        raise error


def values(place: Place) -> list[int]:
    return [int(value) for value in place.client.log]


async def test_a_write_is_done_when_its_last_record_is_durable() -> None:
    place = Place()
    write = place.call(0, 1, 2, 3)
    await place.settle()
    assert not write.done.done()
    place.client.write()
    await place.settle()
    assert not write.done.done()
    place.client.write()
    await place.settle()
    outcome(write)
    assert write.offsets == [0, 1, 2, 3]


@given(calls=st.lists(st.tuples(st.integers(1, 7), st.booleans(), st.integers(0, 3))), batch_records=st.integers(1, 5))
async def test_records_are_written_in_the_order_of_the_calls(
    calls: list[tuple[int, bool, int]], batch_records: int
) -> None:
    """For any batching, and each write gets the offsets of its own records."""
    place = Place(batch_records)
    writes, number = [], 0
    for size, alone, sent in calls:
        writes.append((number, place.call(*range(number, number + size), alone=alone)))
        number += size
        for _ in range(sent):
            await place.settle()
            if place.client.under_way:
                place.client.write()
    for _ in range(number + 1):
        await place.settle()
        if place.client.under_way:
            place.client.write()
    assert values(place) == list(range(number))
    for begin, write in writes:
        outcome(write)
        assert write.offsets == list(range(begin, begin + len(write.records)))
        batches = [batch for batch in place.client.sent if b"%d" % begin in batch]
        if write.alone:
            assert {int(value) for value in batches[0]} <= set(range(begin, begin + len(write.records)))


async def test_waiting_writes_share_a_batch() -> None:
    place = Place(batch_records=100)
    for number in range(10):
        place.call(number)
        await place.settle()
    place.client.write()
    await place.settle()
    assert [len(batch) for batch in place.client.sent] == [1, 9]


async def test_an_abandoned_write_is_not_sent_further() -> None:
    place = Place()
    begun, other = place.call(0, 1, 2, 3, 4), place.call(5)
    await place.settle()
    place.writer.abandon(begun)
    place.client.write()
    await place.settle()
    place.client.write()
    await place.settle()
    assert values(place) == [0, 1, 2, 5]
    assert other.offsets == [3]


async def test_a_failed_batch_fails_its_writes_and_breaks_the_client() -> None:
    """Later writes fail too, unwritten: the client's sequence numbers have a gap."""
    place = Place()
    failed = place.call(0, 1)
    await place.settle()
    behind = place.call(2)
    place.client.refuse(errors.CorruptRecordException())
    await place.settle()
    assert place.broken.done()
    for write, words in ((failed, "CorruptRecord"), (behind, "not written")):
        with pytest.raises(Unavailable, match=words):
            outcome(write)
    assert place.client.under_way == []


async def test_writes_refused_in_one_batch_get_batch_refused() -> None:
    place = Place()
    place.call(0)
    await place.settle()
    together = [place.call(1), place.call(2)]
    place.client.write()
    await place.settle()
    place.client.refuse(errors.MessageSizeTooLargeError())
    await place.settle()
    for write in together:
        with pytest.raises(BatchRefused):
            outcome(write)


async def test_a_write_refused_alone_gets_refused() -> None:
    place = Place()
    write = place.call(0, alone=True)
    place.call(1)
    await place.settle()
    place.client.refuse(errors.MessageSizeTooLargeError())
    await place.settle()
    with pytest.raises(RecordTooLarge):
        outcome(write)


async def test_a_batch_cancelled_by_the_client_has_failed() -> None:
    place = Place()
    write = place.call(0)
    await place.settle()
    place.client.refuse(asyncio.CancelledError())
    await place.settle()
    with pytest.raises(Unavailable, match="was replaced"):
        outcome(write)


async def test_a_batch_in_flight_when_the_client_is_replaced_may_have_been_written() -> None:
    place = Place()
    write = place.call(0)
    await place.settle()
    place.broken.set_result(None)
    await place.settle()
    with pytest.raises(Unavailable, match="may have been written"):
        outcome(write)


async def test_an_error_that_is_not_the_clients_stays_unchanged() -> None:
    assert isinstance(translate(KeyError("x"), "writing"), KeyError)
    assert isinstance(translate(asyncio.CancelledError(), "writing"), Unavailable)


async def test_a_bug_while_a_batch_is_filled_fails_all_waiting_writes() -> None:
    place = Place()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # the task of the writer crashes, as expected
    calls = [place.call(1), place.call(2)]
    calls[1].records = [ProducerRecord(*WHERE, b"key", b"2", headers=None)]  # type: ignore[arg-type]
    await place.settle()
    for call in calls:
        with pytest.raises(TypeError):
            outcome(call)


async def test_a_refusal_in_one_partition_wins_over_failures_it_causes_in_others() -> None:
    """Otherwise the call that caused it would be retried for ever, and fail its neighbours each time."""
    broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    places = {TopicPartition("facts", number): Place(broken=broken) for number in (0, 1)}
    generation = SimpleNamespace(broken=broken, writer=lambda tp: places[tp].writer, stop=checkpoint)
    for tp in list(places):
        producer = Producer(KafkaSettings(bootstrap=("nowhere",)))
        producer._generations.client = generation  # type: ignore[assignment]
        call = asyncio.ensure_future(producer.publish([ProducerRecord(*tp, b"key", b"0") for tp in places]))
        await anyio.sleep(0.01)
        places[tp].client.refuse(errors.MessageSizeTooLargeError())
        with pytest.raises(RecordTooLarge):
            await call
        await producer.close()
        assert producer._generations.client is None
        broken = asyncio.get_running_loop().create_future()
        places = {each: Place(broken=broken) for each in places}
        generation.broken = broken


class TestInFlightLimit:
    async def test_beyond_the_limit_callers_wait_in_turn(self) -> None:
        limit, entered = InFlightLimit(10, 1_000), []

        async def enter(number: int, records: int) -> None:
            assert await limit.acquire(records, records, 100)
            entered.append(number)

        async with anyio.create_task_group() as tasks:
            for number, records in enumerate((6, 4, 5, 1, 1)):
                tasks.start_soon(enter, number, records)
                await anyio.sleep(0.01)
            assert entered == [0, 1]
            limit.release(4, 4)
            await anyio.sleep(0.01)
            assert entered == [0, 1]  # small calls do not overtake
            limit.release(6, 6)
            await anyio.sleep(0.01)
            assert entered == [0, 1, 2, 3, 4]

    async def test_a_caller_that_times_out_or_is_cancelled_takes_no_capacity(self) -> None:
        limit = InFlightLimit(1, 1_000)
        assert await limit.acquire(1, 1, 10)
        assert not await limit.acquire(1, 1, 1)
        with anyio.move_on_after(1):
            await limit.acquire(1, 1, 100)
        limit.release(1, 1)
        assert (limit._records, limit._bytes, len(limit._waiting)) == (0, 0, 0)

    async def test_a_call_larger_than_the_limit_is_admitted_alone(self) -> None:
        limit = InFlightLimit(10, 10)
        assert await limit.acquire(100, 1_000, 10)
        assert not await limit.acquire(1, 1, 1)
        limit.release(100, 1_000)
        assert await limit.acquire(1, 1, 10)

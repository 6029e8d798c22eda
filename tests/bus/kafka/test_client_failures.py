"""Rare failures of the client and the cluster: publishing.

Each ends in a retry, a dead letter, or a crash and a restart; none in a committed offset without its effect.
"""

import asyncio  # noqa: TID251 - the client is asyncio's
from collections.abc import Iterator
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from airy.bus.api import RecordTooLarge
from airy.bus.dead_letter import make_dead_letter
from airy.bus.kafka import KafkaBus
from airy.bus.loops import transform
from airy.bus.record import ProducerRecord, Record
from airy.errors import Refused, Unavailable
from tests.kit.bus import running
from tests.kit.kafka_mock import (
    DEAD,
    IN,
    OUT,
    PATIENCE_S,
    SOON_S,
    TOPICS,
    MockCluster,
    first,
    hurry,
    log,
    nothing_left,
    numbers,
    of,
    published,
    serving,
    settings,
)
from tests.kit.lifecycle import RecordingLifecycle
from tests.kit.servers.mock_kafka import Api
from tests.kit.servers.ports import HOST, Port
from tests.kit.servers.proxy import Proxy

pytestmark = [
    pytest.mark.slow,  # every one waits for the client's pauses between retries
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]

WAIT_AND_SEE = {
    2: "CORRUPT_MESSAGE",
    13: "unknown to the client's retries",
    29: "TOPIC_AUTHORIZATION_FAILED",
    31: "CLUSTER_AUTHORIZATION_FAILED",
    45: "OUT_OF_ORDER_SEQUENCE",
    46: "DUPLICATE_SEQUENCE",
    47: "INVALID_PRODUCER_EPOCH",
    48: "INVALID_TXN_STATE",
    59: "UNKNOWN_PRODUCER_ID",
    90: "PRODUCER_FENCED",
    120: "TRANSACTION_ABORTABLE",
    12345: "of a broker not written yet",
}
NEVER = {10: "MESSAGE_TOO_LARGE", 32: "INVALID_TIMESTAMP", 87: "INVALID_RECORD"}
RETRIED_BY_THE_CLIENT = {
    5: "LEADER_NOT_AVAILABLE",
    6: "NOT_LEADER",
    7: "REQUEST_TIMED_OUT",
    19: "NOT_ENOUGH_REPLICAS",
    56: "KAFKA_STORAGE",
}


@pytest.fixture(scope="module")
def stage() -> Iterator[MockCluster]:
    with MockCluster() as stage:
        yield stage


@pytest.fixture
def mock(stage: MockCluster) -> MockCluster:
    return stage.anew()


def copy(record: Record) -> list[ProducerRecord]:
    return [OUT.record("key", record.value)]


def dead_letter(record: Record, reason: str, attempts: int) -> ProducerRecord:
    return make_dead_letter(DEAD, record, reason, attempts)


async def transformed(bus: KafkaBus, inputs: int) -> int:
    """Run the transform, again when it ends early, until the whole input is committed; returns how often it ran."""
    runs = 0
    with anyio.fail_after(PATIENCE_S):
        while True:
            runs += 1
            lifecycle = RecordingLifecycle()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(_drained_at, bus, lifecycle, inputs))
                try:
                    await transform(
                        bus,
                        lifecycle,
                        [IN],
                        group="copy",
                        step=copy,
                        dead_letter=dead_letter,
                        records_max=3,
                        commit_s=0.02,
                        fetch_wait_s=0.02,
                    )
                except Unavailable:
                    tasks.cancel_scope.cancel()
            await check(bus)
            if lifecycle.draining.is_set():
                return runs


async def _drained_at(bus: KafkaBus, lifecycle: RecordingLifecycle, inputs: int) -> None:
    while (await bus.committed("copy", [IN])).get(IN.topic_partitions[0], 0) < inputs:
        await anyio.sleep(0.02)
    lifecycle.draining.set()


async def check(bus: KafkaBus) -> None:
    """Committed input has its output."""
    committed = (await bus.committed("copy", [IN])).get(IN.topic_partitions[0], 0)
    done = {*of(await log(bus, OUT)), *of(await log(bus, DEAD))}
    assert done >= set(range(committed))


class TestBrokerErrors:
    @pytest.mark.parametrize("code", WAIT_AND_SEE, ids=lambda code: WAIT_AND_SEE[code])
    async def test_a_retriable_error_of_the_broker_is_retried(self, mock: MockCluster, code: int) -> None:
        """The transform ends, commits nothing unwritten, and its next run writes the rest in order."""
        async with serving(mock, session_s=SOON_S) as bus:
            await bus.publish(numbers(IN, 0, 10))
            mock.fail(Api.PRODUCE, 0, code)
            assert await transformed(bus, 10) >= 2
            assert first(of(await log(bus, OUT))) == list(range(10))
            assert await log(bus, DEAD) == []

    @pytest.mark.parametrize("code", NEVER, ids=lambda code: NEVER[code])
    async def test_a_record_the_broker_refuses_becomes_a_dead_letter(self, mock: MockCluster, code: int) -> None:
        """Refused as a batch, then alone: the record is dead-lettered, and its neighbours are written in order."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 10))
            mock.fail(Api.PRODUCE, code, 0, code)
            assert await transformed(bus, 10) == 1
            assert of(await log(bus, OUT)) == [number for number in range(10) if number != 1]
            dead = await log(bus, DEAD)
            assert of(dead) == [1]
            assert "the broker" in (dead[0].header("dlq-reason") or "")

    @pytest.mark.parametrize("code", RETRIED_BY_THE_CLIENT, ids=lambda code: RETRIED_BY_THE_CLIENT[code])
    async def test_a_transient_error_is_retried_by_the_client(self, mock: MockCluster, code: int) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 10))
            mock.fail(Api.PRODUCE, code, code)
            assert await transformed(bus, 10) == 1
            assert of(await log(bus, OUT)) == list(range(10))

    @pytest.mark.parametrize("code", [*WAIT_AND_SEE, *NEVER])
    async def test_a_failed_batch_replaces_the_client(self, mock: MockCluster, code: int) -> None:
        """The old client has a gap in its sequence numbers, and would be refused for ever."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 1))
            mock.fail(Api.PRODUCE, code)
            with pytest.raises((Unavailable, Refused)):
                await bus.publish(numbers(IN, 1, 2))
            for number in range(1, 4):
                await bus.publish(numbers(IN, number, number + 1))
            assert first(of(await log(bus, IN))) == [0, 1, 2, 3]

    async def test_repeated_errors_keep_the_order(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            mock.fail(Api.PRODUCE, *[0, 45, 6, 0, 47, 2, 0, 7, 12345, 46, 0, 59] * 3)
            for number in range(0, 40, 2):
                await published(bus, numbers(IN, number, number + 2))
            assert first(of(await log(bus, IN))) == list(range(40))

    @pytest.mark.parametrize("code", [22, 27, 82])
    async def test_a_failed_commit_repeats_records_and_loses_none(self, mock: MockCluster, code: int) -> None:
        async with serving(mock, session_s=SOON_S) as bus:
            await bus.publish(numbers(IN, 0, 10))
            mock.fail(Api.OFFSET_COMMIT, code, code)
            await transformed(bus, 10)
            assert first(of(await log(bus, OUT))) == list(range(10))

    async def test_a_response_without_an_offset_is_an_error(self, mock: MockCluster) -> None:
        """The cluster has written the batch, but returned no offset: any position would be wrong."""
        async with serving(mock) as bus:
            mock.fail(Api.PRODUCE, 46)
            with pytest.raises(Unavailable, match="returned no offset"):
                await bus.publish(numbers(IN, 0, 1))


class TestRefusedBatches:
    async def test_a_publish_that_shares_a_batch_with_a_refused_record_succeeds(self, mock: MockCluster) -> None:
        """The broker refuses whole batches; each publish is retried alone before one is refused."""
        async with mock.proxied() as proxy, serving(mock) as bus:
            results = await self.beside_one_another(bus, mock, proxy, 10)
            assert all(isinstance(result, list) for result in results)
            assert mock.requests(Api.PRODUCE) == 5  # the first, the others together, and each of them alone
            assert sorted(of(await log(bus, IN))) == [1, 2, 3, 4]

    async def test_a_publish_refused_alone_is_the_cause(self, mock: MockCluster) -> None:
        async with mock.proxied() as proxy, serving(mock) as bus:
            results = await self.beside_one_another(bus, mock, proxy, 10, 10)
            assert sum(isinstance(result, RecordTooLarge) for result in results) == 1
            assert all(isinstance(result, list | Unavailable | RecordTooLarge) for result in results)

    async def beside_one_another(self, bus: KafkaBus, mock: MockCluster, proxy: Proxy, *codes: int) -> list[object]:
        """One publish, and while it is in flight three more, which share a batch that gets the first of `codes`."""
        await bus.publish(numbers(OUT, 0, 1))
        mock.track()
        mock.fail(Api.PRODUCE, 0, *codes)
        proxy.stall()
        writer = bus._connection.producer._generations.client.writer(IN.topic_partitions[0])  # type: ignore[union-attr]
        first_call = asyncio.ensure_future(bus.publish(numbers(IN, 1, 2)))
        with anyio.fail_after(PATIENCE_S):
            while writer.sent_at is None:
                await checkpoint()
            calls = [asyncio.ensure_future(bus.publish(numbers(IN, n, n + 1))) for n in range(2, 5)]
            while len(writer._waiting) < len(calls):
                await checkpoint()
            proxy.flow()
            assert await first_call
            return [*await asyncio.gather(*calls, return_exceptions=True)]

    async def test_an_unknown_topic_names_the_remedy(self, mock: MockCluster) -> None:
        async with serving(mock, publish_s=1.0) as bus:
            mock.topic_error(mock.wire(OUT), 3)
            with pytest.raises(Unavailable, match="airy topics apply"):
                await bus.publish(numbers(OUT, 0, 1))
            await bus.end_offsets([IN])  # connects the client that is queried below
            hurry(bus._connection.offsets, call_s=1.0)  # type: ignore[union-attr]
            with pytest.raises(Unavailable, match="airy topics apply"):
                await bus.end_offsets([OUT])
            mock.topic_error(mock.wire(OUT), 0)
            await published(bus, numbers(OUT, 0, 1))

    async def test_a_write_waits_for_the_next_leader_of_its_partition(self, mock: MockCluster) -> None:
        async with serving(mock, publish_s=0.3) as bus:
            await published(bus, numbers(IN, 0, 1))
            mock.leader(mock.wire(IN), 0, -1)
            with pytest.raises(Unavailable):
                await bus.publish(numbers(IN, 1, 2))
            mock.leader(mock.wire(IN), 0, 1)
            await published(bus, numbers(IN, 1, 2))
            assert first(of(await log(bus, IN))) == [0, 1]


class TestBrokerDown:
    async def test_a_publish_fails_at_its_deadline_and_works_again(self, mock: MockCluster) -> None:
        async with serving(mock, publish_s=0.3, stall_s=0.5) as bus:
            await published(bus, numbers(IN, 0, 1))
            mock.down()
            for _ in range(3):  # while the client waits, and after it was replaced
                with anyio.fail_after(PATIENCE_S):
                    with pytest.raises(Unavailable):
                        await bus.publish(numbers(IN, 1, 2))
            mock.up()
            await published(bus, numbers(IN, 1, 3))
            assert first(of(await log(bus, IN))) == [0, 1, 2]

    async def test_a_thousand_publishes_at_once_fail_together(self, mock: MockCluster) -> None:
        """Not one after the other, each with its own connection attempt."""
        async with serving(mock, publish_s=0.5, publish_records_max=100, stall_s=0.3) as bus:
            await published(bus, numbers(IN, 0, 1))
            mock.round_trip(50)
            calls = [asyncio.ensure_future(bus.publish(numbers(IN, n, n + 1))) for n in range(1, 1001)]
            await anyio.sleep(0.2)
            mock.down()
            with anyio.fail_after(PATIENCE_S):
                results = await asyncio.gather(*calls, return_exceptions=True)
            assert any(isinstance(result, Unavailable) for result in results)
            written = {n for n, result in enumerate(results, 1) if not isinstance(result, BaseException)}
            assert {type(result) for result in results} <= {list, Unavailable}
            limit = bus._connection.producer._in_flight  # type: ignore[union-attr]
            assert (limit._records, limit._bytes, len(limit._waiting)) == (0, 0, 0)
            with anyio.fail_after(PATIENCE_S):
                again = await asyncio.gather(
                    *(bus.publish(numbers(IN, n, n + 1)) for n in range(1000)), return_exceptions=True
                )
            assert {type(result) for result in again} == {Unavailable}
            mock.up()
            mock.round_trip(0)
            await published(bus, numbers(IN, 2000, 2001))
            assert set(of(await log(bus, IN))) >= written | {2000}

    async def test_abandoned_writes_take_no_capacity(self, mock: MockCluster) -> None:
        """Callers may have shorter time-outs than the producer, and retry."""
        async with serving(mock, publish_s=10) as bus:
            await bus.publish(numbers(IN, 0, 1))
            mock.down()
            first_call = asyncio.ensure_future(bus.publish(numbers(IN, 1, 2)))
            writer = bus._connection.producer._generations.client.writer(IN.topic_partitions[0])  # type: ignore[union-attr]
            for _ in range(20):
                with anyio.move_on_after(0.01):
                    await asyncio.gather(*(bus.publish(numbers(IN, 2, 3)) for _ in range(100)))
            assert len(writer._waiting) < 10
            first_call.cancel()

    async def test_a_stuck_client_is_replaced_even_if_callers_time_out_first(self, mock: MockCluster) -> None:
        async with serving(mock, publish_s=10, stall_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 1))
            generations = bus._connection.producer._generations  # type: ignore[union-attr]
            stuck = generations.client
            mock.down()
            with anyio.fail_after(PATIENCE_S):
                while generations.client is stuck:
                    with anyio.move_on_after(0.05):
                        await bus.publish(numbers(IN, 1, 2))
            mock.up()
            await published(bus, numbers(IN, 2, 3))

    async def test_a_publish_may_be_cancelled_at_any_time(self, mock: MockCluster) -> None:
        """Its records may be written or not; later ones are, in order."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 1))
            mock.round_trip(30)
            for turn in range(10):
                with anyio.move_on_after(turn * 0.01):
                    await bus.publish(numbers(IN, 100 + turn, 101 + turn))
                await bus.publish(numbers(IN, turn + 1, turn + 2))
            written = of(await log(bus, IN))
            assert [number for number in written if number < 100] == list(range(11))
            assert len(set(written)) == len(written)

    async def test_a_lost_response_loses_no_record(self, mock: MockCluster) -> None:
        """The broker has the batch, its response is lost: the client sends it again with the same sequence number."""
        async with mock.proxied() as proxy, serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 1))
            proxy.drop_answers(1)
            await published(bus, numbers(IN, 1, 2))
            assert first(of(await log(bus, IN))) == [0, 1]

    async def test_a_failed_start_leaks_no_task(self) -> None:
        with Port() as closed_port:
            async with nothing_left():
                with pytest.raises(Unavailable, match="no connection"):
                    await KafkaBus(TOPICS, settings([str(closed_port)])).run(RecordingLifecycle())

    @pytest.mark.parametrize("answers", range(4))
    async def test_a_hanging_start_times_out(self, mock: MockCluster, answers: int) -> None:
        """At any point: so many responses arrive, then none, on connections that stay open."""
        async with mock.proxied() as proxy:
            proxy.stall_after(answers)
            limits = settings([f"{HOST}:{proxy.port}"], call_s=0.4, stop_s=0.2, request_s=2 * PATIENCE_S)
            async with nothing_left():
                with anyio.fail_after(PATIENCE_S):
                    with pytest.raises(Unavailable):
                        await KafkaBus(TOPICS, limits).run(RecordingLifecycle())

    async def test_the_bus_ends_while_the_broker_is_down(self, mock: MockCluster) -> None:
        async with serving(mock, stop_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 1))
            await bus.end_offsets([IN])
            await bus.committed("copy", [IN])
            mock.down()
            lost = asyncio.ensure_future(bus.publish(numbers(IN, 1, 2)))
            await anyio.sleep(0.05)
        with pytest.raises(Unavailable):
            await lost

    async def test_callers_get_the_first_connection_that_succeeds(self, mock: MockCluster) -> None:
        """A failed start before it does not make them wait for another event."""
        bus = KafkaBus(TOPICS, mock.settings(call_s=PATIENCE_S))
        mock.down()
        waiting = asyncio.ensure_future(bus.end_offsets([IN]))
        with pytest.raises(Unavailable):
            await bus.run(RecordingLifecycle())
        mock.up()
        async with running(bus):
            with anyio.fail_after(PATIENCE_S):
                assert await waiting == {IN.topic_partitions[0]: 0}

"""Rare failures of the client and the cluster: reading, committing and offset queries.

A client that stands still is replaced, a lost place is loud, and a commit that was not taken is never a success.
"""

import asyncio  # noqa: TID251 - the client is asyncio's
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from aiokafka import TopicPartition as KafkaPartition

from airy.bus.api import Fenced, OffsetOutOfRange, Reader, Subscription
from airy.bus.kafka import KafkaBus
from airy.bus.kafka.log_throttle import MESSAGES_MAX, LogThrottle
from airy.bus.record import ProducerRecord, TopicPartition
from airy.errors import Unavailable
from tests.kit.bus import read, running
from tests.kit.kafka_mock import (
    IN,
    OUT,
    PATIENCE_S,
    SOON_S,
    TOPICS,
    WIDE,
    MockCluster,
    answered,
    commits,
    first,
    hurry,
    numbers,
    of,
    serving,
)
from tests.kit.servers.mock_kafka import Api
from tests.kit.servers.proxy import Proxy

pytestmark = pytest.mark.slow  # every one waits for the client's pauses between retries

WHERE = IN.topic_partitions[0]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """aiokafka needs asyncio, and real time."""
    return str(request.param)


@pytest.fixture(scope="module")
def stage() -> Iterator[MockCluster]:
    with MockCluster() as stage:
        yield stage


@pytest.fixture
def mock(stage: MockCluster) -> MockCluster:
    return stage.anew()


class RecordingListener:
    """Records its calls, and can be slow or raise."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.given: Mapping[TopicPartition, int] = {}
        self.free = anyio.Event()  # to return
        self.free.set()
        self.broken = False

    async def on_assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.calls.append("assigning")
        await self.free.wait()
        self.given = dict(partitions)
        self.calls.append("assigned")

    async def on_revoked(self, _: Iterable[TopicPartition]) -> None:
        self.calls.append("revoking")
        if self.broken:
            raise RuntimeError("the listener is broken")
        await self.free.wait()
        self.calls.append("revoked")

    @property
    def handovers(self) -> int:
        """How often all partitions were revoked and assigned again, alternating, ending with assigned."""
        rounds = len(self.calls) // 4
        assert self.calls == ["assigning", "assigned", "revoking", "revoked"] * rounds + ["assigning", "assigned"]
        return rounds


async def joined(subscription: Subscription) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not subscription.assignment:
            await subscription.fetch(records_max=0, wait_s=0.1)


async def fetching(*readers: Reader) -> None:
    """For ever, to keep the membership alive."""

    async def one(reader: Reader) -> None:
        while True:
            await reader.fetch(records_max=0, wait_s=0.05)

    async with anyio.create_task_group() as tasks:
        for reader in readers:
            tasks.start_soon(one, reader)


class TestCommitting:
    @pytest.mark.parametrize("code", [22, 25, 27, 82, 12345, 12, 28, 29, 30])
    async def test_a_rejected_commit_raises(self, mock: MockCluster, code: int) -> None:
        """`Fenced` for errors of a newer generation, `Unavailable` for all others."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                mock.fail(Api.OFFSET_COMMIT, code)
                with pytest.raises(Fenced if code in {22, 25, 27} else Unavailable):
                    await subscription.commit({WHERE: 3})
                assert await bus.committed("g", [IN]) == {}

    @pytest.mark.parametrize("code", [7, 14, 15, 16])
    async def test_a_commit_follows_a_coordinator_that_moves(self, mock: MockCluster, code: int) -> None:
        async with serving(mock, call_s=PATIENCE_S) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                mock.fail(Api.OFFSET_COMMIT, code)
                await subscription.commit({WHERE: 3})
                assert await bus.committed("g", [IN]) == {WHERE: 3}

    async def test_an_expelled_member_cannot_commit_without_a_generation(self, mock: MockCluster) -> None:
        """Between losing its membership and the rebalance the client has no generation."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                mock.track()
                subscription._consumer._coordinator.reset_generation()  # type: ignore[attr-defined]
                with pytest.raises(Fenced):
                    await subscription.commit({WHERE: 3})
                assert mock.requests(Api.OFFSET_COMMIT) == 0
            assert await bus.committed("g", [IN]) == {}

    async def test_a_member_unknown_to_the_cluster_is_fenced_and_joins_again(self, mock: MockCluster) -> None:
        async with serving(mock, session_s=2 * SOON_S) as bus:
            await bus.publish(numbers(IN, 0, 3))
            listener = RecordingListener()
            async with bus.subscribe([IN], group="g", listener=listener) as subscription:
                await read(subscription, 3)
                mock.fail(Api.HEARTBEAT, 25)
                with anyio.fail_after(PATIENCE_S):
                    while listener.calls.count("assigned") < 2:
                        await subscription.fetch(records_max=0, wait_s=0.1)
                assert listener.handovers >= 1  # on a busy machine the session expires more than once
                assert listener.given == {WHERE: 0}
                assert of(await read(subscription, 3)) == [0, 1, 2]

    async def test_a_commit_fails_at_its_deadline_while_the_broker_is_down(self, mock: MockCluster) -> None:
        async with serving(mock, stop_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                hurry(subscription, call_s=2.0)
                mock.down()
                with anyio.fail_after(PATIENCE_S):
                    with pytest.raises((Unavailable, Fenced)):
                        await subscription.commit({WHERE: 3})
            mock.up()


class TestStartOffsets:
    @pytest.mark.parametrize("code", [14, 15, 16])
    async def test_a_loading_coordinator_does_not_reset_offsets(self, mock: MockCluster, code: int) -> None:
        """Its response has an error and no partitions, which does not mean that nothing is committed."""
        async with serving(mock, session_s=SOON_S) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                await commits(subscription, {WHERE: 2})
            mock.fail(Api.OFFSET_FETCH, code)
            with pytest.raises(Unavailable):
                await bus.committed("g", [IN])
            mock.fail(Api.OFFSET_FETCH, *[code] * 10_000)  # the client sends this request all the time
            listener, fetched = RecordingListener(), 0
            with anyio.fail_after(PATIENCE_S):
                while not listener.given:
                    fetched += 1
                    try:
                        async with bus.subscribe([IN], group="g", listener=listener) as subscription:
                            await joined(subscription)
                    except Unavailable:
                        mock.heal(Api.OFFSET_FETCH)
            assert fetched > 1
            assert listener.given == {WHERE: 2}

    async def test_a_failed_offset_query_is_retried_within_the_membership(self, mock: MockCluster) -> None:
        """Otherwise the member stays alive without owning its partitions, which then are not read."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            ends = bus._connection.offsets  # type: ignore[union-attr]
            committed, refusals = ends.committed, [Unavailable("away"), Unavailable("away")]

            async def reluctant(group: str, partitions: Any) -> Any:
                if refusals:
                    raise refusals.pop()
                return await committed(group, partitions)

            ends.committed = reluctant  # type: ignore[method-assign]
            async with bus.subscribe([IN], group="g") as subscription:
                for _ in range(2):
                    with anyio.fail_after(PATIENCE_S), pytest.raises(Unavailable, match="away"):
                        await subscription.fetch(records_max=10, wait_s=PATIENCE_S)
                assert of(await read(subscription, 3)) == [0, 1, 2]

    async def test_a_response_without_partitions_is_not_an_empty_commit(self, mock: MockCluster) -> None:
        """A real coordinator responds like this while it is loading; the mock one names the partitions even then."""
        async with serving(mock) as bus:
            assert await bus.committed("g", [IN]) == {}
            admin = bus._connection.offsets._admins.client.admin  # type: ignore[union-attr]

            async def answer(*_: object) -> SimpleNamespace:
                return SimpleNamespace(topics=[], error_code=16)

            admin.find_coordinator, admin._send_request = answer, answer
            with pytest.raises(Unavailable, match="does not know"):
                await bus.committed("g", [IN])

    async def test_records_polled_before_the_start_offset_is_known_are_read_again(self, mock: MockCluster) -> None:
        """A member joins without a fetch: the client polls already, and records that are not wanted are discarded."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 5))
            async with bus.subscribe([IN], group="g") as subscription:
                with anyio.fail_after(PATIENCE_S):
                    while subscription._revocation is None:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                    assert await subscription.fetch(records_max=10, wait_s=0) == []
                    while subscription._assigned is None:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                await subscription._poll(subscription._consumer, [])  # type: ignore[attr-defined]
                assert of(await read(subscription, 5)) == [0, 1, 2, 3, 4]

    async def test_records_polled_beyond_the_buffer_are_read_again(self, mock: MockCluster) -> None:
        """A poll of all partitions also returns records after those that are still buffered."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 4))
            async with bus.tail({WHERE: 0}) as tail:
                assert of(await tail.fetch(records_max=2, wait_s=PATIENCE_S)) == [0, 1]
                await bus.publish(numbers(IN, 4, 6))
                with anyio.fail_after(PATIENCE_S):
                    while tail._consumer._fetcher._records == {}:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                await tail._poll(tail._consumer, [])  # type: ignore[attr-defined]
                assert of(await read(tail, 4)) == [2, 3, 4, 5]

    async def test_an_offset_out_of_range_raises(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 100}) as tail:
                with pytest.raises(OffsetOutOfRange, match=r"in\[0\]@100"):
                    await read(tail, 1)
            async with bus.tail({WHERE: 0}) as tail:
                mock.fail(Api.FETCH, 1)
                with pytest.raises(OffsetOutOfRange):
                    await read(tail, 3)
                tail.seek(WHERE, 1)  # on purpose
                assert of(await read(tail, 2)) == [1, 2]

    @pytest.mark.parametrize(("code", "words"), [(29, "airy topics acls"), (3, ""), (6, ""), (56, ""), (12345, "")])
    async def test_an_error_while_reading_loses_no_record(self, mock: MockCluster, code: int, words: str) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            mock.fail(Api.FETCH, code)
            place = 0
            with anyio.fail_after(PATIENCE_S):
                while place < 3:
                    async with bus.tail({WHERE: place}) as tail:
                        try:
                            assert of(await read(tail, 3)) == [0, 1, 2]
                        except Unavailable as error:
                            assert words in str(error)
                        else:
                            assert not words or mock.heal(Api.FETCH) is None
                        place = tail.position(WHERE)

    async def test_a_partition_without_a_leader_is_read_once_it_has_one(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            mock.leader(mock.wire(IN), 0, -1)
            async with bus.tail({WHERE: 0}) as tail:
                assert await tail.fetch(records_max=10, wait_s=0.2) == []
                mock.leader(mock.wire(IN), 0, 1)
                assert of(await read(tail, 3)) == [0, 1, 2]

    async def test_an_unknown_topic_names_the_remedy(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            mock.topic_error(mock.wire(OUT), 3)
            async with bus.subscribe([OUT], group="g") as subscription:
                with anyio.fail_after(PATIENCE_S):
                    with pytest.raises(Unavailable, match="airy topics apply"):
                        while True:
                            await subscription.fetch(records_max=1, wait_s=0.1)
            mock.topic_error(mock.wire(OUT), 0)

    async def test_concurrent_fetches_raise(self, mock: MockCluster) -> None:
        async with serving(mock) as bus, bus.tail({WHERE: 0}) as tail, anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: tail.fetch(records_max=1, wait_s=PATIENCE_S))
            await anyio.sleep(0.02)
            with pytest.raises(anyio.BusyResourceError):
                await tail.fetch(records_max=1, wait_s=0)
            tasks.cancel_scope.cancel()

    async def test_a_fetch_of_a_closed_reader_raises(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            async with bus.tail({WHERE: 0}) as tail, bus.subscribe([IN], group="g") as subscription:
                pass
            for reader in (tail, subscription):
                with pytest.raises(RuntimeError, match="ended"):
                    await reader.fetch(records_max=1, wait_s=0)


class TestStalls:
    async def frozen(self, mock: MockCluster, proxy: Proxy) -> None:
        """More records from another process, after all open connections died without an error."""
        proxy.freeze()
        async with running(KafkaBus(TOPICS, mock.settings())) as other:
            await other.publish(numbers(IN, 3, 6))

    async def test_a_tail_with_a_dead_connection_reconnects(self, mock: MockCluster) -> None:
        async with mock.proxied() as proxy, serving(mock, stop_s=0.2, request_s=60) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 0}) as tail:
                assert of(await read(tail, 3)) == [0, 1, 2]
                hurry(tail, stall_s=0.6)
                await self.frozen(mock, proxy)
                assert of(await read(tail, 3)) == [3, 4, 5]

    async def test_a_member_with_a_dead_connection_raises(self, mock: MockCluster) -> None:
        """Its partitions are read by their next owner: the same member, started again."""
        async with mock.proxied() as proxy, serving(mock, session_s=4.0, stop_s=0.2, request_s=60) as bus:
            await bus.publish(numbers(IN, 0, 3))
            with anyio.fail_after(PATIENCE_S):
                async with bus.subscribe([IN], group="g") as subscription:
                    await read(subscription, 3)
                    await commits(subscription, {WHERE: 2})
                    await self.frozen(mock, proxy)
                    hurry(subscription, stall_s=0.6)
                    hurry(bus._connection.offsets, call_s=2.0)  # type: ignore[union-attr]
                    with pytest.raises(Unavailable):
                        while True:
                            await subscription.fetch(records_max=10, wait_s=0.1)
                came: list[int] = []
                while 5 not in came:
                    with suppress(Unavailable):  # the client of the offset queries was frozen too
                        async with bus.subscribe([IN], group="g") as subscription:
                            while 5 not in came:
                                came += of(await subscription.fetch(records_max=10, wait_s=PATIENCE_S))
                assert first(came) == [2, 3, 4, 5]

    async def test_a_client_that_stops_fetching_is_replaced(self, mock: MockCluster) -> None:
        """No error and no records."""
        async with serving(mock, stall_s=0.6) as bus, bus.tail({WHERE: 0}) as tail:
            assert await tail.fetch(records_max=10, wait_s=0.1) == []
            tail._consumer._fetcher._fetch_task.cancel()  # type: ignore[attr-defined]
            await bus.publish(numbers(IN, 0, 3))
            assert of(await read(tail, 3)) == [0, 1, 2]

    async def test_a_stalled_partition_is_detected_while_another_delivers(self) -> None:
        with MockCluster(2) as stage:
            stage.anew()
            for partition in (0, 1):
                stage.leader(stage.wire(WIDE), partition, partition + 1)
            async with stage.proxied(2) as proxy, serving(stage, stop_s=0.2, request_s=60) as bus:
                await bus.publish([ProducerRecord(WIDE.name, partition, b"key", b"0") for partition in (0, 1)])
                async with bus.tail(dict.fromkeys(WIDE.topic_partitions, 0)) as tail:
                    await read(tail, 2)
                    proxy.freeze()
                    hurry(tail, stall_s=0.6)
                    hurry(bus._connection.offsets, call_s=2.0)  # type: ignore[union-attr]
                    with anyio.fail_after(PATIENCE_S):
                        async with running(KafkaBus(TOPICS, stage.settings())) as other:
                            await other.publish([ProducerRecord(WIDE.name, 1, b"key", b"1")])
                            came = False
                            while not came:
                                await other.publish([ProducerRecord(WIDE.name, 0, b"key", b"1")])
                                records = await answered(lambda: tail.fetch(records_max=100, wait_s=0.1))
                                came = any(record.partition == 1 for record in records)

    async def test_a_reader_that_did_not_fetch_for_long_is_not_stalled(self, mock: MockCluster) -> None:
        async with serving(mock, stall_s=PATIENCE_S) as bus, bus.tail({WHERE: 0}) as tail:
            await tail.fetch(records_max=10, wait_s=0)
            consumer = tail._consumer  # type: ignore[attr-defined]
            with anyio.fail_after(PATIENCE_S):
                await asyncio.wait({tail._polling})  # type: ignore[attr-defined]
            tail._polled_at -= 2 * PATIENCE_S  # type: ignore[attr-defined]  # as if that time had passed
            tail._checked_at -= 2 * PATIENCE_S  # type: ignore[attr-defined]
            await bus.publish(numbers(IN, 0, 3))
            assert of(await read(tail, 3)) == [0, 1, 2]
            assert tail._consumer is consumer  # type: ignore[attr-defined]

    async def test_a_reader_at_the_end_keeps_its_client(self, mock: MockCluster) -> None:
        async with serving(mock, stall_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 0}) as tail, bus.subscribe([IN], group="g") as subscription:
                await read(tail, 3)
                tail._poll_s_max = PATIENCE_S  # type: ignore[attr-defined]  # the client does not time out either
                clients = (tail._consumer, subscription._consumer)  # type: ignore[attr-defined]
                for _ in range(12):
                    assert await tail.fetch(records_max=10, wait_s=0.1) == []
                    assert (
                        await subscription.fetch(records_max=0, wait_s=0.05) == []
                    )  # there are records, but none is wanted
                assert (tail._consumer, subscription._consumer) == clients  # type: ignore[attr-defined]

    async def test_a_reader_without_partitions_does_not_stall(self, mock: MockCluster) -> None:
        """A poll of no partitions returns, so the client does not look stalled."""
        async with serving(mock) as bus, bus.tail({}) as tail:
            consumer = tail._consumer  # type: ignore[attr-defined]
            assert await tail.fetch(records_max=10, wait_s=0.1) == []
            with anyio.fail_after(PATIENCE_S):
                await asyncio.wait({tail._polling})  # type: ignore[attr-defined]
            assert await tail.fetch(records_max=10, wait_s=0) == []
            assert tail._consumer is consumer  # type: ignore[attr-defined]

    async def test_a_failed_reconnect_is_retried(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 0}) as tail:
                assert of(await tail.fetch(records_max=1, wait_s=PATIENCE_S)) == [0]
                mock.down()
                with pytest.raises(Unavailable):
                    await tail._reconnect("because")  # type: ignore[attr-defined]
                mock.up()
                assert of(await answered(lambda: read(tail, 2))) == [1, 2]


class TestRebalancing:
    async def test_a_listener_that_raises_fails_the_fetch_and_gives_up_its_partitions(self, mock: MockCluster) -> None:
        """The client would swallow errors of a listener."""
        async with serving(mock, session_s=SOON_S) as bus:
            listener = RecordingListener()
            listener.broken = True
            with pytest.raises(RuntimeError, match="the listener is broken"):
                async with bus.subscribe([IN], group="g", listener=listener) as subscription:
                    await joined(subscription)
                    mock.fail(Api.HEARTBEAT, 27)
                    with anyio.fail_after(PATIENCE_S):
                        while True:
                            await subscription.fetch(records_max=0, wait_s=0.1)
            async with bus.subscribe([IN], group="g") as subscription:
                await joined(subscription)

    async def test_a_fetch_cancelled_in_a_rebalance_calls_the_listener_again(self, mock: MockCluster) -> None:
        async with serving(mock, session_s=15.0) as bus:  # with frequent heartbeats
            listener = RecordingListener()
            async with bus.subscribe([IN], group="g", listener=listener) as subscription:
                for word in ("assign", "revok"):
                    listener.free = anyio.Event()
                    with anyio.fail_after(PATIENCE_S):
                        while listener.calls.count(f"{word}ing") < 2:
                            async with anyio.create_task_group() as tasks:
                                tasks.start_soon(fetching, subscription)
                                begun = listener.calls.count(f"{word}ing")
                                while listener.calls.count(f"{word}ing") == begun:
                                    await anyio.sleep(0.01)
                                tasks.cancel_scope.cancel()
                    assert f"{word}ed" not in listener.calls
                    listener.free.set()
                    with anyio.fail_after(PATIENCE_S):
                        while f"{word}ed" not in listener.calls:
                            await subscription.fetch(records_max=0, wait_s=0.1)
                    mock.fail(Api.HEARTBEAT, 27)

    async def test_closing_during_a_revocation_leaves_the_group(self, mock: MockCluster) -> None:
        """It gives up its partitions and leaves, so the group does not wait for its session to expire."""
        async with serving(mock, stop_s=PATIENCE_S, session_s=6.0) as bus:
            with anyio.fail_after(PATIENCE_S):
                async with bus.subscribe([IN], group="g") as subscription:
                    await joined(subscription)
                    mock.fail(Api.HEARTBEAT, 27)
                    while subscription._revocation is None:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                    mock.track()
                assert mock.requests(Api.LEAVE_GROUP) == 1
                async with bus.subscribe([IN], group="g") as subscription:
                    await joined(subscription)

    async def test_leaving_while_the_broker_is_down_cancels_no_other_task(self, mock: MockCluster) -> None:
        """The client's `stop` raises a stray `CancelledError`, which a task group would take for its own."""
        alive, left = False, anyio.Event()
        async with serving(mock, stop_s=0.3) as bus:
            with anyio.fail_after(PATIENCE_S):
                async with anyio.create_task_group() as tasks:

                    async def sibling() -> None:
                        nonlocal alive
                        await left.wait()
                        alive = True

                    tasks.start_soon(sibling)
                    async with bus.subscribe([IN], group="g") as subscription, bus.tail({WHERE: 0}) as tail:
                        await joined(subscription)
                        await tail.fetch(records_max=1, wait_s=0.1)
                        mock.down()
                        await anyio.sleep(0.1)
                    left.set()
        assert alive

    async def test_a_join_may_take_longer_than_the_request_timeout(self, mock: MockCluster) -> None:
        """A join is answered when the slowest member has revoked; with a shorter time-out it would never succeed."""
        async with serving(mock, session_s=4.0, request_s=1.0) as bus:
            for _ in range(2):  # after the first has left, the mock coordinator delays joins by three seconds
                async with bus.subscribe([IN], group="g") as subscription:
                    await answered(lambda: joined(subscription))  # on a busy machine other requests may time out

    async def test_a_heartbeat_on_a_dead_connection_is_detected(self, mock: MockCluster) -> None:
        """By the member itself, which may act without reading: it joins again within two sessions."""
        async with mock.proxied() as proxy, serving(mock, session_s=2.0, request_s=0.3, stop_s=0.2) as bus:
            listener = RecordingListener()
            async with bus.subscribe([IN], group="g", listener=listener) as subscription:
                await answered(lambda: joined(subscription))
                before = proxy.accepted
                proxy.freeze()
                with anyio.fail_after(PATIENCE_S):
                    while proxy.accepted == before or subscription._consumer._coordinator.coordinator_id is None:  # type: ignore[attr-defined]
                        await answered(lambda: subscription.fetch(records_max=0, wait_s=0.05))
                await commits(subscription, {WHERE: 0})

    async def test_a_cancelled_subscribe_leaks_no_task(self, mock: MockCluster) -> None:
        async with serving(mock, session_s=SOON_S) as bus:
            for moment in range(8):
                with anyio.move_on_after(moment * 0.004):
                    async with bus.subscribe([IN], group="g") as subscription, bus.tail({WHERE: 0}):
                        await joined(subscription)


class TestOffsetQueries:
    async def test_fifty_queries_while_the_broker_is_down_fail_together_and_then_succeed(
        self, mock: MockCluster
    ) -> None:
        async with serving(mock, call_s=0.5, stop_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 3))
            questions = (
                lambda: bus.end_offsets([IN]),
                lambda: bus.beginning_offsets([IN]),
                lambda: bus.committed("g", [IN]),
            )
            for ask in questions:
                await answered(ask)
            mock.down()
            for _ in range(2):  # with a connected client, and without one
                with anyio.fail_after(PATIENCE_S):
                    answers = await asyncio.gather(
                        *(ask() for ask in questions for _ in range(50)), return_exceptions=True
                    )
                assert {type(answer) for answer in answers} == {Unavailable}
            mock.up()
            for ask, answer in zip(questions, ({WHERE: 3}, {WHERE: 0}, {}), strict=True):
                assert await answered(ask) == answer

    async def test_dropping_a_client_twice_keeps_its_replacement(self, mock: MockCluster) -> None:
        async with serving(mock) as bus:
            await bus.end_offsets([IN])
            shared = bus._connection.offsets._consumers  # type: ignore[union-attr]
            old = shared.client
            shared.drop(old)
            await bus.end_offsets([IN])
            new = shared.client
            shared.drop(old)
            assert shared.client is new is not old


class TestLogThrottle:
    def record(self, message: str, at: float, *arguments: object, name: str = "aiokafka.conn") -> logging.LogRecord:
        record = logging.LogRecord(name, logging.WARNING, "", 0, message, arguments, None)
        record.created = at
        return record

    async def test_a_repeated_message_passes_once_per_interval_with_a_count(self) -> None:
        throttle = LogThrottle(interval_s=30)
        assert throttle.filter(self.record("no %s", 0.0, "a"))
        assert not throttle.filter(self.record("no %s", 1.0, "b"))
        assert not throttle.filter(self.record("no %s", 29.9, "c"))
        assert throttle.filter(self.record("something else", 1.0))
        assert throttle.filter(self.record("no %s", 1.0, "a", name="aiokafka.client"))
        again = self.record("no %s", 30.0, "d")
        assert throttle.filter(again)
        assert again.getMessage() == "no d (and 2 more of these)"

    async def test_the_memory_of_the_throttle_is_bounded(self) -> None:
        throttle = LogThrottle()
        for number in range(MESSAGES_MAX * 3):
            assert throttle.filter(self.record(f"{number}", 0.0))
        assert len(throttle._passed) <= MESSAGES_MAX


async def test_the_private_names_of_the_client_exist() -> None:
    """Any release of the client may change them; each is used because there is no public one."""
    from aiokafka import errors
    from aiokafka.consumer.group_coordinator import GroupCoordinator
    from aiokafka.consumer.subscription_state import Assignment

    assert callable(GroupCoordinator.maybe_leave_group)
    assert errors.for_code(87).__name__ == "InvalidRecord"
    assert callable(Assignment([KafkaPartition("topic", 0)]).state_value)

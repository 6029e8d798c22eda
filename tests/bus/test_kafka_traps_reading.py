"""What the client and the cluster do once in a blue moon, on the side that reads, commits and asks.

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

from airy.bus.api import Fenced, Reader, Subscription, Truncated
from airy.bus.kafka import KafkaBus
from airy.bus.kafka.quiet import NAMES_MAX, Hush
from airy.bus.record import Emit, TopicPartition
from airy.errors import Unavailable
from tests.kit.bus import read, running
from tests.kit.kafka_traps import (
    IN,
    OUT,
    PATIENCE_S,
    SOON_S,
    TOPICS,
    WIDE,
    Stage,
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

WHERE = IN.where[0]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The client is asyncio's, and the machine's clock its own."""
    return str(request.param)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture
def mock(stage: Stage) -> Stage:
    return stage.anew()


class Owner:
    """Remembers what it was told, and can be slow, or broken."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.given: Mapping[TopicPartition, int] = {}
        self.free = anyio.Event()  # to go on
        self.free.set()
        self.broken = False

    async def assigned(self, partitions: Mapping[TopicPartition, int]) -> None:
        self.told.append("assigning")
        await self.free.wait()
        self.given = dict(partitions)
        self.told.append("assigned")

    async def revoked(self, _: Iterable[TopicPartition]) -> None:
        self.told.append("revoking")
        if self.broken:
            raise RuntimeError("the owner is broken")
        await self.free.wait()
        self.told.append("revoked")

    @property
    def handovers(self) -> int:
        """How often it had everything, let go, and had it again: one after the other, and it has it now."""
        rounds = len(self.told) // 4
        assert self.told == ["assigning", "assigned", "revoking", "revoked"] * rounds + ["assigning", "assigned"]
        return rounds


async def joined(subscription: Subscription) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not subscription.assignment:
            await subscription.fetch(records_max=0, wait_s=0.1)


async def fetching(*readers: Reader) -> None:
    """For ever: members have to be heard."""

    async def one(reader: Reader) -> None:
        while True:
            await reader.fetch(records_max=0, wait_s=0.05)

    async with anyio.create_task_group() as tasks:
        for reader in readers:
            tasks.start_soon(one, reader)


class TestCommitting:
    @pytest.mark.parametrize("code", [22, 25, 27, 82, 12345, 12, 28, 29, 30])
    async def test_a_commit_that_was_not_taken_is_no_success(self, mock: Stage, code: int) -> None:
        """Fenced for what says that the group went on; for all others it is not known, so later."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                mock.fail(Api.OFFSET_COMMIT, code)
                with pytest.raises(Fenced if code in {22, 25, 27} else Unavailable):
                    await subscription.commit({WHERE: 3})
                assert await bus.committed("g", [IN]) == {}

    @pytest.mark.parametrize("code", [7, 14, 15, 16])
    async def test_a_coordinator_that_moves_is_asked_again(self, mock: Stage, code: int) -> None:
        async with serving(mock, call_s=PATIENCE_S) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                mock.fail(Api.OFFSET_COMMIT, code)
                await subscription.commit({WHERE: 3})
                assert await bus.committed("g", [IN]) == {WHERE: 3}

    async def test_who_was_put_out_cannot_commit_as_somebody_without_a_group(self, mock: Stage) -> None:
        """Between the news and the rebalance there is a moment in which the client has no generation."""
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

    @pytest.mark.slow
    async def test_a_member_the_cluster_forgot_is_fenced_and_joins_again(self, mock: Stage) -> None:
        async with serving(mock, session_s=2 * SOON_S) as bus:
            await bus.publish(numbers(IN, 0, 3))
            owner = Owner()
            async with bus.subscribe([IN], group="g", ownership=owner) as subscription:
                await read(subscription, 3)
                mock.fail(Api.HEARTBEAT, 25)
                with anyio.fail_after(PATIENCE_S):
                    while owner.told.count("assigned") < 2:
                        await subscription.fetch(records_max=0, wait_s=0.1)
                assert owner.handovers >= 1  # a busy machine is forgotten more than once
                assert owner.given == {WHERE: 0}
                assert of(await read(subscription, 3)) == [0, 1, 2]

    async def test_a_commit_with_the_broker_away_fails_in_time(self, mock: Stage) -> None:
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


class TestWhereToGoOn:
    @pytest.mark.parametrize("code", [14, 15, 16])
    async def test_a_coordinator_that_just_took_over_does_not_send_us_to_the_start(
        self, mock: Stage, code: int
    ) -> None:
        """It answers with an error and without partitions: that is not "nothing was committed"."""
        async with serving(mock, session_s=SOON_S) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.subscribe([IN], group="g") as subscription:
                await read(subscription, 3)
                await commits(subscription, {WHERE: 2})
            mock.fail(Api.OFFSET_FETCH, code)
            with pytest.raises(Unavailable):
                await bus.committed("g", [IN])
            mock.fail(Api.OFFSET_FETCH, *[code] * 10_000)  # the client asks too, all the time
            owner, fetched = Owner(), 0
            with anyio.fail_after(PATIENCE_S):
                while not owner.given:
                    fetched += 1
                    try:
                        async with bus.subscribe([IN], group="g", ownership=owner) as subscription:
                            await joined(subscription)
                    except Unavailable:
                        mock.heal(Api.OFFSET_FETCH)
            assert fetched > 1
            assert owner.given == {WHERE: 2}

    async def test_a_member_that_could_not_ask_where_to_go_on_asks_again(self, mock: Stage) -> None:
        """In the same membership: one that is told nothing for ever is alive, owns nothing, and delays everything."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            ends = bus._open.ends  # type: ignore[union-attr]
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

    async def test_an_answer_without_partitions_is_not_that_nothing_was_committed(self, mock: Stage) -> None:
        """As a real coordinator answers while it takes over; a mock one names the partitions all the same."""
        async with serving(mock) as bus:
            assert await bus.committed("g", [IN]) == {}
            admin = bus._open.ends._admins.client.admin  # type: ignore[union-attr]

            async def answer(*_: object) -> SimpleNamespace:
                return SimpleNamespace(topics=[], error_code=16)

            admin.find_coordinator, admin._send_request = answer, answer
            with pytest.raises(Unavailable, match="does not know"):
                await bus.committed("g", [IN])

    async def test_what_the_client_reads_before_we_know_where_is_not_lost(self, mock: Stage) -> None:
        """A member joins while nobody fetches: the client reads already, and what nobody asked for is dropped."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 5))
            async with bus.subscribe([IN], group="g") as subscription:
                with anyio.fail_after(PATIENCE_S):
                    while subscription._letting_go is None:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                    assert await subscription.fetch(records_max=10, wait_s=0) == []
                    while subscription._dealt is None:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                await subscription._fill_once(subscription._consumer, [])  # type: ignore[attr-defined]
                assert of(await read(subscription, 5)) == [0, 1, 2, 3, 4]

    async def test_what_the_client_gives_beyond_what_is_held_comes_again(self, mock: Stage) -> None:
        """Asked for everything, it also gives what comes after records that were not handed out yet."""
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 4))
            async with bus.tail({WHERE: 0}) as tail:
                assert of(await tail.fetch(records_max=2, wait_s=PATIENCE_S)) == [0, 1]
                await bus.publish(numbers(IN, 4, 6))
                with anyio.fail_after(PATIENCE_S):
                    while tail._consumer._fetcher._records == {}:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                await tail._fill_once(tail._consumer, [])  # type: ignore[attr-defined]
                assert of(await read(tail, 4)) == [2, 3, 4, 5]

    async def test_an_offset_out_of_range_is_loud(self, mock: Stage) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 100}) as tail:
                with pytest.raises(Truncated, match=r"in\[0\]@100"):
                    await read(tail, 1)
            async with bus.tail({WHERE: 0}) as tail:
                mock.fail(Api.FETCH, 1)
                with pytest.raises(Truncated):
                    await read(tail, 3)
                tail.seek(WHERE, 1)  # on purpose
                assert of(await read(tail, 2)) == [1, 2]

    @pytest.mark.parametrize(("code", "words"), [(29, "airy topics acls"), (3, ""), (6, ""), (56, ""), (12345, "")])
    async def test_an_error_while_reading_loses_nothing(self, mock: Stage, code: int, words: str) -> None:
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

    async def test_a_partition_without_a_leader_is_read_when_it_has_one(self, mock: Stage) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            mock.leader(mock.wire(IN), 0, -1)
            async with bus.tail({WHERE: 0}) as tail:
                assert await tail.fetch(records_max=10, wait_s=0.2) == []
                mock.leader(mock.wire(IN), 0, 1)
                assert of(await read(tail, 3)) == [0, 1, 2]

    async def test_an_unknown_topic_says_what_to_do(self, mock: Stage) -> None:
        async with serving(mock) as bus:
            mock.topic_error(mock.wire(OUT), 3)
            async with bus.subscribe([OUT], group="g") as subscription:
                with anyio.fail_after(PATIENCE_S):
                    with pytest.raises(Unavailable, match="airy topics apply"):
                        while True:
                            await subscription.fetch(records_max=1, wait_s=0.1)
            mock.topic_error(mock.wire(OUT), 0)

    async def test_two_fetches_at_once_are_a_bug(self, mock: Stage) -> None:
        async with serving(mock) as bus, bus.tail({WHERE: 0}) as tail, anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: tail.fetch(records_max=1, wait_s=PATIENCE_S))
            await anyio.sleep(0.02)
            with pytest.raises(anyio.BusyResourceError):
                await tail.fetch(records_max=1, wait_s=0)
            tasks.cancel_scope.cancel()

    async def test_a_reader_that_was_closed_says_so(self, mock: Stage) -> None:
        async with serving(mock) as bus:
            async with bus.tail({WHERE: 0}) as tail, bus.subscribe([IN], group="g") as subscription:
                pass
            for reader in (tail, subscription):
                with pytest.raises(RuntimeError, match="ended"):
                    await reader.fetch(records_max=1, wait_s=0)


class TestStandingStill:
    async def frozen(self, mock: Stage, proxy: Proxy) -> None:
        """More records, by way of another process; all connections that were open are dead now and do not say so."""
        proxy.freeze()
        async with running(KafkaBus(TOPICS, mock.settings())) as other:
            await other.publish(numbers(IN, 3, 6))

    @pytest.mark.slow
    async def test_a_tail_whose_connection_dies_silently_goes_on_with_a_new_client(self, mock: Stage) -> None:
        async with mock.proxied() as proxy, serving(mock, stop_s=0.2, request_s=60) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 0}) as tail:
                assert of(await read(tail, 3)) == [0, 1, 2]
                hurry(tail, stall_s=0.6)
                await self.frozen(mock, proxy)
                assert of(await read(tail, 3)) == [3, 4, 5]

    @pytest.mark.slow
    async def test_a_member_whose_connection_dies_silently_says_so(self, mock: Stage) -> None:
        """Its work is done by whoever has it next: the same, started anew."""
        async with mock.proxied() as proxy, serving(mock, session_s=4.0, stop_s=0.2, request_s=60) as bus:
            await bus.publish(numbers(IN, 0, 3))
            with anyio.fail_after(PATIENCE_S):
                async with bus.subscribe([IN], group="g") as subscription:
                    await read(subscription, 3)
                    await commits(subscription, {WHERE: 2})
                    await self.frozen(mock, proxy)
                    hurry(subscription, stall_s=0.6)
                    hurry(bus._open.ends, call_s=2.0)  # type: ignore[union-attr]
                    with pytest.raises(Unavailable):
                        while True:
                            await subscription.fetch(records_max=10, wait_s=0.1)
                came: list[int] = []
                while 5 not in came:
                    with suppress(Unavailable):  # what the bus asks with was frozen too
                        async with bus.subscribe([IN], group="g") as subscription:
                            while 5 not in came:
                                came += of(await subscription.fetch(records_max=10, wait_s=PATIENCE_S))
                assert first(came) == [2, 3, 4, 5]

    @pytest.mark.slow
    async def test_a_client_that_stops_asking_is_replaced(self, mock: Stage) -> None:
        """Nothing fails and nothing comes."""
        async with serving(mock, stall_s=0.6) as bus, bus.tail({WHERE: 0}) as tail:
            assert await tail.fetch(records_max=10, wait_s=0.1) == []
            tail._consumer._fetcher._fetch_task.cancel()  # type: ignore[attr-defined]
            await bus.publish(numbers(IN, 0, 3))
            assert of(await read(tail, 3)) == [0, 1, 2]

    @pytest.mark.slow
    async def test_one_partition_that_stands_still_is_noticed_while_another_flows(self) -> None:
        with Stage(2) as stage:
            stage.anew()
            for partition in (0, 1):
                stage.leader(stage.wire(WIDE), partition, partition + 1)
            async with stage.proxied(2) as proxy, serving(stage, stop_s=0.2, request_s=60) as bus:
                await bus.publish([Emit(WIDE.name, partition, b"key", b"0") for partition in (0, 1)])
                async with bus.tail(dict.fromkeys(WIDE.where, 0)) as tail:
                    await read(tail, 2)
                    proxy.freeze()
                    hurry(tail, stall_s=0.6)
                    hurry(bus._open.ends, call_s=2.0)  # type: ignore[union-attr]
                    with anyio.fail_after(PATIENCE_S):
                        async with running(KafkaBus(TOPICS, stage.settings())) as other:
                            await other.publish([Emit(WIDE.name, 1, b"key", b"1")])
                            came = False
                            while not came:
                                await other.publish([Emit(WIDE.name, 0, b"key", b"1")])
                                records = await answered(lambda: tail.fetch(records_max=100, wait_s=0.1))
                                came = any(record.partition == 1 for record in records)

    async def test_who_does_not_fetch_for_long_is_not_taken_for_a_client_that_stands_still(self, mock: Stage) -> None:
        async with serving(mock, stall_s=PATIENCE_S) as bus, bus.tail({WHERE: 0}) as tail:
            await tail.fetch(records_max=10, wait_s=0)
            consumer = tail._consumer  # type: ignore[attr-defined]
            with anyio.fail_after(PATIENCE_S):
                await asyncio.wait({tail._filling})  # type: ignore[attr-defined]
            tail._asked_at -= 2 * PATIENCE_S  # type: ignore[attr-defined]  # so long ago
            tail._looked_at -= 2 * PATIENCE_S  # type: ignore[attr-defined]
            await bus.publish(numbers(IN, 0, 3))
            assert of(await read(tail, 3)) == [0, 1, 2]
            assert tail._consumer is consumer  # type: ignore[attr-defined]

    @pytest.mark.slow
    async def test_nothing_to_read_is_no_reason_for_a_new_client(self, mock: Stage) -> None:
        async with serving(mock, stall_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 0}) as tail, bus.subscribe([IN], group="g") as subscription:
                await read(tail, 3)
                tail._patience_s = PATIENCE_S  # type: ignore[attr-defined]  # with a client that does not even time out
                clients = (tail._consumer, subscription._consumer)  # type: ignore[attr-defined]
                for _ in range(12):
                    assert await tail.fetch(records_max=10, wait_s=0.1) == []
                    assert await subscription.fetch(records_max=0, wait_s=0.05) == []  # there is, and it does not ask
                assert (tail._consumer, subscription._consumer) == clients  # type: ignore[attr-defined]

    async def test_who_reads_nothing_waits_for_nothing(self, mock: Stage) -> None:
        """The client does not keep it waiting either, which would look as if that stood still."""
        async with serving(mock) as bus, bus.tail({}) as tail:
            consumer = tail._consumer  # type: ignore[attr-defined]
            assert await tail.fetch(records_max=10, wait_s=0.1) == []
            with anyio.fail_after(PATIENCE_S):
                await asyncio.wait({tail._filling})  # type: ignore[attr-defined]
            assert await tail.fetch(records_max=10, wait_s=0) == []
            assert tail._consumer is consumer  # type: ignore[attr-defined]

    async def test_a_new_client_that_could_not_be_made_is_made_later(self, mock: Stage) -> None:
        async with serving(mock) as bus:
            await bus.publish(numbers(IN, 0, 3))
            async with bus.tail({WHERE: 0}) as tail:
                assert of(await tail.fetch(records_max=1, wait_s=PATIENCE_S)) == [0]
                mock.down()
                with pytest.raises(Unavailable):
                    await tail._renew("because")  # type: ignore[attr-defined]
                mock.up()
                assert of(await answered(lambda: read(tail, 2))) == [1, 2]


class TestRebalancing:
    @pytest.mark.slow
    async def test_a_broken_owner_is_heard_of_and_lets_go(self, mock: Stage) -> None:
        """The client would swallow what a listener raises."""
        async with serving(mock, session_s=SOON_S) as bus:
            owner = Owner()
            owner.broken = True
            with pytest.raises(RuntimeError, match="the owner is broken"):
                async with bus.subscribe([IN], group="g", ownership=owner) as subscription:
                    await joined(subscription)
                    mock.fail(Api.HEARTBEAT, 27)
                    with anyio.fail_after(PATIENCE_S):
                        while True:
                            await subscription.fetch(records_max=0, wait_s=0.1)
            async with bus.subscribe([IN], group="g") as subscription:
                await joined(subscription)

    @pytest.mark.slow
    async def test_a_fetch_cancelled_in_a_rebalance_is_told_of_it_again(self, mock: Stage) -> None:
        async with serving(mock, session_s=15.0) as bus:  # with a heart that beats often
            owner = Owner()
            async with bus.subscribe([IN], group="g", ownership=owner) as subscription:
                for word in ("assign", "revok"):
                    owner.free = anyio.Event()
                    with anyio.fail_after(PATIENCE_S):
                        while owner.told.count(f"{word}ing") < 2:
                            async with anyio.create_task_group() as tasks:
                                tasks.start_soon(fetching, subscription)
                                begun = owner.told.count(f"{word}ing")
                                while owner.told.count(f"{word}ing") == begun:
                                    await anyio.sleep(0.01)
                                tasks.cancel_scope.cancel()
                    assert f"{word}ed" not in owner.told
                    owner.free.set()
                    with anyio.fail_after(PATIENCE_S):
                        while f"{word}ed" not in owner.told:
                            await subscription.fetch(records_max=0, wait_s=0.1)
                    mock.fail(Api.HEARTBEAT, 27)

    @pytest.mark.slow
    async def test_closing_while_the_client_waits_for_us_to_let_go(self, mock: Stage) -> None:
        """It lets go, and says goodbye: nobody has to wait until it is missed."""
        async with serving(mock, stop_s=PATIENCE_S, session_s=6.0) as bus:
            with anyio.fail_after(PATIENCE_S):
                async with bus.subscribe([IN], group="g") as subscription:
                    await joined(subscription)
                    mock.fail(Api.HEARTBEAT, 27)
                    while subscription._letting_go is None:  # type: ignore[attr-defined]
                        await anyio.sleep(0.01)
                    mock.track()
                assert mock.requests(Api.LEAVE_GROUP) == 1
                async with bus.subscribe([IN], group="g") as subscription:
                    await joined(subscription)

    async def test_leaving_with_the_broker_away_harms_nobody_beside_it(self, mock: Stage) -> None:
        """The client's `stop` raises a cancellation nobody asked for; a task group would take it for its own."""
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

    @pytest.mark.slow
    async def test_a_join_may_take_longer_than_other_requests(self, mock: Stage) -> None:
        """As long as the slowest member takes to let go: who asks anew each time never gets in."""
        async with serving(mock, session_s=4.0, request_s=1.0) as bus:
            for _ in range(2):  # after the first has left, the mock coordinator lets nobody in for three seconds
                async with bus.subscribe([IN], group="g") as subscription:
                    await answered(lambda: joined(subscription))  # other requests may be too late, on a busy machine

    @pytest.mark.slow
    async def test_a_heart_that_beats_into_a_dead_connection_is_noticed(self, mock: Stage) -> None:
        """By its own member too, which may act without reading: it joins again before its session is over twice."""
        async with mock.proxied() as proxy, serving(mock, session_s=2.0, request_s=0.3, stop_s=0.2) as bus:
            owner = Owner()
            async with bus.subscribe([IN], group="g", ownership=owner) as subscription:
                await answered(lambda: joined(subscription))
                before = proxy.accepted
                proxy.freeze()
                with anyio.fail_after(PATIENCE_S):
                    while proxy.accepted == before or subscription._consumer._coordinator.coordinator_id is None:  # type: ignore[attr-defined]
                        await answered(lambda: subscription.fetch(records_max=0, wait_s=0.05))
                await commits(subscription, {WHERE: 0})

    @pytest.mark.slow
    async def test_cancelled_while_it_subscribes_it_leaves_nothing(self, mock: Stage) -> None:
        async with serving(mock, session_s=SOON_S) as bus:
            for moment in range(8):
                with anyio.move_on_after(moment * 0.004):
                    async with bus.subscribe([IN], group="g") as subscription, bus.tail({WHERE: 0}):
                        await joined(subscription)


class TestAsking:
    async def test_fifty_who_ask_with_the_broker_away_are_told_together_and_then_served(self, mock: Stage) -> None:
        async with serving(mock, call_s=0.5, stop_s=0.3) as bus:
            await bus.publish(numbers(IN, 0, 3))
            questions = (lambda: bus.ends([IN]), lambda: bus.starts([IN]), lambda: bus.committed("g", [IN]))
            for ask in questions:
                await answered(ask)
            mock.down()
            for _ in range(2):  # of clients that were connected, and with none
                with anyio.fail_after(PATIENCE_S):
                    answers = await asyncio.gather(
                        *(ask() for ask in questions for _ in range(50)), return_exceptions=True
                    )
                assert {type(answer) for answer in answers} == {Unavailable}
            mock.up()
            for ask, answer in zip(questions, ({WHERE: 3}, {WHERE: 0}, {}), strict=True):
                assert await answered(ask) == answer

    async def test_a_client_somebody_dropped_is_not_dropped_for_the_next(self, mock: Stage) -> None:
        async with serving(mock) as bus:
            await bus.ends([IN])
            kept = bus._open.ends._consumers  # type: ignore[union-attr]
            old = kept.client
            kept.drop(old)
            await bus.ends([IN])
            new = kept.client
            kept.drop(old)
            assert kept.client is new is not old


class TestHush:
    def record(self, words: str, at: float, *arguments: object, name: str = "aiokafka.conn") -> logging.LogRecord:
        record = logging.LogRecord(name, logging.WARNING, "", 0, words, arguments, None)
        record.created = at
        return record

    async def test_the_same_words_come_once_in_a_while_with_how_often_they_were_kept_back(self) -> None:
        hush = Hush(every_s=30)
        assert hush.filter(self.record("no %s", 0.0, "a"))
        assert not hush.filter(self.record("no %s", 1.0, "b"))
        assert not hush.filter(self.record("no %s", 29.9, "c"))
        assert hush.filter(self.record("something else", 1.0))
        assert hush.filter(self.record("no %s", 1.0, "a", name="aiokafka.client"))
        again = self.record("no %s", 30.0, "d")
        assert hush.filter(again)
        assert again.getMessage() == "no d (and 2 more of these)"

    async def test_what_it_remembers_is_bounded(self) -> None:
        hush = Hush()
        for number in range(NAMES_MAX * 3):
            assert hush.filter(self.record(f"{number}", 0.0))
        assert len(hush._said) <= NAMES_MAX


async def test_the_private_names_we_use_are_there() -> None:
    """They may move with any release of the client; each is used for want of a public one."""
    from aiokafka import errors
    from aiokafka.consumer.group_coordinator import GroupCoordinator
    from aiokafka.consumer.subscription_state import Assignment

    assert callable(GroupCoordinator.maybe_leave_group)
    assert errors.for_code(87).__name__ == "InvalidRecord"
    assert callable(Assignment([KafkaPartition("topic", 0)]).state_value)

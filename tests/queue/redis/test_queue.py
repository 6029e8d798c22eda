"""The contract on one Redis server and on a cluster of three, and behaviour specific to Redis."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, suppress
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
import structlog
from anyio.lowlevel import checkpoint

from airy.clock import SystemClock
from airy.errors import Refused, Unavailable
from airy.queue.api import NO_ENTRY, PositionConflict, QueueFull, QueuePosition, QueueStats, Shard
from airy.queue.redis import RedisQueue, queue, scripts
from airy.queue.redis import enqueue as intake
from airy.queue.redis import shard_registry as shards
from airy.queue.redis.connection import RedisCommand, RedisConnection
from tests.kit.contracts.queue import HERE, THERE, QueueContract, claim, entry, offsets, put
from tests.kit.deliveries import assert_one_body_per_id, delivered_through, publisher
from tests.kit.queue_model import Rig
from tests.kit.queue_redis import PATIENCE_S, flush, listening, opened, patient_queue
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer
from tests.kit.webhooks import acting, deliver_all, logged

pytestmark = [pytest.mark.cluster, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer())
        yield server


@pytest.fixture(scope="module")
def three() -> Iterator[RedisServer]:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(cluster_nodes=3))
        yield server


class TestOne(QueueContract):
    @pytest.fixture(autouse=True)
    def _on(self, server: RedisServer) -> None:
        self.server = server

    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]:
        return opened(self.server, jobs_max=jobs_max)


class TestCluster(QueueContract):
    @pytest.fixture(autouse=True)
    def _on(self, three: RedisServer) -> None:
        self.server = three

    def opened(self, *, jobs_max: int = 1_000) -> AbstractAsyncContextManager[Rig]:
        return opened(self.server, jobs_max=jobs_max)


# --- several processes


async def test_a_publisher_and_two_dispatchers_share_a_queue(server: RedisServer) -> None:
    async with opened(server, jobs_max=2) as rig:
        other = patient_queue(server.url, jobs_max=2)
        await other.open()
        await put(rig.queue, entry(3, "a"), entry(4, "b"))
        (one,) = await claim(other, webhook_limits={"b": 0})
        (two,) = await claim(rig.queue)
        with pytest.raises(QueueFull):
            await put(rig.queue, entry(5, "b"), after=(4, 0))
        assert await rig.queue.complete(one), "a token is valid in any process"
        await put(rig.queue, entry(5, "c"), after=(4, 0))
        assert await rig.queue.low_water(HERE) == (4, 0)
        assert await other.retry(two, now_ms=0, due_ms=10, reason="no")
        assert offsets(await claim(other, 10)) == [5, 4]
        await other.close()


@pytest.mark.parametrize("ahead_ms", [3_600_000, -3_600_000])
async def test_a_dispatcher_with_a_wrong_clock_does_not_end_the_leases_of_others(
    server: RedisServer, ahead_ms: int
) -> None:
    async with opened(server) as rig:
        other = patient_queue(server.url)
        await other.open()
        clock_ms = SystemClock().now_ms()
        await put(rig.queue, entry(3, "a"))
        (job,) = await claim(rig.queue, rig.queue.now_ms(clock_ms))
        assert await claim(other, other.now_ms(clock_ms + ahead_ms)) == []
        assert await claim(rig.queue, rig.queue.now_ms(clock_ms)) == []
        assert await rig.queue.complete(job)
        await other.close()


@pytest.mark.parametrize("webhook_ids", [("a",), ()])
async def test_the_put_of_a_publisher_with_an_old_position_is_refused(
    server: RedisServer, webhook_ids: tuple[str, ...]
) -> None:
    async with opened(server) as rig:
        other = patient_queue(server.url)
        await other.open()
        await put(rig.queue, entry(3, "a"))
        await put(other, entry(4, "a"), after=(3, 0))
        with pytest.raises(PositionConflict) as stale:
            await put(rig.queue, entry(9, *webhook_ids), entry(10, *webhook_ids), after=(3, 0))
        assert stale.value.last == await rig.queue.last(HERE) == (4, 0)
        assert offsets(await claim(rig.queue)) == [3, 4]
        await other.close()


async def test_limits_apply_over_all_shards(three: RedisServer) -> None:
    async with opened(three) as rig:
        for partition in range(6):
            await put(rig.queue, entry(1, "a", "b", lane="x"), entry(2, "a", lane="y"), shard=Shard("t", partition))
        jobs = await claim(rig.queue, per_webhook_max=4)
        assert sorted(job.webhook_id for job in jobs) == [*"aaaa", *"bbbb"]
        assert await claim(rig.queue, per_webhook_max=4) == []
        assert len(await claim(rig.queue, jobs_max=3)) == 3


async def test_namespaces_do_not_see_each_other(server: RedisServer) -> None:
    async with opened(server) as rig:
        other = patient_queue(server.url, namespace="other")
        await other.open()
        await put(rig.queue, entry(3, "a"))
        assert (await other.last(HERE), await claim(other)) == (NO_ENTRY, [])
        await other.close()


async def test_a_put_wakes_up_other_processes(server: RedisServer) -> None:
    async with opened(server) as rig:
        other = patient_queue(server.url)
        await other.open()
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(other.wait_for_arrival, 10 * PATIENCE_S)
                await listening(server, other)
                await put(rig.queue, entry(0, "a"))
        began = anyio.current_time()
        await other.wait_for_arrival(0.1)
        assert anyio.current_time() - began >= 0.09, "there was no second message"
        await other.close()


async def test_concurrent_outcomes_are_one_round_trip(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, *(entry(number, "a") for number in range(100)))
        jobs = await claim(rig.queue)
        trips = 0
        run = rig.queue._connection.execute

        async def counted(calls: Sequence[RedisCommand]) -> list[Any]:
            nonlocal trips
            trips += 1
            return await run(calls)

        rig.queue._connection.execute = counted
        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(rig.queue.complete, job)
        assert trips == 1
        assert (await rig.queue.stats()).leased == 0


async def test_an_outcome_is_written_even_if_its_worker_is_cancelled(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, entry(0, "a"))
        (job,) = await claim(rig.queue)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await rig.queue.complete(job)
        assert (await rig.queue.stats()).leased == 0


async def test_an_interrupted_drop_leaves_no_lane_without_a_head(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "DROP_JOBS_MAX", 2)
    async with opened(server) as rig:
        await put(rig.queue, *(entry(number, "a", lane="one") for number in range(5)))
        run, calls_left = rig.queue._connection.execute, 2  # the copy, and the drop of two jobs

        async def cut(calls: Sequence[RedisCommand]) -> list[Any]:
            nonlocal calls_left
            if any(call.words[0] == "EVALSHA" for call in calls):
                calls_left -= 1
                if calls_left < 0:
                    raise Unavailable("cut")
            return await run(calls)

        rig.queue._connection.execute = cut
        with pytest.raises(Unavailable):
            await rig.queue.drop_webhook("a")
        rig.queue._connection.execute = run
        assert offsets(await claim(rig.queue)) == [2]


async def test_lanes_and_webhook_ids_may_be_any_text(server: RedisServer) -> None:
    texts = ["", "a", "a\1", "a b", "ä\U0001f600", "{x}", "%z|[("]
    names = ["a:b|c d", "", "{y}"]
    async with opened(server) as rig:
        entries = [
            msgspec.structs.replace(entry(2 * number + nth, *names), lane=text)
            for number, text in enumerate(texts)
            for nth in (0, 1)
        ]
        await put(rig.queue, *entries)
        for nth in (0, 1):
            jobs = await claim(rig.queue)
            assert len(jobs) == len({(job.entry.lane, job.webhook_id) for job in jobs}) == len(texts) * len(names)
            assert {job.entry.id[0] % 2 for job in jobs} == {nth}
            for job in jobs:
                assert await (rig.queue.dead_letter(job, now_ms=1) if nth else rig.queue.complete(job))
        assert await rig.queue.stats() == QueueStats(0, 0, None)
        for job in jobs:
            assert await rig.queue.replay(HERE, job.entry, now_ms=2)
            assert not await rig.queue.replay(HERE, job.entry, now_ms=2)
        again = await claim(rig.queue, 2)
        assert sorted(job.id for job in again) == sorted(job.id for job in jobs)


async def test_lanes_that_differ_only_by_a_zero_byte_are_ordered_as_one(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, entry(0, "a", lane="x\0"), entry(1, "a", lane="x\1"))
        (job,) = await claim(rig.queue)
        assert job.entry.lane == "x\0"
        await rig.queue.complete(job)
        assert offsets(await claim(rig.queue)) == [1]


# --- failures of Redis


async def test_scripts_are_loaded_again_after_a_script_flush(server: RedisServer) -> None:
    async with opened(server) as rig:
        assert server.ask("SCRIPT", "FLUSH") == "+OK"
        await put(rig.queue, *(entry(number, "a") for number in range(3)))
        assert server.ask("SCRIPT", "FLUSH") == "+OK"
        assert offsets(await claim(rig.queue)) == [0, 1, 2]


async def test_a_wiped_queue_is_logged_and_starts_without_entries(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    async with opened(server) as rig:
        await put(rig.queue, entry(3, "a"))
        with structlog.testing.capture_logs() as logs:
            assert await rig.queue.last(HERE) == (3, 0)
            assert [line["event"] for line in logs] == []
            flush(server)
            assert await rig.queue.last(HERE) == NO_ENTRY
            await rig.queue.last(HERE)
        assert [line["event"] for line in logs] == ["queue.wiped"]
        with pytest.raises(PositionConflict):
            await put(rig.queue, entry(4, "a"), after=(3, 0))


async def test_a_lost_set_of_shards_is_restored_by_the_next_refresh(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    async with opened(server) as rig:
        await put(rig.queue, entry(3, "a"))
        for _ in range(2):
            await rig.reopen()
            assert server.ask("DEL", "{airy}:shards") == ":1"
            await rig.queue.last(HERE)
        other = patient_queue(server.url)
        await other.open()
        await rig.queue.last(HERE)
        assert offsets(await claim(other)) == [3]
        await other.close()


async def test_high_memory_is_logged_once_and_full_memory_makes_the_publisher_wait(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    async with opened(server) as rig:
        used = int(server.ask("INFO", "memory").partition("used_memory:")[2].split()[0])
        try:
            with structlog.testing.capture_logs() as logs:
                await put(rig.queue, entry(0, "a"))
                server.ask("CONFIG", "SET", "maxmemory", str(round(used / 0.68)))
                await put(rig.queue, entry(1, "a"), after=(0, 0))
                await put(rig.queue, entry(2, "a"), after=(1, 0))
                assert [line["event"] for line in logs] == ["queue.memory_high"]
                server.ask("CONFIG", "SET", "maxmemory", str(round(used / 0.95)))
                with pytest.raises(QueueFull, match="maxmemory"):
                    await put(rig.queue, entry(3, "a"), after=(2, 0))
                with pytest.raises(PositionConflict):
                    await put(rig.queue, entry(3, "a"), after=(1, 0))
        finally:
            server.ask("CONFIG", "SET", "maxmemory", "0")
        await put(rig.queue, entry(3, "a"), after=(2, 0))


async def test_a_server_out_of_memory_refuses_puts_and_still_delivers(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, entry(0, "a"), entry(1, "a"))
        try:
            server.ask("CONFIG", "SET", "maxmemory", "1")
            rig.queue._registry._refreshed_at = anyio.current_time()
            with pytest.raises(Unavailable, match=r"OOM|memory"):
                await put(rig.queue, entry(2, "a"), after=(1, 0))
            one, other = await claim(rig.queue)
            assert await rig.queue.complete(one)
            assert await rig.queue.dead_letter(other, now_ms=0)
        finally:
            server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await rig.queue.low_water(HERE) == (1, 1)


async def test_a_redis_that_evicts_is_refused(server: RedisServer) -> None:
    try:
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        server.ask("CONFIG", "SET", "maxmemory", "1gb")
        with pytest.raises(Refused, match="noeviction"):
            await RedisQueue(server.url).open()
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")


async def test_an_unreachable_redis_is_unavailable() -> None:
    for cluster in (False, True):
        queue = RedisQueue("redis://127.0.0.1:1/0", cluster=cluster)
        with pytest.raises(Unavailable):
            await queue.open()
        with pytest.raises(Unavailable):
            await queue.last(HERE)


async def test_the_queue_is_unavailable_during_a_restart_and_works_afterwards() -> None:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer())
        async with opened(server) as rig:
            await put(rig.queue, entry(3, "a"), entry(4, "b"))
            one, other = await claim(rig.queue)
            await anyio.to_thread.run_sync(server.kill)
            for call in (lambda: rig.queue.complete(one), lambda: put(rig.queue, entry(5, "a"), after=(4, 0))):
                with pytest.raises(Unavailable):
                    await call()
            await anyio.to_thread.run_sync(server.start)
            assert await rig.queue.complete(one)
            assert await rig.queue.complete(other)
            await put(rig.queue, entry(5, "a"), after=(4, 0))
            assert offsets(await claim(rig.queue)) == [5]


async def test_after_a_restart_every_lane_gets_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer())
        async with opened(server, jobs_max=2_000) as rig:
            await put(rig.queue, *(entry(number, "a", lane=f"{number % 600}") for number in range(1_200)))
            for _ in range(3):  # each call copies some hundred entries
                await rig.queue.next_due_ms()
            await rig.queue.last(HERE)
            assert server.ask("DEL", f"{{airy:{HERE.topic}/0}}:heads:a") == ":1"
            await rig.queue.last(HERE)  # repairs the oldest entry only
            assert offsets(await claim(rig.queue, jobs_max=1_000, per_webhook_max=1_000)) == [0]
            await anyio.to_thread.run_sync(server.stop)
            await anyio.to_thread.run_sync(server.start)
            with suppress(Unavailable):  # of a connection to the previous server
                await rig.queue.last(HERE)
            await rig.queue.last(HERE)
            assert offsets(await claim(rig.queue, jobs_max=1_000, per_webhook_max=1_000)) == [*range(1, 600)]


@pytest.mark.slow
async def test_a_cluster_without_one_node_serves_the_other_shards() -> None:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(cluster_nodes=3))
        where = [Shard("t", partition) for partition in range(8)]
        async with opened(server) as rig:
            for shard in where:
                await put(rig.queue, entry(1, "a"), shard=shard)
            await anyio.to_thread.run_sync(server.kill, 1)
            answered = 0
            for shard in where:
                try:
                    assert await rig.queue.low_water(shard) == (1, 0)
                    answered += 1
                except Unavailable:
                    continue
            assert 0 < answered < len(where)
            assert len(await claim(rig.queue)) == answered, "the loss of one node affects no other shard"
            await anyio.to_thread.run_sync(server.start, 1)
            with anyio.fail_after(PATIENCE_S):
                while True:
                    try:
                        waiting = (await rig.queue.stats()).waiting
                        break
                    except Unavailable:
                        await anyio.sleep(0.1)
            assert waiting == len(where) - answered
            assert len(await claim(rig.queue)) == waiting


# --- bounds


async def test_puts_of_other_processes_are_counted_within_a_second(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "COUNT_S", 0.0)
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    async with opened(server, jobs_max=3) as rig:
        other = patient_queue(server.url, jobs_max=3)
        await other.open()
        await put(rig.queue, entry(0, "a"))
        await put(other, entry(0, "a", "b", lane="x"), shard=THERE)
        with pytest.raises(QueueFull):
            await put(rig.queue, entry(1, "a"), after=(0, 0))
        await other.close()


async def test_consecutive_entries_without_webhooks_are_one_command(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, *(entry(number) for number in range(500)))
        await put(rig.queue, *(entry(number) for number in range(500, 1_000)), after=(499, 0))
        assert (await rig.queue.last(HERE), await rig.queue.low_water(HERE)) == ((999, 0), (999, 1))
        assert int(server.ask("XLEN", f"{{airy:{HERE.topic}/0}}:in")[1:]) == 0


async def test_no_key_remains_of_delivered_jobs(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, *(entry(number, "a", "b", lane=f"{number % 3}") for number in range(30)))
        while await deliver_all(rig.queue, 0, lambda _: None):
            pass
        for _ in range(3):  # each call removes one webhook
            await rig.queue.low_water(HERE)
        base = f"{{airy:{HERE.topic}/0}}"
        left = {f"{base}:in", f"{base}:cursor", "{airy}:shards", "{airy}:generation"}
        assert int(server.ask("DBSIZE")[1:]) == len(left)
        assert all(server.ask("EXISTS", key) == ":1" for key in left)


async def test_a_listener_cancelled_during_its_subscription_works_afterwards(server: RedisServer) -> None:
    async with opened(server) as rig:
        for turns in range(12):  # event loop turns, during connect and subscribe
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rig.queue.wait_for_arrival, 100)
                for _ in range(turns):
                    await checkpoint()
                tasks.cancel_scope.cancel()
        await rig.queue.wait_for_arrival(0.05)
        await listening(server, rig.queue)
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rig.queue.wait_for_arrival, 10 * PATIENCE_S)
                await put(rig.queue, entry(0, "a"))


async def test_the_positions_of_all_shards_are_one_round_trip(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 1e9)
    async with opened(server) as rig:
        where = [Shard("t", partition) for partition in range(8)]
        for shard in where[1:]:
            await put(rig.queue, entry(shard.partition, "a"), shard=shard)
        trips: list[int] = []
        attempt = RedisConnection.try_execute

        async def counted(self: RedisConnection, calls: Sequence[RedisCommand]) -> list[Any]:
            trips.append(len(calls))
            return await attempt(self, calls)

        monkeypatch.setattr(RedisConnection, "try_execute", counted)
        marks = [QueuePosition((number, 0), (number, 0)) for number in range(1, 8)]
        assert await rig.queue.positions(where) == [QueuePosition(NO_ENTRY, NO_ENTRY), *marks]
        assert trips == [8]


async def test_concurrent_puts_into_several_shards_are_one_round_trip_and_one_announcement(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 1e9)
    monkeypatch.setattr(intake, "COUNT_S", 1e9)
    async with opened(server) as rig:
        where = [Shard("t", partition) for partition in range(8)]
        for shard in where:
            await put(rig.queue, entry(0), shard=shard)
        trips: list[list[str]] = []
        run = RedisConnection._execute

        async def counted(self: RedisConnection, calls: Sequence[RedisCommand]) -> list[Any]:
            trips.append([str(call.words[0]) for call in calls])
            return await run(self, calls)

        monkeypatch.setattr(RedisConnection, "_execute", counted)
        async with anyio.create_task_group() as tasks:
            for shard in where:
                tasks.start_soon(partial(put, rig.queue, entry(1, "a"), entry(2, "a"), after=(0, 0), shard=shard))
        assert trips == [["EVALSHA"] * 16 + ["PUBLISH"]]
        assert await rig.queue.positions(where) == [QueuePosition((2, 0), (1, 0))] * 8


async def test_each_shard_of_a_batched_put_has_its_own_result(server: RedisServer) -> None:
    async with opened(server) as rig:
        rival = patient_queue(server.url)
        await rival.open()
        await put(rig.queue, entry(0, "a"))
        await put(rig.queue, entry(0, "a"), shard=THERE)
        await put(rival, entry(7, "a"), after=(0, 0))  # unnoticed
        refused: list[PositionConflict] = []

        async def late() -> None:
            try:
                await put(rig.queue, entry(1, "a"), after=(0, 0))
            except PositionConflict as stale:
                refused.append(stale)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(late)
            tasks.start_soon(partial(put, rig.queue, entry(1, "a"), after=(0, 0), shard=THERE))
        assert [stale.last for stale in refused] == [(7, 0)]
        assert [await rig.queue.last(HERE), await rig.queue.last(THERE)] == [(7, 0), (1, 0)]
        await rival.close()


@pytest.mark.parametrize("turns", range(1, 9))
async def test_cancelling_one_batched_put_does_not_affect_the_others(server: RedisServer, turns: int) -> None:
    async with opened(server) as rig:
        for shard in (HERE, THERE):
            await put(rig.queue, entry(0, "a"), shard=shard)
        scope = anyio.CancelScope()

        async def first() -> None:
            with scope:
                await put(rig.queue, entry(1, "a"), after=(0, 0))

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(first)
                tasks.start_soon(partial(put, rig.queue, entry(1, "a"), after=(0, 0), shard=THERE))
                for _ in range(turns):
                    await checkpoint()
                scope.cancel()
        assert await rig.queue.last(THERE) == (1, 0)
        last = await rig.queue.last(HERE)
        await put(rig.queue, entry(2, "a"), after=last)


async def test_a_count_taken_during_a_put_is_not_used_for_that_shard(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, put_begins, go_on, counts = RedisConnection._execute, anyio.Event(), anyio.Event(), 0

    async def held(self: RedisConnection, calls: Sequence[RedisCommand]) -> list[Any]:
        nonlocal counts
        scripts_called = [call.words[1] for call in calls if call.words[0] == "EVALSHA"]
        counts += scripts.COUNT_JOBS.sha in scripts_called
        if scripts.PUT.sha in scripts_called and calls[0].key.endswith("/0}"):
            put_begins.set()
            await go_on.wait()
        return await run(self, calls)

    async with opened(server) as rig:
        for shard in (HERE, THERE):
            await put(rig.queue, entry(0, "a"), shard=shard)
        monkeypatch.setattr(RedisConnection, "_execute", held)
        monkeypatch.setattr(intake, "COUNT_S", 1e9)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(put, rig.queue, entry(1, "a"), after=(0, 0)))
            await put_begins.wait()
            monkeypatch.setattr(intake, "COUNT_S", 0.0)
            await put(rig.queue, entry(1, "a"), after=(0, 0), shard=THERE)
            go_on.set()
        monkeypatch.setattr(intake, "COUNT_S", 1e9)
        assert counts == 1
        await put(rig.queue, entry(2, "a"), after=(1, 0))
        assert counts == 1


async def test_reading_the_position_of_a_shard_registers_it(server: RedisServer) -> None:
    async with opened(server) as rig:
        await put(rig.queue, entry(0, "a"))
        server.ask("DEL", "{airy}:shards")
        other = patient_queue(server.url)
        await other.open()
        assert await other.positions([HERE]) == [QueuePosition((0, 0), (0, 0))]
        assert server.ask("SCARD", "{airy}:shards") == ":1"
        await other.close()


async def test_one_claim_reaches_jobs_behind_a_large_backlog(server: RedisServer) -> None:
    async with opened(server, jobs_max=10_000) as rig:
        await put(rig.queue, *(entry(number, "busy", lane="one") for number in range(3_000)), entry(3_000, "a"))
        assert offsets(await claim(rig.queue, webhook_limits={"busy": 0})) == [3_000]
        assert offsets(await claim(rig.queue)) == [0]


# --- with the real publisher and dispatcher


async def test_after_a_flush_everything_undelivered_is_queued_again(server: RedisServer) -> None:
    async with opened(server) as rig, logged() as outbox, acting(publisher(outbox, rig.queue), clock=outbox.clock):
        await outbox.subscribes("a")
        happened = [one for number in range(40) for one in await outbox.happens(f"lane {number % 4}")]
        with anyio.fail_after(PATIENCE_S):
            while (await rig.queue.stats()).waiting < 40:
                await anyio.sleep(0.01)
        done: list[str] = []
        for job in (await claim(rig.queue, 10**13))[:3]:
            assert await rig.queue.complete(job)
            done.append(job.entry.event_id)
        flush(server)
        again: list[str] = []
        with anyio.fail_after(PATIENCE_S):
            while set(again) | set(done) != set(happened):
                await deliver_all(rig.queue, 2 * 10**13, lambda job: again.append(job.entry.event_id))
                await anyio.sleep(0.01)
        await anyio.sleep(0.3)
        await deliver_all(rig.queue, 2 * 10**13, lambda job: again.append(job.entry.event_id))
        assert len(again) == len(set(again))


async def test_every_change_is_delivered_in_order_although_redis_is_flushed(server: RedisServer) -> None:
    async def forget() -> None:
        flush(server)

    await forget()
    queue = patient_queue(server.url, cluster=server.nodes > 1)
    assert_one_body_per_id(await delivered_through(queue, {20: forget, 40: forget}))

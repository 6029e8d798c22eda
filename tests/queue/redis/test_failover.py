"""A replica replaces its master under load: entries it never received are queued again from the log, and every change
is delivered, in order, under one id with the same bytes.
"""

from collections.abc import Awaitable
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
import structlog
from redis import Redis

from airy.actors import dispatcher as dispatching
from airy.errors import Unavailable
from airy.queue.redis import RedisQueue, RedisSettings
from airy.queue.redis import shard_registry as shards
from airy.queue.redis.settings import discard_connections
from airy.secret import Secret
from tests.kit.contracts.queue import HERE, entry, put
from tests.kit.deliveries import assert_one_body_per_id, delivered_through
from tests.kit.queue_redis import PATIENCE_S, listening, patient_queue
from tests.kit.servers.child import Child
from tests.kit.servers.fixtures import needed
from tests.kit.servers.missing import program
from tests.kit.servers.ports import HOST, Port
from tests.kit.servers.proxy import Proxy
from tests.kit.servers.redis import RedisServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that were leased before the replica lost its master are leased again when the lease expires there."""
    monkeypatch.setattr(dispatching, "LEASE_SPARE_S", 1.0)


class Pair:
    """A master, and a replica that replaces it. Every call here blocks."""

    def __init__(self, exits: ExitStack, folder: Path) -> None:
        with needed():
            self.master = exits.enter_context(RedisServer(folder / "master"))
            self.replica = exits.enter_context(RedisServer(folder / "replica", replica_of=self.master))
        for each in (self.master, self.replica):
            exits.callback(each.kill)  # a former replica refuses to stop while it writes its first file

    def deafen(self) -> None:
        """Stops replication: the replica becomes a master without any other node noticing."""
        self.replica.promote()

    def fail_over(self) -> None:
        """The master is lost, with what the replica never received."""
        self.master.kill()

    def swap(self) -> None:
        """An operator exchanges the two: both keep running, and the old master becomes read-only."""
        self.master.follow(self.replica)


@pytest.mark.parametrize("how", ["fail_over", "swap"])
async def test_a_replica_promoted_behind_the_same_address_serves_the_queue(tmp_path: Path, how: str) -> None:
    with ExitStack() as exits:
        pair = Pair(exits, tmp_path)
        async with Proxy(HOST, pair.master.ports[0]) as proxy:

            async def change() -> None:
                await anyio.to_thread.run_sync(getattr(pair, how))
                proxy.move(HOST, pair.replica.ports[0])  # open connections stay with the old master

            async def deafen() -> None:
                await anyio.to_thread.run_sync(pair.deafen)

            endpoints = await delivered_through(RedisQueue(f"redis://{HOST}:{proxy.port}/0"), {15: deafen, 35: change})
    assert_one_body_per_id(endpoints)


async def test_entries_a_replica_never_received_are_detected_by_position_without_a_wipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REFRESH_S", 0.0)
    with ExitStack() as exits:
        pair = Pair(exits, tmp_path)
        async with Proxy(HOST, pair.master.ports[0]) as proxy:
            queue = patient_queue(f"redis://{HOST}:{proxy.port}/0")
            await queue.open()
            await put(queue, entry(0, "a"), entry(1, "a"))
            with anyio.fail_after(PATIENCE_S):
                while pair.replica.ask("XLEN", f"{{airy:{HERE.topic}/0}}:in") != ":2":
                    await anyio.sleep(0.01)
            await anyio.to_thread.run_sync(pair.deafen)
            await put(queue, entry(2, "a"), after=(1, 0))
            assert await queue.last(HERE) == (2, 0)
            await anyio.to_thread.run_sync(pair.fail_over)
            proxy.move(HOST, pair.replica.ports[0])
            with structlog.testing.capture_logs() as logs, anyio.fail_after(PATIENCE_S):
                while await _last(queue) is None:
                    await anyio.sleep(0.01)
                assert await queue.last(HERE) == (1, 0)
            assert not any(line["event"] == "queue.wiped" for line in logs)
            await queue.close()


async def _last(queue: RedisQueue) -> object:
    try:
        return await queue.last(HERE)
    except Unavailable:
        return None


@pytest.mark.slow
async def test_the_master_named_by_the_sentinels_is_used(tmp_path: Path) -> None:
    with ExitStack() as exits:
        pair = Pair(exits, tmp_path)
        sentinel = exits.enter_context(Port())
        file = tmp_path / "sentinel.conf"
        file.write_text(
            "\n".join(
                [
                    f"port {sentinel.number}",
                    f"bind {HOST}",
                    f"dir {tmp_path}",
                    f"sentinel monitor main {HOST} {pair.master.ports[0]} 1",
                    "sentinel down-after-milliseconds main 500",
                    "sentinel failover-timeout main 3000",
                ]
            )
        )
        watching = Child(
            [program("redis-server", "redis-server"), str(file), "--sentinel"],
            folder=tmp_path,
            log=tmp_path / "sentinel.log",
        )
        exits.callback(watching.stop)
        await anyio.to_thread.run_sync(watching.start)
        await anyio.to_thread.run_sync(watching.until, lambda: "+slave" in watching.log.read_text(), "the sentinel")
        with Redis(host=HOST, port=sentinel.number, socket_timeout=PATIENCE_S) as client:
            # A sentinel that paused for two seconds does nothing for the next thirty; on a busy machine that repeats.
            client.execute_command("SENTINEL", "DEBUG", "TILT-TRIGGER", 10**7)
        queue = RedisQueue(RedisSettings(url=Secret("redis://main/0"), sentinels=(f"{HOST}:{sentinel.number}",)))

        async def kill() -> None:
            await anyio.to_thread.run_sync(pair.master.kill)

        endpoints = await delivered_through(queue, {20: kill})
        assert "role:master" in pair.replica.ask("INFO", "replication")
    assert_one_body_per_id(endpoints)


async def test_connections_to_a_lost_server_are_not_reused_and_calls_in_flight_finish(tmp_path: Path) -> None:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(tmp_path))
        client = RedisSettings(url=Secret(server.url), connect_s=PATIENCE_S).client(
            socket_s=3 * PATIENCE_S, call_s=PATIENCE_S
        )
        slow = [client.blpop([f"list {number}"], timeout=2 * PATIENCE_S) for number in range(2)]
        numbers: list[int] = []

        async def wait(call: Awaitable[object]) -> None:
            await call

        async def used() -> None:
            numbers.append(await client.client_id())

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                for call in slow:
                    tasks.start_soon(wait, call)
                while (await client.info("clients"))["blocked_clients"] < len(slow):
                    await anyio.sleep(0.01)
                async with anyio.create_task_group() as others:
                    for _ in range(3):
                        others.start_soon(used)
                old = {row["id"] for row in await client.client_list()}
                async with anyio.create_task_group() as others:
                    others.start_soon(discard_connections, client)
                    for _ in range(8):
                        others.start_soon(used)
                for number in range(2):
                    await client.rpush(f"list {number}", "x")
        async with anyio.create_task_group() as others:
            for _ in range(8):
                others.start_soon(used)
        assert not {str(number) for number in numbers[3:]} & old
        assert len(numbers) == 19
        await client.aclose()


async def test_the_listener_subscribes_again_after_a_server_was_lost(tmp_path: Path) -> None:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(tmp_path))
        queue = patient_queue(server.url)
        await queue.open()
        listeners: list[str] = []
        for losses in (0, 0, 1):
            queue._connection.losses = losses
            await queue.wait_for_arrival(0.05)
            listeners.append(await listening(server, queue))
        await queue.close()
        assert listeners[0] == listeners[1] != listeners[2]

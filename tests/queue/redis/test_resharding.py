"""A Redis Cluster changes under load: slots move between nodes, and a replica replaces a lost master. Every change is
delivered, in order, under one id with the same bytes, and no script runs on part of a shard.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import anyio
import pytest

from airy.actors import dispatcher as dispatching
from airy.errors import Unavailable
from airy.queue.api import Shard
from airy.queue.redis import RedisQueue
from tests.kit.contracts.queue import claim, entry, offsets, put
from tests.kit.deliveries import assert_one_body_per_id, delivered_through
from tests.kit.queue_redis import opened
from tests.kit.servers.fixtures import needed
from tests.kit.servers.redis import RedisServer
from tests.kit.servers.resharding import Move, follow, keys, suspect_after

SHARDS = [Shard("t", partition) for partition in range(8)]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.parametrize("anyio_backend", ["asyncio"])]


@pytest.fixture
def cluster() -> Iterator[RedisServer]:
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(cluster_nodes=3))
        yield server


async def test_a_shard_is_unavailable_while_its_slot_moves_and_complete_afterwards(cluster: RedisServer) -> None:
    async with opened(cluster) as rig:
        for shard in SHARDS:
            await put(rig.queue, entry(0, "a"), entry(1, "a"), shard=shard)
        moves = [Move(cluster, source, (source + 1) % cluster.nodes) for source in range(cluster.nodes)]
        move = next(move for move in moves if move.begin())
        assert move.carry(1), "one key of each shard on the node"
        moving = set()
        for shard in SHARDS:
            try:
                assert await rig.queue.last(shard) == (1, 0)
                await put(rig.queue, entry(2, "a"), shard=shard, after=(1, 0))
            except Unavailable as error:
                assert "moving a slot to another node" in str(error)
                moving.add(shard)
        assert moving
        move.end()
        for shard in moving:
            assert await rig.queue.last(shard) == (1, 0)
            await put(rig.queue, entry(2, "a"), shard=shard, after=(1, 0))
        jobs = await claim(rig.queue, jobs_max=1_000, per_webhook_max=1_000)
        assert sorted(offsets(jobs)) == sorted([0, 1, 2] * len(SHARDS)), "each once"


async def test_every_change_is_delivered_while_slots_move_between_all_nodes(cluster: RedisServer) -> None:
    moves = [Move(cluster, source, (source + 1) % cluster.nodes) for source in range(cluster.nodes)]

    def step(number: int) -> Callable[[], Awaitable[object]]:
        move = moves[number // 3]
        steps: tuple[Callable[[], object], ...] = (move.begin, lambda: move.carry(2), move.end)
        return lambda: anyio.to_thread.run_sync(steps[number % 3])

    at = {5 + number * 4: step(number) for number in range(3 * len(moves))}
    endpoints = await delivered_through(RedisQueue(cluster.url, cluster=True), at)
    assert_one_body_per_id(endpoints)


async def test_every_change_is_delivered_when_a_replica_replaces_a_lost_master(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also if the lost node is the one in the configured URL."""
    monkeypatch.setattr(dispatching, "LEASE_SPARE_S", 1.0)  # its leased jobs are due again when their leases expire
    with ExitStack() as exits:
        with needed():
            server = exits.enter_context(RedisServer(cluster_nodes=3, cluster_spares=1))
        for node in range(server.nodes):
            exits.callback(server.kill, node)  # a former replica may refuse to stop
        await anyio.to_thread.run_sync(follow, server, 3, 1)
        await anyio.to_thread.run_sync(suspect_after, server, 2_000)
        queue = RedisQueue(server.urls[1], cluster=True)

        def kill() -> None:
            assert keys(server, 1) > 0, "it has some of the shards"
            server.kill(1)

        endpoints = await delivered_through(queue, {25: lambda: anyio.to_thread.run_sync(kill)})
        assert "role:master" in server.ask("INFO", "replication", node=3)
    assert_one_body_per_id(endpoints)

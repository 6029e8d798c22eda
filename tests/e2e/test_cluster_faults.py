"""Faults on real servers, under load: what was acknowledged is there, once, in order; every store is the log's fold.

`FAULTS` chooses which (`make faults FAULTS=zombie`), `ROUNDS` how often each, `FAULTS_LONG=1` the long outages.
"""

import os
import time
from pathlib import Path
from random import Random

import aiohttp
import anyio
import pytest

from tests.kit.cluster.cluster import At, Cluster
from tests.kit.cluster.faults import FAULTS, Fault, Rig, kill_two_brokers
from tests.kit.cluster.stores import Stores, stores_of
from tests.kit.load import Load, delivered, nothing_amiss
from tests.kit.process import Subscriber, connect, messenger
from tests.kit.servers.fixtures import ClusterFactory
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

THREE = {"kill-two-brokers": kill_two_brokers}
CHOSEN = [name for name in os.environ.get("FAULTS", ",".join([*FAULTS, *THREE])).split(",") if name]
ROUNDS = int(os.environ.get("ROUNDS", "1"))
BEFORE_S = 1.5
AFTER_S = 1.5
SETTLE_S = 150.0
CLIENT_S = 20.0

assert set(CHOSEN) <= FAULTS.keys() | THREE.keys(), f"there are: {', '.join([*FAULTS, *THREE])}"

pytestmark = [
    pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(300 + 240 * ROUNDS * len(CHOSEN)),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]  # fmt: skip


@pytest.mark.skipif(not set(CHOSEN) & FAULTS.keys(), reason="FAULTS chooses none of these")
async def test_one_broker(tmp_path: Path, kafka_cluster_factory: ClusterFactory, seed: int) -> None:
    kafka = kafka_cluster_factory()
    with RedisServer(tmp_path / "redis") as redis:
        await _broken(tmp_path, kafka, redis, {name: FAULTS[name] for name in CHOSEN if name in FAULTS}, Random(seed))


@pytest.mark.skipif(not set(CHOSEN) & THREE.keys(), reason="FAULTS chooses none of these")
async def test_three_brokers(tmp_path: Path, kafka_cluster_factory: ClusterFactory, seed: int) -> None:
    kafka = kafka_cluster_factory(brokers=3)
    with RedisServer(tmp_path / "redis") as redis:
        await _broken(tmp_path, kafka, redis, THREE, Random(seed))


async def _broken(
    directory: Path, kafka: KafkaCluster, redis: RedisServer, faults: dict[str, Fault], random: Random
) -> None:
    timeout = aiohttp.ClientTimeout(total=CLIENT_S)
    async with (
        messenger() as (sim, graph_url),
        Subscriber().serving() as subscriber,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        cluster = Cluster(
            directory / "airy", kafka=kafka.bootstrap, redis=redis.url, graph_url=graph_url,
            replication=len(kafka.nodes),
        )  # fmt: skip
        async with cluster.up(), stores_of(cluster) as stores:
            channel_id = await connect(cluster, session)
            await cluster.call(session, "/webhooks.subscribe", {"url": subscriber.url, "events": ["message.created"]})
            load = Load(cluster, session, random)
            rig = Rig(cluster, kafka, redis, session, random)
            for name in [name for _ in range(ROUNDS) for name in faults]:
                await _one(name, faults[name], rig, load, channel_id, subscriber, stores)
            assert sim.core.journal.violations() == []
            codes = await anyio.to_thread.run_sync(cluster.stop)
            assert set(codes.values()) == {0}, codes
            await stores.are_the_fold()


async def _one(
    name: str, fault: Fault, rig: Rig, load: Load, channel_id: str, subscriber: Subscriber, stores: Stores
) -> None:
    """Load, the fault in the middle of it, load; then everything has to arrive and be right."""
    posted, refused = len(load.acknowledged), load.refused
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.run, channel_id)
        await anyio.sleep(BEFORE_S)
        began = time.perf_counter()
        await fault(rig)
        mended = time.perf_counter()
        await anyio.sleep(AFTER_S)
        tasks.cancel_scope.cancel()
    settling = time.perf_counter()
    await delivered(subscriber, load, channel_id, within_s=SETTLE_S)
    settled = time.perf_counter()
    await rig.cluster.ready(rig.session)
    for url in rig.cluster.urls("api"):
        await nothing_amiss(At(url), rig.session, load, subscriber, channel_id)
    compared = time.perf_counter()
    await stores.are_the_fold()
    print(  # noqa: T201 - what the run measured, shown with -s
        f"{name:18} {mended - began:6.1f} s broken, {settled - settling:6.1f} s to settle, "
        f"{time.perf_counter() - compared:6.1f} s to compare, "
        f"{len(load.acknowledged) - posted:6} taken, {load.refused - refused:6} refused"
    )

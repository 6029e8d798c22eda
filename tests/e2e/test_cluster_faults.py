"""Faults on real servers, under load: what was acknowledged is there, once, in order; every store is the log's fold.

`FAULTS` chooses which (`make faults FAULTS=zombie`; `all`), `ROUNDS` how often each, `FAULTS_LONG=1` the long outages.
Unless told, those run that contain what the others do; `make faults` runs all.
"""

import os
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from random import Random

import anyio
import pytest

from airy.clock import SystemClock
from tests.kit.cluster.cluster import At, Cluster
from tests.kit.cluster.endpoint import FailingEndpoint
from tests.kit.cluster.faults import FAULTS, IN_CI, THREE, ClusterFault, FaultContext
from tests.kit.cluster.stores import Stores, stores_of
from tests.kit.load import POSTERS, LoadGenerator, add_people, assert_intact, wait_until_delivered
from tests.kit.process import Subscriber, call_retrying, connect, http_session, messenger
from tests.kit.servers.fixtures import ClusterFactory
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

EVERY = [*FAULTS, *THREE]
WANTED = os.environ.get("FAULTS", ",".join(IN_CI))
CHOSEN = EVERY if WANTED == "all" else [name for name in WANTED.split(",") if name]
ROUNDS = int(os.environ.get("ROUNDS", "1"))
BEFORE_S = 1.0
AFTER_S = 1.0
SETTLE_S = 600.0  # the third attempt of a delivery is five minutes after the second
LIGHT = {"rolling-restart": 2}  # eight starts are enough load
ANSWER_EVERY_S = 0.1

assert set(CHOSEN) <= set(EVERY), f"there are: all, {', '.join(EVERY)}"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.cluster,
    pytest.mark.timeout(900 + 240 * ROUNDS * len(CHOSEN)),
    pytest.mark.parametrize("anyio_backend", ["asyncio"]),
]


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
    directory: Path, kafka: KafkaCluster, redis: RedisServer, faults: Mapping[str, ClusterFault], random: Random
) -> None:
    subscriber = FailingEndpoint()
    async with messenger() as (sim, graph_url), subscriber.serving(), http_session() as session:
        cluster = Cluster(
            directory / "airy",
            kafka=kafka.bootstrap,
            redis=redis.url,
            graph_url=graph_url,
            replication=len(kafka.nodes),
        )
        async with cluster.up(), stores_of(cluster) as stores:
            now_ms = SystemClock().now_ms()
            add_people(sim.core, now_ms)
            sim.target_url = cluster.url
            channel_id = await connect(cluster, session)
            hook = {"url": subscriber.url, "events": ["message.created"]}
            await call_retrying(cluster, session, "/webhooks.subscribe", hook)
            load = LoadGenerator(cluster, session, random, answer_every_s=ANSWER_EVERY_S, first_ms=now_ms)
            rig = FaultContext(cluster, kafka, redis, session, random, sim, subscriber)
            for name in [name for _ in range(ROUNDS) for name in faults]:
                await _one(name, faults[name], rig, load, channel_id, subscriber, stores)
            await stores.sends_are_settled(load, sim.core.journal)
            codes = await anyio.to_thread.run_sync(cluster.stop)
            assert set(codes.values()) == {0}, codes
            await stores.are_the_fold()


async def _one(
    name: str,
    fault: ClusterFault,
    rig: FaultContext,
    load: LoadGenerator,
    channel_id: str,
    subscriber: Subscriber,
    stores: Stores,
) -> None:
    """Runs load with the fault in the middle, then checks that everything arrives."""
    posted, refused = len(load.acknowledged), load.refused
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(load.run, channel_id, posters=LIGHT.get(name, POSTERS)))
        await anyio.sleep(BEFORE_S)
        began = time.perf_counter()
        await fault(rig)
        mended = time.perf_counter()
        await anyio.sleep(AFTER_S)
        tasks.cancel_scope.cancel()
    settling = time.perf_counter()
    await wait_until_delivered(subscriber, load, channel_id, within_s=SETTLE_S)
    settled = time.perf_counter()
    await rig.cluster.ready(rig.session)
    for url in rig.cluster.urls("api"):
        await assert_intact(At(url), rig.session, load, subscriber, channel_id)
    compared = time.perf_counter()
    await stores.are_the_fold()
    print(  # noqa: T201 - what the run measured, shown with -s
        f"{name:22} {mended - began:6.1f} s broken, {settled - settling:6.1f} s to settle, "
        f"{time.perf_counter() - compared:6.1f} s to compare, "
        f"{len(load.acknowledged) - posted:6} taken, {load.refused - refused:6} refused"
    )

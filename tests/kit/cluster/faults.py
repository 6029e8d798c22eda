"""What is done to a running cluster: each fault a coroutine that breaks something and puts it right again."""

import os
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import aiohttp
import anyio
from anyio.to_thread import run_sync
from msgspec import Struct

from tests.kit.cluster.cluster import Cluster
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

LONG = os.environ.get("FAULTS_LONG") == "1"
AWAY_S = 60.0 if LONG else 8.0  # of a broker
SESSION_SPARE_S = 3.0
AOF_BYTES_CUT_MAX = 4_096


class Rig(Struct):
    cluster: Cluster
    kafka: KafkaCluster
    redis: RedisServer
    session: aiohttp.ClientSession
    random: Random


Fault = Callable[[Rig], Awaitable[None]]


async def kill_a_component(rig: Rig) -> None:
    """kill -9 of one process, anything from at once to seconds before it is back."""
    replica = rig.random.choice(list(rig.cluster.processes.values()))
    replica.kill()
    await anyio.sleep(rig.random.uniform(0.0, 3.0))
    replica.start()
    await rig.cluster.ready(rig.session, [replica])


async def zombie(rig: Rig) -> None:
    """A process sleeps past its session and goes on as if nothing had been."""
    name = rig.random.choice(("sources-facebook-1", "webhook-publisher-2", "webhook-consumer-1"))
    replica = rig.cluster.processes[name]
    replica.pause()
    await anyio.sleep(rig.cluster.session_s + SESSION_SPARE_S)
    replica.resume()
    await rig.cluster.ready(rig.session, [replica])


async def kill_the_broker(rig: Rig) -> None:
    rig.kafka.kill(1)
    await run_sync(rig.kafka.start, 1)


async def broker_away(rig: Rig) -> None:
    """Longer than any call waits: everything has to give up, keep what it has, and come back."""
    await run_sync(rig.kafka.stop, 1)
    await anyio.sleep(AWAY_S)
    await run_sync(rig.kafka.start, 1)


async def kill_redis(rig: Rig) -> None:
    rig.redis.kill()
    await anyio.sleep(rig.random.uniform(0.0, 2.0))
    await run_sync(rig.redis.start)


async def flush_redis(rig: Rig) -> None:
    await run_sync(rig.redis.ask, "FLUSHALL")


async def cut_redis(rig: Rig) -> None:
    """A power cut: the end of the append-only file never reached the disk."""
    rig.redis.kill()
    newest = rig.redis.aof_files()[-1]
    with newest.open("r+b") as file:
        size = newest.stat().st_size
        file.truncate(max(0, size - rig.random.randrange(1, AOF_BYTES_CUT_MAX)))
    await run_sync(rig.redis.start)


async def rolling_restart(rig: Rig) -> None:
    """One after the other, as an upgrade does; each has to end well and in time."""
    for replica in rig.cluster.processes.values():
        code = await run_sync(replica.stop)
        assert code == 0, f"{replica.name} ended with {code}: {replica.tail()}"
        replica.start()
        await rig.cluster.ready(rig.session, [replica])


FAULTS: Mapping[str, Fault] = {
    "kill-a-component": kill_a_component,
    "zombie": zombie,
    "kill-redis": kill_redis,
    "flush-redis": flush_redis,
    "cut-redis": cut_redis,
    "kill-the-broker": kill_the_broker,
    "broker-away": broker_away,
    "rolling-restart": rolling_restart,
}


async def kill_two_brokers(rig: Rig) -> None:
    """Of three: one, and when it is back, another."""
    for node in rig.random.sample(rig.kafka.nodes, 2):
        rig.kafka.kill(node)
        await anyio.sleep(rig.random.uniform(2.0, 5.0))
        await run_sync(rig.kafka.start, node)
        await run_sync(rig.kafka.in_sync)

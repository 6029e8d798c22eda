"""Faults for a running cluster: each is a coroutine that causes a failure and repairs it.

`make faults FAULTS=…` takes their names in `FAULTS` and `THREE`. Several cause two failures at once, because one may
disable the recovery from the other.
"""

import os
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import anyio
from anyio.to_thread import run_sync
from msgspec import Struct
from msgspec.structs import replace

from airy.process import TEMPORARY_FAILURE
from airy.shutdown import FAILED
from airy.sim.graph import GraphProvider
from airy.sim.provider import Behaviour, SendFault, SimServer
from tests.kit.cluster.cluster import COMPONENTS, Cluster, Replica
from tests.kit.cluster.endpoint import FAILURE_MODES, FailingEndpoint
from tests.kit.load import assert_in_order
from tests.kit.process import call_retrying
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

LONG = os.environ.get("FAULTS_LONG") == "1"
BROKER_DOWN_S = 60.0 if LONG else 8.0  # downtime of a broker
SESSION_SPARE_S = 3.0
AOF_BYTES_CUT_MAX = 4_096
ENDPOINT_FAILURE_S = 3.0  # less than until the second attempt: the third is five minutes later
GONE_S = 240.0
FULL_S = 4.0
FREE_BYTES = 65_536  # free space on a full disk
PAGE_BYTES = 4_096
LOSSY_PROVIDER = Behaviour(
    echoes=False,
    delivered=0.0,
    read=0.0,
    faults={
        SendFault.RATE_LIMITED: 0.15,
        SendFault.BUSY: 0.15,
        SendFault.GATEWAY: 0.1,
        SendFault.GARBLED: 0.1,
        SendFault.UNREACHABLE: 0.1,
        SendFault.ACCEPTED_UNANSWERED: 0.1,
        SendFault.DROPPED_UNANSWERED: 0.1,
    },
)
"""Without echoes, which would settle a send before it could be repeated wrongly."""


class FaultContext(Struct):
    cluster: Cluster
    kafka: KafkaCluster
    redis: RedisServer
    session: aiohttp.ClientSession
    random: Random
    sim: SimServer[GraphProvider]
    subscriber: FailingEndpoint

    def any_of(self, *components: str) -> Replica:
        return self.random.choice([replica for name in components or COMPONENTS for replica in self.cluster.of(name)])

    async def call_retrying(self, path: str, body: object) -> Any:
        return await call_retrying(self.cluster, self.session, path, body)

    async def back(self, *replicas: Replica) -> None:
        for replica in replicas:
            replica.start()
        await self.cluster.ready(self.session, replicas, starting=True)


ClusterFault = Callable[[FaultContext], Awaitable[None]]


# --- single faults


async def kill_a_component(rig: FaultContext) -> None:
    """Kill a process and restart it at once or seconds later."""
    replica = rig.any_of()
    replica.kill()
    await anyio.sleep(rig.random.uniform(0.0, 3.0))
    await rig.back(replica)


async def zombie(rig: FaultContext) -> None:
    """Pause a process for longer than its session, then resume it."""
    async with _asleep(rig, rig.any_of("sources-facebook", "webhook-publisher", "webhook-consumer")):
        pass


async def kill_the_broker(rig: FaultContext) -> None:
    rig.kafka.kill(1)
    await run_sync(rig.kafka.start, 1)


async def broker_away(rig: FaultContext) -> None:
    """Downtime longer than any time-out: every process must keep its data and recover."""
    await run_sync(rig.kafka.stop, 1)
    await anyio.sleep(BROKER_DOWN_S)
    await run_sync(rig.kafka.start, 1)


async def kill_redis(rig: FaultContext) -> None:
    rig.redis.kill()
    await anyio.sleep(rig.random.uniform(0.0, 2.0))
    await run_sync(rig.redis.start)


async def flush_redis(rig: FaultContext) -> None:
    await run_sync(rig.redis.ask, "FLUSHALL")


async def cut_redis(rig: FaultContext) -> None:
    """A power failure: the end of the append-only file is lost."""
    rig.redis.kill()
    _lose_the_end(rig)
    await run_sync(rig.redis.start)


async def rolling_restart(rig: FaultContext) -> None:
    """Restart one process of every kind at a time, as an upgrade does; each must exit with 0 in time."""
    async with anyio.create_task_group() as tasks:
        for component in COMPONENTS:
            tasks.start_soon(_rolled, rig, rig.cluster.of(component))


async def _rolled(rig: FaultContext, replicas: Sequence[Replica]) -> None:
    for replica in replicas:
        code = await run_sync(replica.stop)
        assert code == 0, f"{replica.name} ended with {code}: {replica.tail()}"
        await rig.back(replica)


# --- double faults


async def no_broker_at_the_start(rig: FaultContext) -> None:
    """The broker is down for longer than any time-out, and a process is killed and restarted meanwhile."""
    replica = rig.any_of()
    await run_sync(rig.kafka.stop, 1)
    replica.kill()
    replica.start()
    code = await run_sync(replica.ended)
    assert code == TEMPORARY_FAILURE, f"{replica.name} ended with {code}: {replica.tail()}"
    await run_sync(rig.kafka.start, 1)
    await rig.back(replica)


async def flush_under_a_zombie(rig: FaultContext) -> None:
    """The queue is lost while a publisher is paused, which resumes with an outdated position."""
    async with _asleep(rig, rig.any_of("webhook-publisher")):
        await anyio.sleep(rig.random.uniform(0.0, rig.cluster.session_s))
        await flush_redis(rig)


async def redis_and_a_dispatcher(rig: FaultContext) -> None:
    """A power failure of both: delivered positions are lost, and so are the last commits."""
    replica = rig.any_of("webhook-consumer")
    rig.redis.kill()
    replica.kill()
    _lose_the_end(rig)
    await anyio.sleep(rig.random.uniform(0.0, 2.0))
    await run_sync(rig.redis.start)
    await rig.back(replica)


async def provider_misbehaves(rig: FaultContext) -> None:
    """Provider faults, while the broker is restarted and a sender is killed."""
    replica = rig.any_of("sources-facebook")
    with _behaving(rig.sim, LOSSY_PROVIDER):
        await anyio.sleep(ENDPOINT_FAILURE_S)
        replica.kill()
        await kill_the_broker(rig)
        await rig.back(replica)


async def endpoint_away(rig: FaultContext) -> None:
    """The subscriber's endpoint fails or is slow, while its deliveries move to another dispatcher."""
    replica = rig.any_of("webhook-publisher", "webhook-consumer")
    rig.subscriber.mode = rig.random.choice(FAILURE_MODES)
    replica.kill()
    await anyio.sleep(ENDPOINT_FAILURE_S)
    rig.subscriber.mode = "healthy"
    await rig.back(replica)


async def endpoint_gone(rig: FaultContext) -> None:
    """Another endpoint responds with 410 while deliveries move: it is disabled, and can be subscribed again."""
    other = FailingEndpoint()
    async with other.serving():
        body = {"url": other.url, "events": ["message.created"]}
        webhook_id = (await rig.call_retrying("/webhooks.subscribe", body))["id"]
        await _until(lambda: _came(other, 0))
        replica = rig.any_of("webhook-publisher", "webhook-consumer")
        replica.kill()
        other.mode = "gone"
        await _until(lambda: _has_status(rig, webhook_id, "Unsubscribed"))
        other.mode = "healthy"
        came = len(other.received)
        await rig.call_retrying("/webhooks.update", {"id": webhook_id, "status": "Subscribed"})
        await _until(lambda: _came(other, came))
        await rig.back(replica)
        await rig.call_retrying("/webhooks.unsubscribe", {"id": webhook_id})
        assert_in_order(other)


async def store_lost(rig: FaultContext) -> None:
    """A process is killed, and its store is deleted, truncated or corrupted."""
    replica = rig.any_of()
    file = rig.cluster.store_of(replica)
    replica.kill()
    rig.random.choice(LOSSES)(file)
    await rig.back(replica)


async def disk_full(rig: FaultContext) -> None:
    """The disk of a process's store is full for a while; it recovers without a restart."""
    replica = rig.any_of()
    with _no_room(replica):
        await anyio.sleep(FULL_S)
    await rig.cluster.ready(rig.session, [replica])


async def started_twice(rig: FaultContext) -> None:
    """Start a process twice: the second exits, and the first is not affected."""
    replica = rig.any_of()
    code, wrote = await rig.cluster.twin(replica)
    assert (code, "cannot listen on" in wrote) == (FAILED, True), f"a second {replica.name} ended with {code}: {wrote}"
    await rig.cluster.ready(rig.session, [replica])


FAULTS: Mapping[str, ClusterFault] = {
    "kill-a-component": kill_a_component,
    "zombie": zombie,
    "kill-redis": kill_redis,
    "flush-redis": flush_redis,
    "cut-redis": cut_redis,
    "kill-the-broker": kill_the_broker,
    "broker-away": broker_away,
    "rolling-restart": rolling_restart,
    "no-broker-at-the-start": no_broker_at_the_start,
    "flush-under-a-zombie": flush_under_a_zombie,
    "redis-and-a-dispatcher": redis_and_a_dispatcher,
    "provider-misbehaves": provider_misbehaves,
    "endpoint-away": endpoint_away,
    "endpoint-gone": endpoint_gone,
    "store-lost": store_lost,
    "disk-full": disk_full,
    "started-twice": started_twice,
}


async def kill_two_brokers(rig: FaultContext) -> None:
    """Of three brokers: restart one, then another."""
    for node in rig.random.sample(rig.kafka.nodes, 2):
        rig.kafka.kill(node)
        await anyio.sleep(rig.random.uniform(2.0, 5.0))
        await run_sync(rig.kafka.start, node)
        await run_sync(rig.kafka.in_sync)


THREE: Mapping[str, ClusterFault] = {"kill-two-brokers": kill_two_brokers}

IN_CI = (
    "rolling-restart",
    "no-broker-at-the-start",
    "flush-under-a-zombie",
    "redis-and-a-dispatcher",
    "provider-misbehaves",
    "endpoint-away",
    "store-lost",
    "disk-full",
    "kill-two-brokers",
)
"""Faults that cover the others: every part of the cluster is killed, and lost, at least once."""


# --- helpers


@asynccontextmanager
async def _asleep(rig: FaultContext, replica: Replica) -> AsyncIterator[None]:
    """Pauses a process for longer than its session."""
    replica.pause()
    until = anyio.current_time() + rig.cluster.session_s + SESSION_SPARE_S
    try:
        yield
        await anyio.sleep_until(until)
    finally:
        replica.resume()
    await rig.cluster.ready(rig.session, [replica])


@contextmanager
def _behaving(sim: SimServer[GraphProvider], behaviour: Behaviour) -> Iterator[None]:
    core, before = sim.core, sim.core.options
    core.options = core.state.options = replace(before, behaviour=behaviour)
    try:
        yield
    finally:
        core.options = core.state.options = before


@contextmanager
def _no_room(replica: Replica) -> Iterator[None]:
    """No file of this process can grow, except its log, which would be on another disk."""
    full = replica.log.stat().st_size + FREE_BYTES
    resource.prlimit(replica.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(replica.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _lose_the_end(rig: FaultContext) -> None:
    newest = rig.redis.aof_files()[-1]
    with newest.open("r+b") as file:
        file.truncate(max(0, newest.stat().st_size - rig.random.randrange(1, AOF_BYTES_CUT_MAX)))


def _deleted(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _without_the_file(file: Path) -> None:
    """Deletes the database and leaves its write-ahead log."""
    file.unlink()


def _cut(file: Path) -> None:
    with file.open("r+b") as open_log:
        open_log.truncate(file.stat().st_size // (2 * PAGE_BYTES) * PAGE_BYTES)


def _emptied(file: Path) -> None:
    """Zeroes a part, as a file system does that wrote the length but not the data."""
    for each in (file, file.with_name(file.name + "-wal")):
        if each.exists():
            each.write_bytes(bytes(each.stat().st_size))


LOSSES = (_deleted, _without_the_file, _cut, _emptied)


async def _until(look: Callable[[], Awaitable[Any]]) -> None:
    with anyio.fail_after(GONE_S):
        while not await look():
            await anyio.sleep(0.1)  # real time: waits for other processes


async def _came(endpoint: FailingEndpoint, before: int) -> bool:
    return len(endpoint.received) > before


async def _has_status(rig: FaultContext, webhook_id: str, status: str) -> bool:
    webhook = await rig.call_retrying("/webhooks.info", {"id": webhook_id})
    return bool(webhook["status"] == status)

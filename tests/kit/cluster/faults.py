"""What is done to a running cluster: each fault a coroutine that breaks something and puts it right again.

Their names in `FAULTS` and `THREE` are what `make faults FAULTS=…` takes. Several break two things at once, because
what makes up for the one may be what the other one takes away.
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

from airy.process import LATER
from airy.shutdown import FAILED
from airy.sim.messenger.options import Behaviour
from airy.sim.messenger.options import Fault as Trouble
from airy.sim.messenger.server import MessengerSim
from tests.kit.cluster.cluster import COMPONENTS, Cluster, Replica
from tests.kit.cluster.endpoint import BAD, Moody
from tests.kit.load import in_order
from tests.kit.process import insist
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.redis import RedisServer

LONG = os.environ.get("FAULTS_LONG") == "1"
AWAY_S = 60.0 if LONG else 8.0  # of a broker
SESSION_SPARE_S = 3.0
AOF_BYTES_CUT_MAX = 4_096
BAD_MOOD_S = 3.0  # less than until the second attempt: there are five minutes before the third
GONE_S = 240.0
FULL_S = 4.0
ROOM_BYTES = 65_536  # on a full disk
PAGE_BYTES = 4_096
ASTRAY = Behaviour(
    echoes=False,
    delivered=0.0,
    read=0.0,
    faults={
        Trouble.RATE_LIMITED: 0.15,
        Trouble.BUSY: 0.15,
        Trouble.GATEWAY: 0.1,
        Trouble.GARBLED: 0.1,
        Trouble.UNREACHABLE: 0.1,
        Trouble.TAKEN_SILENT: 0.1,
        Trouble.LOST_SILENT: 0.1,
    },
)
"""And no word of what was taken: an echo would settle it before it can be done wrong."""


class Rig(Struct):
    cluster: Cluster
    kafka: KafkaCluster
    redis: RedisServer
    session: aiohttp.ClientSession
    random: Random
    sim: MessengerSim
    subscriber: Moody

    def any_of(self, *components: str) -> Replica:
        return self.random.choice([replica for name in components or COMPONENTS for replica in self.cluster.of(name)])

    async def insist(self, path: str, body: object) -> Any:
        return await insist(self.cluster, self.session, path, body)

    async def back(self, *replicas: Replica) -> None:
        for replica in replicas:
            replica.start()
        await self.cluster.ready(self.session, replicas, starting=True)


Fault = Callable[[Rig], Awaitable[None]]


# --- one thing


async def kill_a_component(rig: Rig) -> None:
    """kill -9 of one process, anything from at once to seconds before it is back."""
    replica = rig.any_of()
    replica.kill()
    await anyio.sleep(rig.random.uniform(0.0, 3.0))
    await rig.back(replica)


async def zombie(rig: Rig) -> None:
    """A process sleeps past its session and goes on as if nothing had been."""
    async with _asleep(rig, rig.any_of("sources-facebook", "webhook-publisher", "webhook-consumer")):
        pass


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
    _lose_the_end(rig)
    await run_sync(rig.redis.start)


async def rolling_restart(rig: Rig) -> None:
    """Of every kind one at the same time, as an upgrade of several deployments; each has to end well and in time."""
    async with anyio.create_task_group() as tasks:
        for component in COMPONENTS:
            tasks.start_soon(_rolled, rig, rig.cluster.of(component))


async def _rolled(rig: Rig, replicas: Sequence[Replica]) -> None:
    for replica in replicas:
        code = await run_sync(replica.stop)
        assert code == 0, f"{replica.name} ended with {code}: {replica.tail()}"
        await rig.back(replica)


# --- two things


async def no_broker_at_the_start(rig: Rig) -> None:
    """The broker is away longer than any call waits; a process dies meanwhile, and is started in vain."""
    replica = rig.any_of()
    await run_sync(rig.kafka.stop, 1)
    replica.kill()
    replica.start()
    code = await run_sync(replica.ended)
    assert code == LATER, f"{replica.name} ended with {code}: {replica.tail()}"
    await run_sync(rig.kafka.start, 1)
    await rig.back(replica)


async def flush_under_a_zombie(rig: Rig) -> None:
    """The queue is lost while a publisher sleeps, and believes to know what was in it when it goes on."""
    async with _asleep(rig, rig.any_of("webhook-publisher")):
        await anyio.sleep(rig.random.uniform(0.0, rig.cluster.session_s))
        await flush_redis(rig)


async def redis_and_a_dispatcher(rig: Rig) -> None:
    """A power cut for both: who knows what was delivered is gone, and what it has said of it last."""
    replica = rig.any_of("webhook-consumer")
    rig.redis.kill()
    replica.kill()
    _lose_the_end(rig)
    await anyio.sleep(rig.random.uniform(0.0, 2.0))
    await run_sync(rig.redis.start)
    await rig.back(replica)


async def provider_astray(rig: Rig) -> None:
    """Errors, limits, half an answer or none from the provider, while the broker is restarted and a sender dies."""
    replica = rig.any_of("sources-facebook")
    with _behaving(rig.sim, ASTRAY):
        await anyio.sleep(BAD_MOOD_S)
        replica.kill()
        await kill_the_broker(rig)
        await rig.back(replica)


async def endpoint_away(rig: Rig) -> None:
    """The subscriber's endpoint refuses, dawdles or forgets, while its deliveries change hands."""
    replica = rig.any_of("webhook-publisher", "webhook-consumer")
    rig.subscriber.mood = rig.random.choice(BAD)
    replica.kill()
    await anyio.sleep(BAD_MOOD_S)
    rig.subscriber.mood = "well"
    await rig.back(replica)


async def endpoint_gone(rig: Rig) -> None:
    """Another endpoint answers 410 while deliveries change hands: it is switched off, and can be subscribed again."""
    other = Moody()
    async with other.serving():
        body = {"url": other.url, "events": ["message.created"]}
        webhook_id = (await rig.insist("/webhooks.subscribe", body))["id"]
        await _until(lambda: _came(other, 0))
        replica = rig.any_of("webhook-publisher", "webhook-consumer")
        replica.kill()
        other.mood = "gone"
        await _until(lambda: _has_status(rig, webhook_id, "Unsubscribed"))
        other.mood = "well"
        came = len(other.received)
        await rig.insist("/webhooks.update", {"id": webhook_id, "status": "Subscribed"})
        await _until(lambda: _came(other, came))
        await rig.back(replica)
        await rig.insist("/webhooks.unsubscribe", {"id": webhook_id})
        in_order(other)


async def store_lost(rig: Rig) -> None:
    """A process dies, and of its store there is nothing, a part, or another file than it wrote."""
    replica = rig.any_of()
    file = rig.cluster.store_of(replica)
    replica.kill()
    rig.random.choice(LOSSES)(file)
    await rig.back(replica)


async def disk_full(rig: Rig) -> None:
    """No room for the store of one process; then there is again, and nobody restarts anything."""
    replica = rig.any_of()
    with _no_room(replica):
        await anyio.sleep(FULL_S)
    await rig.cluster.ready(rig.session, [replica])


async def started_twice(rig: Rig) -> None:
    """The same process once more, by mistake: it gives up, and the first one does not notice."""
    replica = rig.any_of()
    code, wrote = await rig.cluster.twin(replica)
    assert (code, "cannot listen on" in wrote) == (FAILED, True), f"a second {replica.name} ended with {code}: {wrote}"
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
    "no-broker-at-the-start": no_broker_at_the_start,
    "flush-under-a-zombie": flush_under_a_zombie,
    "redis-and-a-dispatcher": redis_and_a_dispatcher,
    "provider-astray": provider_astray,
    "endpoint-away": endpoint_away,
    "endpoint-gone": endpoint_gone,
    "store-lost": store_lost,
    "disk-full": disk_full,
    "started-twice": started_twice,
}


async def kill_two_brokers(rig: Rig) -> None:
    """Of three: one, and when it is back, another."""
    for node in rig.random.sample(rig.kafka.nodes, 2):
        rig.kafka.kill(node)
        await anyio.sleep(rig.random.uniform(2.0, 5.0))
        await run_sync(rig.kafka.start, node)
        await run_sync(rig.kafka.in_sync)


THREE: Mapping[str, Fault] = {"kill-two-brokers": kill_two_brokers}

IN_CI = (
    "rolling-restart",
    "no-broker-at-the-start",
    "flush-under-a-zombie",
    "redis-and-a-dispatcher",
    "provider-astray",
    "endpoint-away",
    "store-lost",
    "disk-full",
    "kill-two-brokers",
)
"""Those that contain what the others do: each part of the cluster is killed, and lost, at least once."""


# --- how


@asynccontextmanager
async def _asleep(rig: Rig, replica: Replica) -> AsyncIterator[None]:
    """Stopped for longer than its session, whatever is done meanwhile."""
    replica.pause()
    until = anyio.current_time() + rig.cluster.session_s + SESSION_SPARE_S
    try:
        yield
        await anyio.sleep_until(until)
    finally:
        replica.resume()
    await rig.cluster.ready(rig.session, [replica])


@contextmanager
def _behaving(sim: MessengerSim, behaviour: Behaviour) -> Iterator[None]:
    core, before = sim.core, sim.core.options
    core.options = core.world.options = replace(before, behaviour=behaviour)
    try:
        yield
    finally:
        core.options = core.world.options = before


@contextmanager
def _no_room(replica: Replica) -> Iterator[None]:
    """No file of this process can grow, but for its log: on a full disk, that is on another one."""
    full = replica.log.stat().st_size + ROOM_BYTES
    resource.prlimit(replica.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(replica.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _lose_the_end(rig: Rig) -> None:
    newest = rig.redis.aof_files()[-1]
    with newest.open("r+b") as file:
        file.truncate(max(0, newest.stat().st_size - rig.random.randrange(1, AOF_BYTES_CUT_MAX)))


def _deleted(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _without_the_file(file: Path) -> None:
    """Its write-ahead log stays, and belongs to nothing."""
    file.unlink()


def _cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // (2 * PAGE_BYTES) * PAGE_BYTES)


def _emptied(file: Path) -> None:
    """As after a power cut, on a file system that wrote the length and not the data."""
    for each in (file, file.with_name(file.name + "-wal")):
        if each.exists():
            each.write_bytes(bytes(each.stat().st_size))


LOSSES = (_deleted, _without_the_file, _cut, _emptied)


async def _until(look: Callable[[], Awaitable[Any]]) -> None:
    with anyio.fail_after(GONE_S):
        while not await look():
            await anyio.sleep(0.1)  # the machine's clock: other processes are waited for


async def _came(endpoint: Moody, before: int) -> bool:
    return len(endpoint.received) > before


async def _has_status(rig: Rig, webhook_id: str, status: str) -> bool:
    webhook = await rig.insist("/webhooks.info", {"id": webhook_id})
    return bool(webhook["status"] == status)

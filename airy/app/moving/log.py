"""The log the configuration names, for an operator: open, with nothing else running beside it in this process."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from airy import topics
from airy.actors.runtime import Child, Supervision, run_tree
from airy.actors.webhooks.queue import NOTHING, Shard
from airy.actors.webhooks.queue_redis import RedisQueue
from airy.app import files
from airy.app.kafka import kafka_settings
from airy.app.provision import verify_readable, verify_topics
from airy.app.redis import redis_server
from airy.bus.journal import open_journal
from airy.bus.kafka import KafkaBus
from airy.bus.memory import MemoryBus
from airy.clock import SystemClock
from airy.config import Config, data_directory
from airy.errors import Refused
from airy.store.sqlite.file import remove

NEVER_S = 864_000.0  # nothing may leave the log while somebody counts its records


@asynccontextmanager
async def opened(config: Config, *, reading: bool = False) -> AsyncIterator[MemoryBus | KafkaBus]:
    """Raises `InUse` while an instance has the journal open; a cluster's processes cannot be seen from here. For
    `reading`, a cluster's topics need not be as processes need them.
    """
    async with AsyncExitStack() as held:
        bus: MemoryBus | KafkaBus
        match config.bus.kind:
            case "kafka":
                kafka, settings = config.bus.kafka, kafka_settings(config)
                if reading:
                    await verify_readable(settings, topics.ALL)
                else:
                    await verify_topics(
                        settings, topics.ALL, replication=kafka.replication, min_in_sync=kafka.min_in_sync
                    )
                bus = KafkaBus(topics.ALL, settings)
            case "journal":
                journal = held.enter_context(open_journal(files.journal_path(config)))
                bus = MemoryBus(topics.ALL, clock=SystemClock(), journal=journal, upkeep_s=NEVER_S)
            case _:
                raise Refused("a log in memory ends with its process: set bus.kind to journal or kafka")
        await held.enter_async_context(_running(bus))
        yield bus


@asynccontextmanager
async def _running(bus: MemoryBus | KafkaBus) -> AsyncIterator[None]:
    stop, started = anyio.Event(), anyio.Event()
    plan = Supervision(name="log", children=(Child(name="bus", start=lambda: bus, stall_s=float("inf")),))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_tree(plan, clock=SystemClock(), stop=stop, on_start=lambda _: started.set()))
        await started.wait()
        yield
        stop.set()


# --- what other logs left behind


async def check_queue(config: Config) -> None:
    """A queue knows offsets: one that served another log would take changes of this one for delivered."""
    given = config.queue.redis
    if config.queue.kind != "redis" or given.url is None:
        return
    queue = RedisQueue(redis_server(config), namespace=given.namespace)
    await queue.open()
    try:
        for where in (where for topic in topics.TOLD for where in topic.where):
            if await queue.last(Shard(*where)) != NOTHING:
                raise Refused(
                    "the queue in Redis belongs to another log, and would take what it knows for delivered: "
                    "choose another queue.redis.namespace",
                    field="queue.redis.namespace",
                )
    finally:
        await queue.close()


def clear_caches(config: Config) -> list[str]:
    """Remove stores, which are built again, and put the embedded queue aside; says what became of what.

    Raises `InUse` while a process has a store.
    """
    done = []
    directory = data_directory(config)
    for store in sorted(directory.glob("store*.db")):
        with files.locked(store):
            remove(store)
        done.append(f"removed {store}: it is built again from the log")
    queue = files.queue_path(config)
    if queue.exists():
        aside = queue.with_name("queue-of-another-log.db")
        remove(aside)
        for suffix in ("-wal", "-shm", ""):
            source = Path(f"{queue}{suffix}")
            if source.exists():
                source.rename(f"{aside}{suffix}")
        done.append(f"renamed {queue} to {aside.name}: it knows places in another log")
    return done

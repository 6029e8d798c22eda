"""Opens the configured log for an operator's command, without any other actor; clears caches of a previous log."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from airy import topics
from airy.actors.runtime import Child, Supervision, run_tree
from airy.app import files
from airy.app.kafka import kafka_settings
from airy.app.redis import redis_server
from airy.app.topic_admin import verify_readable, verify_topics
from airy.bus.kafka import KafkaBus
from airy.bus.memory import MemoryBus, RetentionSettings, open_journal
from airy.clock import SystemClock
from airy.config import Config, data_directory
from airy.errors import Refused
from airy.queue.api import NO_ENTRY, Shard
from airy.queue.redis import RedisQueue
from airy.store.sqlite.store_file import remove

NO_RETENTION_S = 864_000.0  # an export counts records: retention must not remove any meanwhile


@asynccontextmanager
async def open_log(config: Config, *, reading: bool = False) -> AsyncIterator[MemoryBus | KafkaBus]:
    """Raises `InUse` while a process has the journal open; processes of a cluster are not detected.

    `reading`: refuse a journal that does not exist; accept a cluster whose topics differ from `airy.topics`, if every
    partition can be read.
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
                path = files.journal_path(config)
                if reading and not path.exists():  # opening it would create it
                    raise Refused(f"there is no log at {path}: name its data directory with --data or --config")
                journal = held.enter_context(open_journal(path))
                bus = MemoryBus(
                    topics.ALL,
                    clock=SystemClock(),
                    journal=journal,
                    retention=RetentionSettings(interval_s=NO_RETENTION_S),
                )
            case _:
                raise Refused("a log in memory ends with its process: set bus.kind to journal or kafka")
        await held.enter_async_context(_running(bus))
        yield bus


@asynccontextmanager
async def _running(bus: MemoryBus | KafkaBus) -> AsyncIterator[None]:
    stop, started = anyio.Event(), anyio.Event()
    root = Supervision(name="log", children=(Child(name="bus", start=lambda: bus, stall_s=float("inf")),))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_tree(root, clock=SystemClock(), stop=stop, on_start=lambda _: started.set()))
        await started.wait()
        yield
        stop.set()


# --- caches of a previous log


async def check_queue(config: Config) -> None:
    """Raises `Refused` for a Redis queue filled from another log: its positions would make changes look delivered."""
    section = config.queue.redis
    if config.queue.kind != "redis" or section.url is None:
        return
    queue = RedisQueue(redis_server(config), namespace=section.namespace)
    await queue.open()
    try:
        for tp in (tp for topic in topics.CHANGE_TOPICS for tp in topic.topic_partitions):
            if await queue.last(Shard(*tp)) != NO_ENTRY:
                raise Refused(
                    "the queue in Redis belongs to another log, and would take undelivered changes for delivered: "
                    "choose another queue.redis.namespace",
                    field="queue.redis.namespace",
                )
    finally:
        await queue.close()


def clear_caches(config: Config) -> list[str]:
    """Remove stores, which are rebuilt, and rename the embedded queue. Returns a line of output for each.

    Raises `InUse` while a process holds a store.
    """
    done = []
    directory = data_directory(config)
    for store in sorted(directory.glob("store*.db")):
        with files.locked(store):
            remove(store)
        done.append(f"removed {store}: it is rebuilt from the log")
    queue = files.queue_path(config)
    if queue.exists():
        aside = queue.with_name("queue-of-another-log.db")
        remove(aside)
        for suffix in ("-wal", "-shm", ""):
            source = Path(f"{queue}{suffix}")
            if source.exists():
                source.rename(f"{aside}{suffix}")
        done.append(f"renamed {queue} to {aside.name}: it holds positions of another log")
    return done

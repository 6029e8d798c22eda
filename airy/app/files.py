"""Where an installation keeps things: the log, which is the truth, and caches of it, which may be deleted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from airy import topics
from airy.actors.runtime import Child, Supervision, run_tree
from airy.bus.journal import open_journal
from airy.bus.memory import MemoryBus
from airy.clock import SystemClock
from airy.config import Config, data_directory
from airy.seal import Sealer, load_or_create_key


def journal_path(config: Config) -> Path:
    return data_directory(config) / "journal"


def store_path(config: Config) -> Path:
    return data_directory(config) / "store.db"


def queue_path(config: Config) -> Path:
    return data_directory(config) / "queue.db"


def sealer(config: Config) -> Sealer:
    """Made on the first start, unless the configuration names a key file."""
    given = config.security.key_file
    path = Path(given).expanduser() if given else data_directory(config) / "sealing.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    return Sealer(load_or_create_key(path))


@asynccontextmanager
async def opened_journal(config: Config) -> AsyncIterator[MemoryBus]:
    """The log of an installation that does not run, readable. Raises `InUse` if it does."""
    clock, stop, started = SystemClock(), anyio.Event(), anyio.Event()
    with open_journal(journal_path(config)) as journal:
        bus = MemoryBus(topics.ALL, clock=clock, journal=journal)
        plan = Supervision(name="log", children=(Child(name="bus", start=lambda: bus, stall_s=float("inf")),))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: run_tree(plan, clock=clock, stop=stop, on_start=lambda _: started.set()))
            await started.wait()
            yield bus
            stop.set()

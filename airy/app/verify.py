"""`airy verify`: fold the whole log again into a fresh store, and compare with the one on disk (G5). Calls nobody."""

import sys
import tempfile
from pathlib import Path

import anyio
import structlog

from airy import topics
from airy.actors.follower import Follower
from airy.actors.runtime import Child, Supervision, run_tree
from airy.app import files
from airy.app.moving.log import opened
from airy.bus.api import Bus
from airy.bus.lock import InUse
from airy.bus.record import Position, TopicPartition
from airy.clock import SystemClock
from airy.config import Config
from airy.store.sqlite import SqliteStore

SAME = 0
DIFFERENT = 70
FOLD_S = 86_400.0


async def verify(config: Config) -> int:
    """0: every store on disk equals the log's fold. 70: one does not. Raises `InUse` while an instance runs.

    On a cluster the stores of running processes are left out: stop one to have its store looked at.
    """
    async with opened(config, reading=True) as bus:
        with tempfile.TemporaryDirectory(prefix="airy-verify-") as directory:
            fresh = SqliteStore(Path(directory) / "store.db")
            await fresh.open()
            await caught_up(bus, fresh)
            expected, counts = await fresh.digest(), await fresh.counts()
            await fresh.close()
        facts = ", ".join(f"{counts[name]} {name}" for name in ("conversations", "messages", "channels"))
        verdicts = [await _look_at(bus, path, expected) for path in files.store_paths(config) if path.exists()]
    sys.stdout.write(f"the log says {facts}; digest {expected[:16]}\n")
    sys.stdout.writelines(f"{line}\n" for line, _ in verdicts)
    return SAME if all(well for _, well in verdicts) else DIFFERENT


async def _look_at(bus: Bus, path: Path, expected: str) -> tuple[str, bool]:
    """What to say about a store, and whether that is well."""
    try:
        with files.locked(path):
            store = SqliteStore(path)
            await store.open()
            await caught_up(bus, store)
            found = await store.digest()
            await store.close()
    except InUse:
        return f"{path.name}: in use by a process, not looked at", True
    if found == expected:
        return f"{path.name}: is what the log says", True
    return (
        f"{path.name}: differs, {found[:16]}. Stop Airy, remove it and start again: it is built from the log",
        False,
    )


async def caught_up(bus: Bus, store: SqliteStore) -> None:
    """Fold into `store` everything that is in the log now."""
    ends = await bus.ends(topics.FOLDED)
    follower = Follower(bus, store, records_max=1_000)
    stop = anyio.Event()
    plan = Supervision(
        name="verify", children=(Child(name="store", start=lambda: follower, drain_s=0.0, ready_s=FOLD_S),)
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: run_tree(plan, clock=SystemClock(), stop=stop, log=structlog.get_logger("airy.verify"))
        )
        for where, end in ends.items():
            if end > (await _start(bus, where)):
                await follower.reached(Position(where.topic, where.partition, end - 1), FOLD_S)
        stop.set()


async def _start(bus: Bus, where: TopicPartition) -> int:
    topic = next(topic for topic in topics.FOLDED if topic.name == where.topic)
    return (await bus.starts([topic]))[where]

"""`airy verify`: folds the whole log into a fresh store and compares it with those on disk (G5). No effects."""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
import structlog

from airy import topics
from airy.actors.projector import Projector
from airy.actors.runtime import Child, Supervision, run_tree
from airy.app import files
from airy.app.log_transfer.open_log import open_log
from airy.app.progress import OnProgress, report_progress
from airy.bus.api import Bus
from airy.bus.record import Position, TopicPartition
from airy.clock import SystemClock
from airy.config import Config
from airy.file_lock import InUse
from airy.store.api import FoldingStore
from airy.store.factory import create_store

SAME = 0
DIFFERENT = 70
FOLD_S = 86_400.0
WATCH_S = 0.25
FOLDING = "folding the log"


async def verify(config: Config) -> int:
    """0: every store on disk equals the log's fold. 70: one does not. Raises `InUse` while a process has the journal.

    On a cluster the stores of running processes are skipped: stop a process to have its store verified.
    """
    async with open_log(config, reading=True) as bus:
        with tempfile.TemporaryDirectory(prefix="airy-verify-") as directory:
            fresh = create_store(Path(directory) / "store.db")
            await fresh.open()
            await fold_all(bus, fresh)
            expected, counts = await fresh.digest(), await fresh.counts()
            await fresh.close()
        facts = ", ".join(f"{counts[name]} {name}" for name in ("conversations", "messages", "channels"))
        verdicts = [await _verify_store(bus, path, expected) for path in files.store_paths(config) if path.exists()]
    sys.stdout.write(f"the log folds to {facts}; digest {expected[:16]}\n")
    sys.stdout.writelines(f"{line}\n" for line, _ in verdicts)
    return SAME if all(same for _, same in verdicts) else DIFFERENT


async def _verify_store(bus: Bus, path: Path, expected: str) -> tuple[str, bool]:
    """The verdict on a store, as text and as a flag."""
    try:
        with files.locked(path):
            store = create_store(path)
            await store.open()
            await fold_all(bus, store, f"folding the rest into {path.name}")
            found = await store.digest()
            await store.close()
    except InUse:
        return f"{path.name}: in use by a process, skipped", True
    if found == expected:
        return f"{path.name}: equals the fold of the log", True
    return (
        f"{path.name}: differs, {found[:16]}. Stop Airy, remove it and start again: the store is rebuilt from the log",
        False,
    )


async def fold_all(bus: Bus, store: FoldingStore, doing: str = FOLDING) -> None:
    """Fold into `store` everything the log holds now."""
    starts, ends = await bus.beginning_offsets(topics.FOLDED), await bus.end_offsets(topics.FOLDED)
    projector = Projector(bus, store, records_max=1_000)
    stop = anyio.Event()
    plan = Supervision(
        name="verify", children=(Child(name="store", start=lambda: projector, drain_s=0.0, ready_s=FOLD_S),)
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: run_tree(plan, clock=SystemClock(), stop=stop, log=structlog.get_logger("airy.verify"))
        )
        with report_progress(doing, sum(end - starts[tp] for tp, end in ends.items())) as on_progress:
            watching = anyio.CancelScope()
            tasks.start_soon(_watch, projector, starts, on_progress, watching)
            for tp, end in ends.items():
                if end > starts[tp]:
                    await projector.wait_for_position(Position(tp.topic, tp.partition, end - 1), FOLD_S)
            watching.cancel()
        stop.set()


async def _watch(
    projector: Projector, starts: Mapping[TopicPartition, int], on_progress: OnProgress, scope: anyio.CancelScope
) -> None:
    """Reports how far the projector is, until cancelled."""
    done = 0
    with scope:
        while True:
            await anyio.sleep(WATCH_S)
            folded = sum(max(0, offset - starts.get(tp, 0)) for tp, offset in projector.positions().items())
            on_progress("", folded - done)
            done = folded

"""`airy verify`: folds the whole log into a fresh store and compares it with those on disk (G5). No effects."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import anyio
import structlog
from msgspec import Struct
from msgspec.structs import replace

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
from airy.store.api import FoldingStore, Store
from airy.store.factory import create_store

FOLD_S = 86_400.0
WATCH_S = 0.25
FOLDING = "folding the log"


class FoldedStore(Struct, frozen=True, kw_only=True):
    """The log, folded; a store on disk compared with it; or a store built anew. Counts are of what was folded here."""

    name: str
    result: Literal["folded", "same", "different", "in use", "rebuilt"]
    conversations: int | None = None
    messages: int | None = None
    channels: int | None = None
    digest: str | None = None


async def verify(config: Config) -> list[FoldedStore]:
    """The log's fold first, then each store on disk. Raises `InUse` while a process has the journal.

    On a cluster the stores of running processes are skipped: stop a process to have its store verified.
    """
    async with open_log(config, reading=True) as bus:
        with tempfile.TemporaryDirectory(prefix="airy-verify-") as directory:
            fresh = create_store(Path(directory) / "store.db")
            await fresh.open()
            await fold_all(bus, fresh)
            log = await folded_store(fresh, "log", "folded")
            await fresh.close()
        stores = [await _verify_store(bus, path, log) for path in files.store_paths(config) if path.exists()]
    return [log, *stores]


async def _verify_store(bus: Bus, path: Path, log: FoldedStore) -> FoldedStore:
    try:
        with files.locked(path):
            store = create_store(path)
            await store.open()
            await fold_all(bus, store, f"folding the rest into {path.name}")
            found = await folded_store(store, path.name, "same")
            await store.close()
    except InUse:
        return FoldedStore(name=path.name, result="in use")
    return found if found.digest == log.digest else replace(found, result="different")


async def folded_store(store: Store, name: str, result: Literal["folded", "same", "rebuilt"]) -> FoldedStore:
    counts = await store.counts()
    return FoldedStore(
        name=name,
        result=result,
        conversations=counts["conversations"],
        messages=counts["messages"],
        channels=counts["channels"],
        digest=await store.digest(),
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

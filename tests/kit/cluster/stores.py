"""Every process's store held against a fold of the log from offset 0, while the processes go on."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
from anyio import to_thread

from airy import topics
from airy.actors.runtime import Child, Supervision, run_tree
from airy.app.verify import caught_up
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.clock import SystemClock
from airy.store.sqlite import SqliteStore
from tests.kit.cluster.cluster import Cluster

QUIET_S = 1.0  # nothing new for so long: messages were sent, and what the provider says of them has come
QUIET_WITHIN_S = 120.0


class Stores:
    """The stores of a cluster, and one more that has read nothing but the log."""

    def __init__(self, cluster: Cluster, bus: KafkaBus, fold: SqliteStore, directory: Path) -> None:
        self._cluster = cluster
        self._bus = bus
        self._fold = fold
        self._directory = directory

    async def are_the_fold(self) -> None:
        """Of each a copy, as a power cut would leave it, is continued to the end of the log, as a start would."""
        await self._quiet()
        await caught_up(self._bus, self._fold)
        files = sorted((self._cluster.directory / "data").glob("store*.db"))
        assert len(files) == len(self._cluster.processes)
        for file in files:
            copy = self._directory / file.name
            await to_thread.run_sync(_copied, file, copy)
            store = SqliteStore(copy)
            await store.open()
            try:
                await self._is_the_fold(store, file.name)
            finally:
                await store.close()
                copy.unlink()

    async def _quiet(self) -> None:
        """Wait until nobody writes: two stores can be compared only where both have read the same."""
        with anyio.move_on_after(QUIET_WITHIN_S) as limit:
            before, ends = None, await self._bus.ends(topics.FOLDED)
            while ends != before:
                await anyio.sleep(QUIET_S)  # the machine's clock: other processes are waited for
                before, ends = ends, await self._bus.ends(topics.FOLDED)
        assert not limit.cancelled_caught, f"the log still grows after {QUIET_WITHIN_S:g} s without load"

    async def _is_the_fold(self, store: SqliteStore, name: str) -> None:
        if await store.positions() != await self._fold.positions():
            await caught_up(self._bus, store)
        lacks = set((await self._fold.positions()).items()) ^ set((await store.positions()).items())
        assert not lacks, f"{name} has not folded everything: {sorted(lacks)}"
        assert await store.digest() == await self._fold.digest(), f"{name} is not the fold of the log"


@asynccontextmanager
async def stores_of(cluster: Cluster) -> AsyncIterator[Stores]:
    settings = KafkaSettings(bootstrap=cluster.kafka, namespace=cluster.namespace)
    bus, stop, started = KafkaBus(topics.ALL, settings), anyio.Event(), anyio.Event()
    plan = Supervision(name="check", children=(Child(name="bus", start=lambda: bus, stall_s=float("inf")),))
    directory = cluster.directory / "copies"
    directory.mkdir(exist_ok=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: run_tree(plan, clock=SystemClock(), stop=stop, on_start=lambda _: started.set()))
        await started.wait()
        fold = SqliteStore(":memory:")
        await fold.open()
        try:
            yield Stores(cluster, bus, fold, directory)
        finally:
            await fold.close()
            stop.set()


def _copied(file: Path, copy: Path) -> None:
    """One transaction of the file, whoever writes to it meanwhile."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

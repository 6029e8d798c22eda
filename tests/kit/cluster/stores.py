"""Compares every process's store with a fold of the log from offset 0, while the processes run."""

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
from anyio import to_thread

from airy import topics
from airy.actors.runtime import Child, Supervision, run_tree
from airy.app.verify import fold_all
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.record import Record, TopicPartition
from airy.clock import SystemClock
from airy.model.delivery_state import DeliveryState
from airy.sim.provider import SendOutcome, SimJournal
from airy.sim.provider.journal import REPEATABLE
from airy.store.sqlite import SqliteStore
from tests.kit.cluster.cluster import Cluster
from tests.kit.load import LoadGenerator

QUIET_S = 1.0  # without new records for so long, all sends and receipts count as done
QUIET_WITHIN_S = 240.0
NOISY_S = 5.0
SETTLED_WITHIN_S = 300.0  # a lease of a killed worker expires after half a minute; twice
OPEN = frozenset({DeliveryState.PENDING, DeliveryState.SENDING})
WRITTEN_MAX = 5_000
CALL_S = 120.0  # a recovering cluster may be slow


class Stores:
    """The stores of a cluster, and a reference store folded from the log."""

    def __init__(self, cluster: Cluster, bus: KafkaBus, fold: SqliteStore, directory: Path) -> None:
        self._cluster = cluster
        self._bus = bus
        self._fold = fold
        self._directory = directory

    async def are_the_fold(self) -> None:
        """Copies each store as a power failure would leave it, and folds it to the end of the log, as a start would."""
        await self._quiet()
        await fold_all(self._bus, self._fold)
        files = sorted((self._cluster.directory / "data").glob("store*.db"))
        assert len(files) >= len(self._cluster.processes)
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

    async def sends_are_settled(self, load: LoadGenerator, journal: SimJournal) -> None:
        """G7: each reply is sent once, repeated only after a refusal, and never left unsettled."""
        with anyio.move_on_after(SETTLED_WITHIN_S) as limit:
            while open_ := [name for name, state in (await self._states(load)).items() if state in OPEN]:
                await anyio.sleep(QUIET_S)  # real time: waits for other processes
        assert not limit.cancelled_caught, f"{len(open_)} answers are neither sent nor given up, first {open_[0]}"
        await self._quiet()  # echoes and receipts settle the rest
        again = journal.violations()
        assert not again, f"called again without a failure: {'; '.join(again[:3])}"
        last = {sending.message_id: sending.outcome for sending in journal.sends}
        assert SendOutcome.ACCEPTED in last.values(), "the provider took nothing: this proves nothing"
        for name, state in (await self._states(load)).items():
            never = last.get(name) in {None, *REPEATABLE}
            assert state is not None, f"{name} was accepted and is gone"
            assert never or state is not DeliveryState.FAILED, f"{name} has failed, and the provider says: {last[name]}"

    async def _states(self, load: LoadGenerator) -> dict[str, DeliveryState | None]:
        await fold_all(self._bus, self._fold)
        messages = {name: await self._fold.message(name) for name in load.answered}
        return {name: message.delivery if message else None for name, message in messages.items()}

    async def _quiet(self) -> None:
        """Waits until the log is quiet: stores can be compared only at the same position."""
        first = ends = await self._bus.end_offsets(topics.FOLDED)
        began = anyio.current_time()
        with anyio.move_on_after(QUIET_WITHIN_S) as limit:
            before = None
            while ends != before:
                await anyio.sleep(QUIET_S)  # real time: waits for other processes
                before, ends = ends, await self._bus.end_offsets(topics.FOLDED)
        if (grew_s := anyio.current_time() - began) > NOISY_S:
            wrote = f"the log grew for {grew_s:.0f} s without load: {await self._written(first)}"
            assert not limit.cancelled_caught, wrote
            print(wrote)  # noqa: T201 - shown with -s, and with what fails later

    async def _written(self, since: dict[TopicPartition, int]) -> str:
        """Kinds of records, most frequent first."""
        kinds: Counter[str] = Counter()
        async with self._bus.tail(since) as tail:
            while records := await tail.fetch(records_max=1_000, wait_s=QUIET_S):
                kinds.update(_kind(record) for record in records)
                if kinds.total() > WRITTEN_MAX:
                    break
        return ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())

    async def _is_the_fold(self, store: SqliteStore, name: str) -> None:
        while await store.positions() != await self._fold.positions():  # records were written meanwhile
            await fold_all(self._bus, self._fold)
            await fold_all(self._bus, store)
        lacks = set((await self._fold.positions()).items()) ^ set((await store.positions()).items())
        assert not lacks, f"{name} has not folded everything: {sorted(lacks)}"
        assert await store.digest() == await self._fold.digest(), f"{name} is not the fold of the log"


@asynccontextmanager
async def stores_of(cluster: Cluster) -> AsyncIterator[Stores]:
    settings = KafkaSettings(bootstrap=cluster.kafka, namespace=cluster.namespace, call_s=CALL_S)
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


def _kind(record: Record) -> str:
    if record.topic != topics.EVENTS.name:
        return record.topic
    return type(topics.EVENTS.decode(record)).__name__


def _copied(file: Path, copy: Path) -> None:
    """A consistent snapshot of the file, also during writes."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

"""How fast is a log exported and imported, and how much memory does that take?

A journal of plausible facts. Baselines, in the same run: reading the same log once with one tail, and publishing the
same records in batches of 500. Each case is a process of its own, so that its peak memory is its own; how much that
grows beyond what the program takes to start is what has to stay bounded, so run it with 10⁴ and 10⁶ records too.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from airy import topics
from airy.app.log_transfer.exporter import export_log
from airy.app.log_transfer.fold_digest import fold_log
from airy.app.log_transfer.importer import import_log, inspect_archive
from airy.bus.log_archive import RecordBlock, read_archive
from airy.bus.memory import MemoryBus, RetentionSettings, open_journal
from airy.clock import SystemClock
from airy.lifecycle import DrainingSignal

ROOT = Path(__file__).parents[1]
BATCH = 500
MAKE = "make"  # a separate process, too: a process inherits its parent's peak
READ, EXPORT, LOOK, PUBLISH, IMPORT, FOLD = "read once", "export", "check", "publish", "import", "fold"
BASELINES = {EXPORT: READ, LOOK: READ, IMPORT: PUBLISH, FOLD: READ}


@asynccontextmanager
async def log(directory: Path) -> AsyncIterator[MemoryBus]:
    with open_journal(directory) as journal:
        bus = MemoryBus(
            topics.ALL, clock=SystemClock(), journal=journal, retention=RetentionSettings(interval_s=864_000)
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run, _Still())
            yield bus
            tasks.cancel_scope.cancel()


class _Still:
    def __init__(self) -> None:
        self.draining = DrainingSignal()

    def ready(self) -> None: ...
    def progress(self) -> None: ...
    @staticmethod
    def waiting() -> object:
        from contextlib import nullcontext

        return nullcontext()


async def make(directory: Path, records: int, seed: int) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.kit.builders import seeded_log

    facts = seeded_log(seed, facts=records, conversations=max(1, records // 20))
    async with log(directory / "source") as bus:
        for begin in range(0, len(facts), BATCH):
            await bus.publish(
                [
                    topics.EVENTS.record(fact.conversation_id, fact, headers=(("id", fact.id.encode()),))
                    for fact in facts[begin : begin + BATCH]
                ]
            )


async def read_once(directory: Path) -> None:
    async with log(directory / "source") as bus:
        starts, ends = await bus.beginning_offsets([topics.EVENTS]), await bus.end_offsets([topics.EVENTS])
        async with bus.tail(starts) as tail:
            while any(tail.position(tp) < end for tp, end in ends.items()):
                await tail.fetch(records_max=1_000, wait_s=0)


async def export(directory: Path) -> None:
    with (directory / "archive").open("wb") as file:

        async def write(data: bytes) -> None:
            await anyio.to_thread.run_sync(file.write, data)

        async with log(directory / "source") as bus:
            await export_log(bus, write)


async def look(directory: Path) -> None:
    with (directory / "archive").open("rb") as file:
        await inspect_archive(file)


async def publish(directory: Path) -> None:
    with (directory / "archive").open("rb") as file:
        async with log(directory / "published") as bus:
            for part in read_archive(file):
                if isinstance(part, RecordBlock):
                    await bus.publish([entry.producer_record(part.topic_partition) for entry in part.entries])


async def load(directory: Path) -> None:
    with (directory / "archive").open("rb") as file:
        contents = await inspect_archive(file)
        file.seek(0)
        async with log(directory / "imported") as bus:
            await import_log(bus, file, contents)


async def fold(directory: Path) -> None:
    async with log(directory / "source") as bus:
        await fold_log(bus)


CASES: dict[str, Callable[[Path], Awaitable[None]]] = {
    READ: read_once,
    EXPORT: export,
    LOOK: look,
    PUBLISH: publish,
    IMPORT: load,
    FOLD: fold,
}


def case(name: str, directory: Path) -> None:
    """Runs in a separate process. Returns seconds and the growth of its peak memory in MiB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    anyio.run(CASES[name], directory, backend_options={"use_uvloop": True})
    took = time.perf_counter() - begin
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": took, "grown_mib": grown}))


def measured(name: str, directory: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", name, "--directory", str(directory)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])  # log lines come before
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=[MAKE, *CASES], help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.case == MAKE:
        anyio.run(make, options.directory, options.records, options.seed)
        return
    if options.case:
        case(options.case, options.directory)
        return
    with tempfile.TemporaryDirectory(prefix="airy-moving-") as directory:
        subprocess.run(
            [
                sys.executable,
                __file__,
                "--case",
                MAKE,
                "--directory",
                directory,
                "--records",
                str(options.records),
                "--seed",
                str(options.seed),
            ],
            check=True,
        )
        found = {name: measured(name, Path(directory)) for name in CASES}
        size = (Path(directory) / "archive").stat().st_size
    results = [
        {
            "case": name,
            "records_per_s": round(options.records / one["seconds"]),
            "grown_mib": round(one["grown_mib"], 1),
            "baseline": BASELINES.get(name),
            "ratio": round(one["seconds"] / found[BASELINES[name]]["seconds"], 2) if name in BASELINES else None,
        }
        for name, one in found.items()
    ]
    if options.json:
        print(json.dumps({"records": options.records, "archive_bytes": size, "cases": results}))
        return
    print(f"{options.records} records, an archive of {size / 1e6:.1f} MB")
    for one in results:
        ratio = f"{one['ratio']:.2f} × the time of `{one['baseline']}`" if one["baseline"] else ""
        print(f"{one['case']:<10} {one['records_per_s']:>9} records/s  +{one['grown_mib']:>6} MiB  {ratio}")


if __name__ == "__main__":
    main()

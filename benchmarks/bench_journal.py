"""What does durability cost: the bus over its journal, against raw apsw with the same synchronous commits?

Records of 600 bytes over 16 partitions, each acknowledged only when it is on disk. Every case checks that all of it
can be read afterwards. Cases alternate within one process, each in a fresh directory; wall time, median round.
Baseline for batches: one row per record, `executemany`, `synchronous=FULL`, one thread, no event loop.

    python benchmarks/bench_journal.py [--records 20000] [--rounds 5] [--directory DIR] [--json]
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import apsw

from airy.bus import ProducerRecord, Topic
from airy.bus.memory import MemoryBus, open_journal
from airy.clock import SystemClock
from airy.lifecycle import DrainingSignal, Lifecycle

TOPIC: Topic[Any] = Topic("facts", bytes, partitions=16, retention="kept")
CLIENTS = 64
EDGE_STEPS = 2_500
RAW_100 = "raw apsw, batches of 100"
BUS_100 = "bus, batches of 100"
BUS_1 = "bus, one publisher, one by one"
BUS_GROUP = "bus, 100 publishers, one by one"
ACK_LATE = "64 clients, answered when durable"
ACK_EARLY = "64 clients, answered when queued"
GOALS = {
    "durable append": (BUS_100, RAW_100, 0.7),
    "group commit": (BUS_GROUP, BUS_1, 1.0),
    "durable acknowledgement": (ACK_LATE, ACK_EARLY, 0.65),
}


class NullLifecycle:
    """A lifecycle without a supervisor."""

    def __init__(self) -> None:
        self.draining = DrainingSignal()

    def ready(self) -> None: ...
    def progress(self) -> None: ...
    def waiting(self) -> "NullLifecycle":
        return self

    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def make_records(count: int, seed: int) -> list[ProducerRecord]:
    source = random.Random(seed)
    return [TOPIC.record(f"{source.getrandbits(128):032x}", source.randbytes(600)) for _ in range(count)]


def raw(written: Sequence[ProducerRecord], directory: Path) -> float:
    connection = apsw.Connection(str(directory / "raw.db"))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")
    connection.pragma("wal_autocheckpoint", 0)
    columns = "id INTEGER PRIMARY KEY, partition INTEGER, key BLOB, value BLOB, headers BLOB, at INTEGER"
    connection.execute(f"CREATE TABLE log ({columns})")
    begin = time.perf_counter()
    for number in range(0, len(written), 100):
        rows = [
            (one_record.partition, one_record.key, one_record.value, None, number)
            for one_record in written[number : number + 100]
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO log VALUES (NULL, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    took = time.perf_counter() - begin
    ((count,),) = connection.execute("SELECT count(*) FROM log").fetchall()
    assert count == len(written)
    connection.close()
    return took


async def on_bus(
    written: Sequence[ProducerRecord], directory: Path, work: Callable[[MemoryBus, Sequence[ProducerRecord]], Any]
) -> float:
    with open_journal(directory / "journal") as journal:
        bus = MemoryBus([TOPIC], clock=SystemClock(), journal=journal)
        lifecycle: Lifecycle = NullLifecycle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run, lifecycle)
            begin = time.perf_counter()
            await work(bus, written)
            took = time.perf_counter() - begin
            lifecycle.draining.set()
        seen = 0
        async with bus.tail(await bus.beginning_offsets([TOPIC])) as tail:
            while records := await tail.fetch(records_max=1_000, wait_s=0):
                seen += len(records)
        assert seen == len(written)
    return took


async def batches(bus: MemoryBus, written: Sequence[ProducerRecord], size: int) -> None:
    for begin in range(0, len(written), size):
        await bus.publish(written[begin : begin + size])


async def side_by_side(bus: MemoryBus, written: Sequence[ProducerRecord]) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(batches, bus, written[number::100], 1)


def edge() -> None:
    """As much CPU as an HTTP request costs at the edge, about 100 µs, holding the GIL as there."""
    sum(number & 7 for number in range(EDGE_STEPS))


async def answered_when_durable(bus: MemoryBus, written: Sequence[ProducerRecord]) -> None:
    async def client(mine: Sequence[ProducerRecord]) -> None:
        for one_record in mine:
            edge()
            await bus.publish([one_record])

    async with anyio.create_task_group() as tasks:
        for number in range(CLIENTS):
            tasks.start_soon(client, written[number::CLIENTS])


async def answered_when_queued(bus: MemoryBus, written: Sequence[ProducerRecord]) -> None:
    """The same work and journal, but a client continues when its record is in a queue."""
    queue: deque[ProducerRecord] = deque()
    done = 0

    async def client(mine: Sequence[ProducerRecord]) -> None:
        for one_record in mine:
            edge()
            queue.append(one_record)
            await anyio.lowlevel.checkpoint()

    async def forward() -> None:
        nonlocal done
        while done < len(written):
            some = [queue.popleft() for _ in range(min(len(queue), 1_000))]
            await bus.publish(some)
            done += len(some)
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(forward)
        for number in range(CLIENTS):
            tasks.start_soon(client, written[number::CLIENTS])


def bus_case(work: Callable[[MemoryBus, Sequence[ProducerRecord]], Any], part: int = 1) -> Callable[..., float]:
    """With `part` of the records, for slow cases."""
    return lambda written, directory: part * anyio.run(on_bus, written[: len(written) // part], directory, work)


CASES: dict[str, Callable[[Sequence[ProducerRecord], Path], float]] = {
    RAW_100: raw,
    BUS_100: bus_case(lambda bus, written: batches(bus, written, 100)),
    "bus, batches of 1000": bus_case(lambda bus, written: batches(bus, written, 1_000)),
    BUS_1: bus_case(lambda bus, written: batches(bus, written, 1), part=20),
    BUS_GROUP: bus_case(side_by_side),
    ACK_EARLY: bus_case(answered_when_queued),
    ACK_LATE: bus_case(answered_when_durable),
}


def measure(written: Sequence[ProducerRecord], rounds: int, directory: Path) -> dict[str, float]:
    """Median µs per record, cases interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, case in CASES.items():
            with tempfile.TemporaryDirectory(dir=directory) as fresh:
                seconds[name].append(case(written, Path(fresh)))
    return {name: statistics.median(took) / len(written) * 1e6 for name, took in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="on the disk to measure; default: the system's own")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    took_us = measure(make_records(options.records, options.seed), options.rounds, options.directory)
    ratios = [
        {
            "what": what,
            "case": case,
            "baseline": baseline,
            "goal": goal,
            "ratio": round(took_us[baseline] / took_us[case], 2),
        }
        for what, (case, baseline, goal) in GOALS.items()
    ]
    if options.json:
        results = [{"case": name, "us": round(us, 2)} for name, us in took_us.items()]
        python = sys.version.split()[0]
        print(json.dumps({"question": "journal", "python": python, "results": results, "ratios": ratios}))
        return
    print(f"{'case':<40} {'us':>9} {'records/s':>12}")
    for name, us in took_us.items():
        print(f"{name:<40} {us:>9.2f} {1e6 / us:>12,.0f}")
    for row in ratios:
        print(f"{row['what']}: {row['ratio']} times {row['baseline']!r} (goal {row['goal']})")


if __name__ == "__main__":
    main()

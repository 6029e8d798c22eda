"""What does a record cost on the bus in memory, against an anyio stream awaited per record?

One publisher and one or more readers on one event loop; every record is counted on arrival. The
baseline awaits `send` and `receive` for each record. Cases alternate within one process; CPU time, median round.

    python benchmarks/bench_bus.py [--records 100000] [--rounds 5] [--json]
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio

from airy.bus import ProducerRecord, Reader, Topic
from airy.bus.memory import MemoryBus
from airy.clock import SystemClock

BASELINE = "anyio stream, record by record"
GOAL_CASE = "bus, batches of 100, a tail"
GOAL = 8.0
TOPIC: Topic[Any] = Topic("facts", bytes, partitions=12, retention="kept")


def make_records(count: int, seed: int) -> list[ProducerRecord]:
    source = random.Random(seed)
    return [TOPIC.record(f"{source.getrandbits(128):032x}", source.randbytes(600)) for _ in range(count)]


async def stream(written: Sequence[ProducerRecord]) -> float:
    send, receive = anyio.create_memory_object_stream[ProducerRecord](1_000)

    async def consume() -> None:
        for _ in written:
            await receive.receive()

    with send, receive:
        begin = time.process_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            for one_record in written:
                await send.send(one_record)
        return time.process_time() - begin


async def count(reader: Reader, records: int) -> int:
    seen = 0
    while seen < records:
        seen += len(await reader.fetch(records_max=500, wait_s=10))
    return seen


async def publish(bus: MemoryBus, written: Sequence[ProducerRecord], batch: int) -> None:
    for begin in range(0, len(written), batch):
        await bus.publish(written[begin : begin + batch])


async def tails(written: Sequence[ProducerRecord], batch: int, readers: int) -> float:
    bus = MemoryBus([TOPIC], clock=SystemClock())

    async def consume() -> None:
        async with bus.tail(await bus.beginning_offsets([TOPIC])) as tail:
            assert await count(tail, len(written)) == len(written)

    async with anyio.create_task_group() as tasks:
        for _ in range(readers):
            tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        begin = time.process_time()
        await publish(bus, written, batch)
    return time.process_time() - begin


async def group(written: Sequence[ProducerRecord], batch: int) -> float:
    """A member that commits what it has read after each fetch."""
    bus = MemoryBus([TOPIC], clock=SystemClock())

    async def consume() -> None:
        seen = 0
        async with bus.subscribe([TOPIC], group="bench") as member:
            while seen < len(written):
                records = await member.fetch(records_max=500, wait_s=10)
                seen += len(records)
                await member.commit({tp: member.position(tp) for tp in member.assignment})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(consume)
        await anyio.wait_all_tasks_blocked()
        begin = time.process_time()
        await publish(bus, written, batch)
    return time.process_time() - begin


CASES: dict[str, Callable[[Sequence[ProducerRecord]], Awaitable[float]]] = {
    BASELINE: stream,
    "bus, one by one, a tail": lambda written: tails(written, 1, 1),
    "bus, batches of 10, a tail": lambda written: tails(written, 10, 1),
    GOAL_CASE: lambda written: tails(written, 100, 1),
    "bus, batches of 1000, a tail": lambda written: tails(written, 1_000, 1),
    "bus, batches of 100, no reader": lambda written: tails(written, 100, 0),
    "bus, batches of 100, 3 tails": lambda written: tails(written, 100, 3),
    "bus, batches of 100, a group member": lambda written: group(written, 100),
}


LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}


def measure(written: Sequence[ProducerRecord], rounds: int, loop: dict[str, Any]) -> dict[str, float]:
    """Median µs of CPU per record, cases interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, case in CASES.items():
            seconds[name].append(anyio.run(case, written, **loop))
    return {name: statistics.median(took) / len(written) * 1e6 for name, took in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    written = make_records(options.records, options.seed)
    results = []
    for name_of_loop, loop in LOOPS.items():
        took_us = measure(written, options.rounds, loop)
        results += [
            {"loop": name_of_loop, "case": name, "us": round(us, 3), "ratio": round(took_us[BASELINE] / us, 2)}
            for name, us in took_us.items()
        ]
    if options.json:
        goals = {GOAL_CASE: GOAL}
        python = sys.version.split()[0]
        report = {"question": "bus", "baseline": BASELINE, "goals": goals, "python": python, "results": results}
        print(json.dumps(report))
        return
    print(f"{'loop':<8} {'case':<40} {'us':>8}  times {BASELINE} (goal for {GOAL_CASE!r}: {GOAL})")
    for row in results:
        print(f"{row['loop']:<8} {row['case']:<40} {row['us']:>8.3f}  {row['ratio']:.2f}")


if __name__ == "__main__":
    main()

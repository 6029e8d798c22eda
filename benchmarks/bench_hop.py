"""What does a hop to a supervised actor cost, against `asyncio.Queue`?

One producer, one consumer, the consumer being an actor under `run_tree` with all its limits. Baseline:
`asyncio.Queue` put/get between two bare tasks. Cases alternate within one process; the median round counts.

    python benchmarks/bench_hop.py [--messages 100000] [--rounds 5] [--capacity 1000] [--json]
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import anyio
import structlog
import uvloop

from airy.actors.runtime import Child, Context, Mailbox, Request, Supervision, Tree, run_tree
from airy.clock import SystemClock

BASELINE = "asyncio.Queue put/get"
QUIET = structlog.wrap_logger(None, processors=[], wrapper_class=structlog.make_filtering_bound_logger(50))


class Ping(Request[int], frozen=True):
    number: int


class Counter:
    """Takes a number of messages, one by one or in batches, and returns."""

    def __init__(self, mailbox: Mailbox[int], messages: int, batch: int) -> None:
        self.mailbox, self.messages, self.batch = mailbox, messages, batch

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        left = self.messages
        if self.batch == 1:
            while left:
                await self.mailbox.get()
                left -= 1
            return
        while left:
            left -= len(await self.mailbox.get_batch(self.batch))
            ctx.progress()


class Echo:
    def __init__(self, mailbox: Mailbox[Ping]) -> None:
        self.mailbox = mailbox

    async def run(self, ctx: Context) -> None:
        ctx.ready()
        while True:
            ping = await self.mailbox.get()
            self.mailbox.reply(ping, ping.number)


async def queue(messages: int, capacity: int) -> float:
    line: asyncio.Queue[int] = asyncio.Queue(capacity)

    async def consume() -> None:
        for _ in range(messages):
            await line.get()

    started = time.perf_counter()
    consumer = asyncio.create_task(consume())
    for number in range(messages):
        await line.put(number)
    await consumer
    return time.perf_counter() - started


async def stream(messages: int, capacity: int) -> float:
    send, receive = anyio.create_memory_object_stream[int](capacity)

    async def consume() -> None:
        for _ in range(messages):
            await receive.receive()

    with send, receive:
        started = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(consume)
            for number in range(messages):
                await send.send(number)
        return time.perf_counter() - started


async def supervised(plan: Supervision, produce: Callable[[], Awaitable[None]]) -> float:
    """From the first message to the end of the tree; building and starting it is not counted."""
    started = 0.0
    trees: list[Tree] = []
    async with anyio.create_task_group() as tasks:

        async def tree() -> None:
            await run_tree(plan, clock=SystemClock(), seed=0, log=QUIET, on_start=trees.append)

        tasks.start_soon(tree)
        await anyio.wait_all_tasks_blocked()
        started = time.perf_counter()
        await produce()
        trees[0].stop()
    return time.perf_counter() - started


async def actor(messages: int, capacity: int, batch: int) -> float:
    mailbox: Mailbox[int] = Mailbox(capacity)
    tell = mailbox.address.tell
    done = anyio.Event()

    class Done(Counter):
        async def run(self, ctx: Context) -> None:
            await super().run(ctx)
            done.set()

    async def produce() -> None:
        for number in range(messages):
            await tell(number)
        await done.wait()

    start = lambda: Done(mailbox, messages, batch)  # noqa: E731
    child = Child(name="counter", start=start, restart="transient", mailbox=mailbox)
    return await supervised(Supervision(name="bench", children=(child,)), produce)


async def ask(messages: int, capacity: int) -> float:
    mailbox: Mailbox[Ping] = Mailbox(capacity)

    async def produce() -> None:
        for number in range(messages // 20):
            await mailbox.address.ask(Ping(number), within_s=5.0)

    child = Child(name="echo", start=lambda: Echo(mailbox), mailbox=mailbox, drain_s=0)
    return 20 * await supervised(Supervision(name="bench", children=(child,)), produce)


CASES: dict[str, Callable[[int, int], Awaitable[float]]] = {
    BASELINE: queue,
    "anyio stream send/receive": stream,
    "supervised actor tell/get": lambda messages, capacity: actor(messages, capacity, 1),
    "supervised actor tell/get_batch(100)": lambda messages, capacity: actor(messages, capacity, 100),
    "supervised actor ask, round trip": ask,
}


def measure(
    messages: int, rounds: int, capacity: int, loop: Callable[[], asyncio.AbstractEventLoop]
) -> dict[str, float]:
    """Median µs per message, cases interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, case in CASES.items():
            with asyncio.Runner(loop_factory=loop) as runner:
                seconds[name].append(runner.run(case(messages, capacity)))
    return {name: statistics.median(took) / messages * 1e6 for name, took in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--capacity", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = []
    for loop_name, loop in (("asyncio", asyncio.new_event_loop), ("uvloop", uvloop.new_event_loop)):
        took_us = measure(options.messages, options.rounds, options.capacity, loop)
        report += [
            {"loop": loop_name, "case": name, "us": round(us, 3), "ratio": round(us / took_us[BASELINE], 2)}
            for name, us in took_us.items()
        ]
    if options.json:
        python = sys.version.split()[0]
        print(json.dumps({"question": "hop", "baseline": BASELINE, "python": python, "results": report}))
        return
    print(f"{'loop':<8} {'case':<38} {'us':>8}  x {BASELINE}")
    for row in report:
        print(f"{row['loop']:<8} {row['case']:<38} {row['us']:>8.3f}  {row['ratio']:.2f}")


if __name__ == "__main__":
    main()

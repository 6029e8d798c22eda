"""What do put, claim and done cost on the Redis queue, against bare redis-py pipelines that schedule nothing?

The baseline is XADD, XREADGROUP and XACK with XDEL, pipelined in the same sizes: no order per conversation, no limits,
no retries, no position that is checked. Sides alternate in one process, on a redis-server of their own with its
append-only file; per job the client's CPU, the server's CPU and the time, each the median of all rounds.

    python benchmarks/bench_redis_queue.py [--jobs 10000] [--rounds 5] [--json]
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from redis.asyncio import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))
from airy.queue.api import NO_ENTRY, Job, QueueEntry, Shard
from airy.queue.redis import RedisQueue
from tests.kit.servers.redis import RedisServer

BASELINE = "redis-py"
AIRY = "airy"
STEPS = ("put", "claim", "done")
BODY_BYTES = 1_024
PUT = 500  # per round trip
CLAIM = 200
WEBHOOKS = 10
SHARD = Shard("events", 0)
GOAL_US = 250  # of time per job, all steps: 4,000 jobs/s


def entries_of(jobs: int) -> list[QueueEntry]:
    source = random.Random(jobs)
    lanes = [f"{source.getrandbits(128):032x}" for _ in range(2_000)]
    body = b"." * BODY_BYTES
    return [
        QueueEntry(
            id=(number, 0),
            webhook_ids=(f"hook-{number % WEBHOOKS}",),
            lane=source.choice(lanes),
            event_id=f"{source.getrandbits(128):032x}",
            kind="message.created",
            body=body,
            at_ms=number,
            position="0.0.1",
        )
        for number in range(jobs)
    ]


class Meter:
    """Per step: time, CPU of the client, CPU of the server, in microseconds per job."""

    def __init__(self, client: Redis, jobs: int) -> None:
        self._client = client
        self._jobs = jobs
        self.us: dict[str, tuple[float, float, float]] = {}

    async def step(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        before = await self._now()
        await run()
        after = await self._now()
        self.us[name] = tuple((b - a) / self._jobs * 1e6 for a, b in zip(before, after, strict=True))  # type: ignore[assignment]

    async def _now(self) -> tuple[float, float, float]:
        info = await self._client.info("cpu")
        return time.perf_counter(), time.process_time(), info["used_cpu_sys"] + info["used_cpu_user"]


async def bare(url: str, jobs: int) -> Meter:
    entries = entries_of(jobs)
    client = Redis.from_url(url)
    await client.flushall()
    await client.xgroup_create("q", "g", "0", mkstream=True)
    meter = Meter(client, jobs)
    taken: list[bytes] = []

    async def put() -> None:
        for begin in range(0, jobs, PUT):
            pipeline = client.pipeline(transaction=False)
            for entry in entries[begin : begin + PUT]:
                pipeline.xadd("q", {"h": entry.webhook_ids[0], "l": entry.lane, "b": entry.body}, id=f"{entry.id[0]}-1")
            await pipeline.execute()

    async def claim() -> None:
        while found := await client.xreadgroup("g", "me", {"q": ">"}, count=CLAIM):
            taken.extend(id_ for _, some in found for id_, _ in some)

    async def done() -> None:
        for begin in range(0, jobs, CLAIM):
            pipeline = client.pipeline(transaction=False)
            for id_ in taken[begin : begin + CLAIM]:
                pipeline.xack("q", "g", id_)
                pipeline.xdel("q", id_)
            await pipeline.execute()

    await meter.step("put", put)
    await meter.step("claim", claim)
    await meter.step("done", done)
    assert len(taken) == jobs
    await client.aclose()
    return meter


async def airy(url: str, jobs: int) -> Meter:
    entries = entries_of(jobs)
    client = Redis.from_url(url)
    await client.flushall()
    queue = RedisQueue(url)
    await queue.open()
    meter = Meter(client, jobs)
    held: list[Job] = []
    delivered = 0

    async def put() -> None:
        after = NO_ENTRY
        for begin in range(0, jobs, PUT):
            some = entries[begin : begin + PUT]
            await queue.put(SHARD, some, after=after)
            after = some[-1].id

    async def claim() -> None:
        held[:] = await queue.claim(now_ms=jobs, lease_ms=60_000, jobs_max=CLAIM, per_webhook_max=CLAIM)

    async def done() -> None:
        assert all(await asyncio.gather(*map(queue.complete, held)))

    await meter.step("put", put)
    total = {"claim": [0.0] * 3, "done": [0.0] * 3}
    while True:
        await meter.step("claim", claim)
        delivered += len(held)
        await meter.step("done", done)
        for name, parts in total.items():
            total[name] = [sum(pair) for pair in zip(parts, meter.us[name], strict=True)]
        if not held:
            break
    meter.us.update({name: (parts[0], parts[1], parts[2]) for name, parts in total.items()})
    assert delivered == jobs
    await queue.close()
    await client.aclose()
    return meter


CASES = {BASELINE: bare, AIRY: airy}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds: dict[str, list[Meter]] = {name: [] for name in CASES}
    with RedisServer() as server:
        for _ in range(options.rounds):
            for name, case in CASES.items():
                rounds[name].append(uvloop.run(case(server.url, options.jobs)))
    return report(rounds, options.jobs, as_json=options.json)


def report(rounds: dict[str, list[Meter]], jobs: int, *, as_json: bool) -> int:
    def median(name: str, step: str, part: int) -> float:
        return statistics.median(meter.us[step][part] for meter in rounds[name])

    def ratio(step: str, part: int) -> float:
        pairs = zip(rounds[AIRY], rounds[BASELINE], strict=True)
        return statistics.median(own.us[step][part] / max(plain.us[step][part], 0.01) for own, plain in pairs)

    whole = statistics.median(sum(meter.us[step][0] for step in STEPS) for meter in rounds[AIRY])
    met = whole <= GOAL_US
    if as_json:
        table: dict[str, Any] = {
            step: {name: [median(name, step, part) for part in range(3)] for name in CASES} for step in STEPS
        }
        print(
            json.dumps(
                {
                    "benchmark": "redis_queue",
                    "baseline": BASELINE,
                    "us_each_time_client_server": table,
                    "ratios_time": {step: ratio(step, 0) for step in STEPS},
                    "jobs_per_s": 1e6 / whole,
                    "goal_us": GOAL_US,
                    "met": met,
                    "jobs": jobs,
                    "rounds": len(rounds[AIRY]),
                    "python": sys.version.split()[0],
                    "cpus": os.cpu_count(),
                }
            )
        )
        return 0 if met else 1
    print(f"{'us per job':<12}{'':<10}{'time':>10}{'client CPU':>12}{'redis CPU':>12}")
    for step in STEPS:
        for name in CASES:
            print(f"{step:<12}{name:<10}" + "".join(f"{median(name, step, part):>11.1f}" for part in range(3)))
        print(f"{'':<12}{'x':<10}" + "".join(f"{ratio(step, part):>11.2f}" for part in range(3)))
    print(f"all steps: {whole:.0f} us per job, {1e6 / whole:,.0f} jobs/s")
    print(f"goal {GOAL_US} us: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

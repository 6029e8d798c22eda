"""What does a webhook delivery cost, against the same POST with plain aiohttp?

A local sink answers 200 after 20 ms, in a process of its own; both sides keep 200 requests of 1 KB in flight on uvloop.
Airy's side is the whole dispatcher: leases from a queue on disk, two signatures, the guarded client, the outcome
written back, the attempt recorded. Sides alternate in one process; CPU time per request and the ratio within a round,
each the median of all rounds.

    python benchmarks/bench_dispatch.py [--requests 6000] [--rounds 5] [--profile] [--json]
"""

import argparse
import cProfile
import json
import os
import pstats
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import structlog
import uvloop

from airy import topics
from airy.actors.delivery import DeliveryMetrics
from airy.actors.dispatcher import Dispatcher, DispatcherLimits
from airy.actors.runtime import Context
from airy.bus.memory import MemoryBus
from airy.bus.record import TopicPartition
from airy.bus.record_schema import Hold
from airy.clock import SystemClock
from airy.egress import EgressPolicy
from airy.http_client_aiohttp import AiohttpClient
from airy.model.dead_delivery import DeadDelivery
from airy.model.entity import Webhook
from airy.queue.api import NO_ENTRY, QueueEntry, Shard
from airy.queue.sqlite import SqliteQueue
from airy.seal import Sealer
from airy.webhooks import signing
from airy.webhooks.request import secret_place

BASELINE = "plain aiohttp"
AIRY = "airy dispatcher"
CLIENT = "airy client alone"
GOAL = 0.8
IN_FLIGHT = 200
SINK_S = 0.02
BODY_BYTES = 1_024
WEBHOOKS = 10
LANES = 2_000

SINK = """
import asyncio, sys, uvloop, httptools
class Sink(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.loop = asyncio.get_running_loop()
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_message_complete(self):
        self.loop.call_later(float(sys.argv[1]), self.answer)
    def answer(self):
        self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nok")
async def main():
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
uvloop.run(main())
"""


class Known:
    """A store with webhooks and no changes."""

    version = 0
    held: Mapping[TopicPartition, Hold] = {}

    def __init__(self, webhooks: list[Webhook]) -> None:
        self._webhooks = {webhook.id: webhook for webhook in webhooks}

    def positions(self) -> Mapping[TopicPartition, int]:
        return {}

    async def wait_for_progress(self, _since: int, within_s: float) -> int:
        await anyio.sleep(within_s)
        return 0

    async def webhooks(self) -> list[Webhook]:
        return list(self._webhooks.values())

    async def webhook(self, webhook_id: str) -> Webhook | None:
        return self._webhooks.get(webhook_id)

    async def dead_deliveries_of(self, _delivery_id: str) -> list[DeadDelivery]:
        return []

    async def pending_replays(self, *, after: tuple[int, str], replays_max: int) -> list[DeadDelivery]:
        del after, replays_max
        return []

    async def expired_dead_deliveries(self, *, keep_max: int, before_ms: int, deliveries_max: int) -> list[str]:
        del keep_max, before_ms, deliveries_max
        return []


async def plain(url: str, requests: int) -> float:
    left = requests
    body = b"." * BODY_BYTES

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 200
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:
        return await measured(lambda: together(IN_FLIGHT, lambda: work(session)))


async def client(url: str, requests: int) -> float:
    left = requests
    body = b"." * BODY_BYTES

    async def work(fetch: AiohttpClient) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            answer = await fetch("POST", url, headers={"Content-Type": "application/json"}, body=body)
            assert answer.status == 200

    async with AiohttpClient(EgressPolicy(ports=(), http=True, private=True)) as fetch:
        return await measured(lambda: together(IN_FLIGHT, lambda: work(fetch)))


async def airy(url: str, requests: int) -> float:
    sealer = Sealer({"k1": bytes(32)})
    clock = SystemClock()
    bus = MemoryBus(topics.ALL, clock=clock)
    known = Known([_webhook(f"hook-{number}", url, sealer) for number in range(WEBHOOKS)])
    async with filled(requests) as queue, AiohttpClient(EgressPolicy(ports=(), http=True, private=True)) as fetch:
        counts = Counter[str]()
        dispatcher = Dispatcher(
            bus,
            known,
            known,
            queue,
            fetch,
            sealer=sealer,
            disable_webhook=_never,
            wait_for_arrival=queue.wait_for_arrival,
            limits=DispatcherLimits(in_flight_max=IN_FLIGHT, per_webhook_max=IN_FLIGHT),
            metrics=DeliveryMetrics(attempts=counts),
        )
        log = structlog.wrap_logger(None, processors=[structlog.testing.LogCapture()])
        ctx = Context("dispatcher", clock=clock, random=random.Random(1), log=log)

        async def run() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dispatcher.run, ctx)
                while counts["delivered"] < requests:
                    await anyio.sleep(0.005)
                ctx.draining.set()

        seconds = await measured(run)
        assert counts == {"delivered": requests}
        stats = await queue.stats()
        assert (stats.waiting, stats.leased) == (0, 0)
        return seconds


@asynccontextmanager
async def filled(requests: int) -> AsyncIterator[SqliteQueue]:
    source = random.Random(requests)
    lanes = [f"{source.getrandbits(128):032x}" for _ in range(LANES)]
    body = b"." * BODY_BYTES
    entries = [
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
        for number in range(requests)
    ]
    with tempfile.TemporaryDirectory() as directory:
        queue = SqliteQueue(Path(directory) / "queue.db")
        await queue.open()
        await queue.put(Shard("events", 0), entries, after=NO_ENTRY)
        try:
            yield queue
        finally:
            await queue.close()


def _webhook(name: str, url: str, sealer: Sealer) -> Webhook:
    return Webhook(
        id=name,
        url=url,
        status="Subscribed",
        secrets=(sealer.seal(signing.secret_text(b"s" * 32), secret_place(name, "secrets")),),
        signature_key=sealer.seal("key", secret_place(name, "signature_key")),
    )


async def _never(webhook_id: str, reason: str) -> None:
    raise AssertionError(f"{webhook_id}: {reason}")


async def together(count: int, work: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(work)


async def measured(run: Callable[[], Awaitable[None]]) -> float:
    begin = time.process_time()
    await run()
    return time.process_time() - begin


CASES: dict[str, Callable[[str, int], Awaitable[float]]] = {BASELINE: plain, CLIENT: client, AIRY: airy}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sink = subprocess.Popen([sys.executable, "-c", SINK, str(SINK_S)], stdout=subprocess.PIPE, text=True)
    try:
        assert sink.stdout is not None
        url = f"http://127.0.0.1:{int(sink.stdout.readline())}/"
        if options.profile:
            return profile(url, options.requests)
        seconds: dict[str, list[float]] = {name: [] for name in CASES}
        for _ in range(options.rounds):
            for name, case in CASES.items():
                seconds[name].append(uvloop.run(case(url, options.requests)))
    finally:
        sink.terminate()
        sink.wait()
    return report(seconds, options.requests, as_json=options.json)


def profile(url: str, requests: int) -> int:
    profiler = cProfile.Profile()
    profiler.enable()
    uvloop.run(airy(url, requests))
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)
    return 0


def report(seconds: Mapping[str, list[float]], requests: int, *, as_json: bool) -> int:
    each_us = {name: statistics.median(rounds) / requests * 1e6 for name, rounds in seconds.items()}
    ratios = {
        name: statistics.median(plain / own for plain, own in zip(seconds[BASELINE], rounds, strict=True))
        for name, rounds in seconds.items()
    }
    met = ratios[AIRY] >= GOAL
    if as_json:
        print(
            json.dumps(
                {
                    "benchmark": "dispatch",
                    "baseline": BASELINE,
                    "cpu_us_each": each_us,
                    "ratios": ratios,
                    "goal": GOAL,
                    "met": met,
                    "requests": requests,
                    "rounds": len(seconds[AIRY]),
                    "python": sys.version.split()[0],
                    "cpus": os.cpu_count(),
                }
            )
        )
    else:
        print(f"{'':<24}{'CPU us each':>14}{'x ' + BASELINE:>18}")
        for name in seconds:
            print(f"{name:<24}{each_us[name]:>14.1f}{ratios[name]:>18.2f}")
        print(f"goal {GOAL:.2f} x: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

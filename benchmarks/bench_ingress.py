"""Cost of ingress (verification, limits, acknowledgement after the append) against bare ASGI handlers.

Two baselines: a handler that only compares the HMAC, which the budget refers to; and one that also appends each body
to the same log before it responds, which isolates the cost of ingress itself.

Each case is a process with `HttpServer` on uvloop. The load is another process that keeps `--connections` connections
busy with signed POSTs of about 1 kB. The cases alternate in rounds, so that other load on the machine affects all of
them; the result is the median round. CPU time is that of the server process.

    python benchmarks/bench_ingress.py [--seconds 1.5] [--rounds 5] [--connections 32] [--journal] [--kafka] [--json]
"""

import argparse
import asyncio
import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import anyio
import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from airy import topics
from airy.actors.runtime import Context
from airy.bus import Bus
from airy.bus.kafka import KafkaBus, KafkaSettings
from airy.bus.memory import MemoryBus, open_journal
from airy.clock import RandomIds, SystemClock
from airy.http.admission import AdmissionControl
from airy.http.asgi import AsgiApp, Receive, Scope, Send
from airy.http.body_reader import BodyReader
from airy.http.connection import ConnectionLimits
from airy.http.ingress import Ingress
from airy.http.server import HttpServer
from airy.secret import Secret
from airy.sources.facebook.source import Facebook
from airy.sources.facebook.spec import FacebookSection
from tests.kit.servers.kafka import KafkaCluster
from tests.kit.servers.kafka_settings import STEADY_JVM

SECRET = "app secret of the benchmark"
BASELINE = "bare handler: HMAC"
APPENDING = "bare handler: HMAC, publish each"
INGRESS, JOURNAL, KAFKA = "ingress, log in memory", "ingress, log on disk", "ingress, log on Kafka"
TARGET = 0.85
TICK = os.sysconf("SC_CLK_TCK")


def body(random: Random) -> bytes:
    text = "".join(random.choices("abcdefghij ", k=720))
    message = {"mid": f"m_{random.getrandbits(64):x}", "text": text}
    event = {
        "sender": {"id": "6120000000000001"},
        "recipient": {"id": "204918377001"},
        "timestamp": 1_767_225_600_000,
        "message": message,
    }
    entry = {"id": "204918377001", "time": 1_767_225_600_000, "messaging": [event]}
    return json.dumps({"object": "page", "entry": [entry]}).encode()


def signed_post(payload: bytes) -> bytes:
    signature = hmac.digest(SECRET.encode(), payload, "sha256").hex()
    head = (
        "POST /facebook HTTP/1.1\r\nHost: airy.example.net\r\nUser-Agent: facebookexternalua\r\nAccept: */*\r\n"
        f"Content-Type: application/json\r\nX-Hub-Signature-256: sha256={signature}\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


# --- the servers


class BareHandler:
    """The minimum: read the body, compare its HMAC; with a bus, append the body."""

    def __init__(self, bus: Bus | None) -> None:
        self._bus = bus
        self._topic = topics.source_events("facebook")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts = []
        more = True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"".join(parts)
        given = b""
        for name, value in scope["headers"]:
            if name == b"x-hub-signature-256":
                given = value
        known = hmac.new(SECRET.encode(), body, "sha256").hexdigest().encode()
        status = 200 if hmac.compare_digest(given, b"sha256=" + known) else 403
        if self._bus is not None:
            await self._bus.publish([self._topic.record("page", body)])
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


async def serve(case: str) -> None:
    with ExitStack() as stack:
        clock = SystemClock()
        journal = None
        if case == JOURNAL:
            directory = stack.enter_context(tempfile.TemporaryDirectory(dir=Path.cwd()))
            journal = stack.enter_context(open_journal(Path(directory)))
        bus: MemoryBus | KafkaBus = MemoryBus(topics.ALL, clock=clock, journal=journal)
        if case == KAFKA:
            bus = KafkaBus(topics.ALL, KafkaSettings(bootstrap=(os.environ["BENCH_KAFKA"],)))
        app: AsgiApp = BareHandler(bus if case == APPENDING else None)
        if case in {INGRESS, JOURNAL, KAFKA}:
            section = FacebookSection(app_id="1", app_secret=(Secret(SECRET),), webhook_secret=Secret("v"))
            app = Ingress(
                Facebook(section),
                bus,
                clock=clock,
                ids=RandomIds(),
                admission=AdmissionControl(),
                reader=BodyReader(),
            )

        def announce() -> None:
            print(server.address[1] if server.address else 0, flush=True)

        server = HttpServer(app, limits=ConnectionLimits())
        context = Context("http", clock=clock, random=Random(0), on_ready=announce)
        bus_context = Context("bus", clock=clock, random=Random(0))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run, bus_context)
            tasks.start_soon(server.run, context)
            await anyio.to_thread.run_sync(sys.stdin.read)  # until the parent closes it
            context.draining.set()
            bus_context.draining.set()


# --- the load


class Client(asyncio.Protocol):
    """Sends POSTs, each after the response to the previous one."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def data_received(self, data: bytes) -> None:
        if not (data.startswith(b"HTTP/1.1 200") and data.endswith(b"\r\n\r\n")):
            self._load.failures += 1
        self._load.latencies.append(time.perf_counter() - self._sent_at)
        self._next()

    def _next(self) -> None:
        if self._load.stopped:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._load.next_post())


class Load:
    def __init__(self, posts: list[bytes]) -> None:
        self._posts = posts
        self._at = 0
        self.stopped = False
        self.failures = 0
        self.latencies: list[float] = []

    def next_post(self) -> bytes:
        self._at += 1
        return self._posts[self._at % len(self._posts)]


async def run_load(port: int, pid: int, posts: list[bytes], connections: int, seconds: float) -> dict[str, float]:
    load = Load(posts)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(load), "127.0.0.1", port)
    await asyncio.sleep(0.2)
    load.latencies.clear()
    cpu, began = cpu_s(pid), time.perf_counter()
    await asyncio.sleep(seconds)
    count, cpu, took = len(load.latencies), cpu_s(pid) - cpu, time.perf_counter() - began
    load.stopped = True
    await asyncio.sleep(0.1)
    assert not load.failures, f"{load.failures} responses were not 200"
    ordered = sorted(load.latencies)
    return {
        "rate": count / took,
        "cpu_us": cpu / count * 1e6,
        "p50_ms": ordered[count // 2] * 1e3,
        "p99_ms": ordered[count * 99 // 100] * 1e3,
    }


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def create_topics(bootstrap: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic.name, topic.partitions, 1) for topic in topics.ALL])
    await admin.close()


def measure(cases: list[str], *, seconds: float, rounds: int, connections: int) -> dict[str, dict[str, float]]:
    random = Random(7)
    posts = [signed_post(body(random)) for _ in range(256)]
    found: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    with ExitStack() as stack:
        servers = {}
        environment = dict(os.environ)
        if KAFKA in cases:
            kafka = stack.enter_context(KafkaCluster(jvm=STEADY_JVM))
            environment["BENCH_KAFKA"] = kafka.bootstrap[0]
            anyio.run(create_topics, kafka.bootstrap)
        for case in cases:
            command = [sys.executable, __file__, "--serve", case]
            server = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            )
            assert server.stdout is not None
            servers[case] = (int(server.stdout.readline()), server.pid)
            if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
                os.sched_setaffinity(server.pid, {0})
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, {1})
        for _ in range(rounds):
            for case in cases:
                port, pid = servers[case]
                found[case].append(uvloop.run(run_load(port, pid, posts, connections, seconds)))
    return {
        case: {name: statistics.median(each[name] for each in rows) for name in rows[0]} for case, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--journal", action="store_true", help="also with the log on disk (cwd)")
    parser.add_argument("--kafka", action="store_true", help="also with a real broker, which needs Java and Maven")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        anyio.run(serve, given.serve, backend_options={"use_uvloop": True})
        return
    cases = [BASELINE, APPENDING, INGRESS, *([JOURNAL] if given.journal else []), *([KAFKA] if given.kafka else [])]
    rows = measure(cases, seconds=given.seconds, rounds=given.rounds, connections=given.connections)
    for row in rows.values():
        row["rate_ratio"] = row["rate"] / rows[BASELINE]["rate"]
        row["cpu_ratio"] = rows[BASELINE]["cpu_us"] / row["cpu_us"]
        row["appending_cpu_ratio"] = rows[APPENDING]["cpu_us"] / row["cpu_us"]
    if given.json:
        print(json.dumps({"question": "ingress", "baseline": BASELINE, "target": TARGET, "cases": rows}, indent=2))
        return
    print(f"{'':34} {'req/s':>8} {'CPU µs':>7} {'p50 ms':>7} {'p99 ms':>7} {'rate':>6} {'1/CPU':>6} {'same work':>9}")
    for case, row in rows.items():
        print(
            f"{case:34} {row['rate']:8.0f} {row['cpu_us']:7.1f} {row['p50_ms']:7.2f} {row['p99_ms']:7.2f} "
            f"{row['rate_ratio']:6.2f} {row['cpu_ratio']:6.2f} {row['appending_cpu_ratio']:9.2f}"
        )
    print(f"target: at least {TARGET} of the first row; `same work` is CPU against the second")


if __name__ == "__main__":
    main()

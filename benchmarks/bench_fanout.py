"""What does one change cost that goes to many sockets, and what does an idle socket cost?

A server in a process of its own, its clients in another one. Processor time of the server per change and socket, from
the append to the log until the last client has it, for `/ws.communication` (STOMP) and `/events`, against an
application that only sends texts of that length to every socket over the same uvicorn. Measured for a record with one
change (a tag) and for one with three (a message). The arms alternate within one run; a ratio is the median over the
rounds. `--idle` measures resident memory per socket that is connected and subscribed.
"""

import argparse
import asyncio
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ARMS = ("bare", "stomp", "events")
PATHS = {"bare": "/bare", "stomp": "/ws.communication", "events": "/events"}
TOKEN = "a-token-of-thirty-two-characters"
MARKER = b'"payload"'
RECORDS = {"tag": 1, "message": 3}  # changes of one record
CONNECT_AT_ONCE = 100
BASE = 5  # memory is measured from a fifth of the sockets on, when free memory of the start is used up
WARM_UP = 5


# --- the clients


class Socket(asyncio.Protocol):
    """Just enough of a websocket client to connect, to subscribe, and to count changes."""

    def __init__(self, arm: str, clients: "Clients") -> None:
        self._arm = arm
        self._clients = clients
        self._head = b""
        self._tail = b""
        self._joined = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        lines = [
            f"GET {PATHS[self._arm]} HTTP/1.1",
            "host: bench",
            f"authorization: Bearer {TOKEN}",
            "connection: upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        if not self._joined:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            assert self._head.startswith(b"HTTP/1.1 101"), self._head[:200]
            if self._arm == "stomp" and b"CONNECTED" not in self._head:
                if b"\0stomp" not in self._head:
                    self._head += b"\0stomp"
                    self._send("CONNECT\naccept-version:1.2\nheart-beat:0,0\n\n\0")
                    self._send("SUBSCRIBE\nid:sub-0\ndestination:/events\nreceipt:r\n\n\0")
                return
            wanted = {"stomp": b"RECEIPT", "events": b'"ready"', "bare": b"101"}[self._arm]
            if wanted in self._head:
                self._joined = True
                self._clients.joined()
            return
        text = self._tail + data
        self._clients.received(text.count(MARKER))
        self._tail = text[-len(MARKER) + 1 :] if MARKER not in text[-len(MARKER) :] else b""

    def _send(self, text: str) -> None:
        """A frame with a mask of zeros, which leaves the text as it is."""
        payload = text.encode()
        assert len(payload) < 126
        self._transport.write(bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload)


class Clients:
    def __init__(self) -> None:
        self.open = 0
        self.changes = 0
        self._changed = asyncio.Event()

    def joined(self) -> None:
        self.open += 1
        self._changed.set()

    def received(self, changes: int) -> None:
        self.changes += changes
        self._changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 60.0)

    async def connect(self, arm: str, port: int, sockets: int) -> None:
        loop, before = asyncio.get_running_loop(), self.open
        for start in range(0, sockets, CONNECT_AT_ONCE):
            count = min(CONNECT_AT_ONCE, sockets - start)
            made = [loop.create_connection(lambda: Socket(arm, self), "127.0.0.1", port) for _ in range(count)]
            await asyncio.gather(*made)
            await self.until(lambda expected=before + start + count: self.open >= expected)  # type: ignore[misc]


async def drive(arm: str, sockets: int, records: int) -> dict[str, float]:
    """Returns what the server measured."""
    command = [sys.executable, __file__, "--server", arm]
    server = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 20
    )
    assert server.stdin
    assert server.stdout
    stdin, stdout = server.stdin, server.stdout

    async def ask(text: str) -> dict[str, float]:
        stdin.write(text.encode() + b"\n")
        line = await stdout.readline()
        if not line:
            sys.exit(f"the server of {arm} has ended")
        found: dict[str, float] = json.loads(line)
        return found

    clients = Clients()
    port = int((await ask("port"))["port"])
    await clients.connect(arm, port, sockets // BASE)
    base = await ask("memory")
    await clients.connect(arm, port, sockets - sockets // BASE)
    full = await ask("memory")
    result = {"bytes_per_socket": (full["bytes"] - base["bytes"]) / (sockets - sockets // BASE)}
    for record, changes_of_it in RECORDS.items() if records else ():
        for number in range(WARM_UP + records):
            if number == WARM_UP:
                before, begin = await ask("cpu"), time.perf_counter()
            expected = clients.changes + sockets * changes_of_it
            await ask(record)
            await clients.until(lambda at=expected: clients.changes >= at)  # type: ignore[misc]
        after, total = await ask("cpu"), records * sockets * changes_of_it
        result[record] = (after["s"] - before["s"]) / total * 1e6
        result[f"{record}_wall"] = (time.perf_counter() - begin) / total * 1e6
    stdin.close()
    server.kill()
    await server.wait()
    return result


# --- the servers


async def commands(port: int, change: Callable[[str], Awaitable[None]]) -> None:
    """Answers the client process, one line each."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        answer: dict[str, float] = {}
        match line.decode().strip():
            case "port":
                answer = {"port": port}
            case "memory":
                await asyncio.sleep(0.5)
                answer = {"bytes": resident_bytes()}
            case "cpu":
                answer = {"s": time.process_time()}
            case record:
                await change(record)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def serve_bare() -> None:
    """The same uvicorn and the same text, without anything in between."""
    from airy.http.server import HttpServer

    sends: list[Callable[[Any], Awaitable[None]]] = []
    texts = sample_texts()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sends.append(send)
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def change(record: str) -> None:
        for send in sends:
            for text in texts[: RECORDS[record]]:
                await send({"type": "websocket.send", "text": text})

    await run_server(HttpServer(app, port=0, websocket_bytes_max=65_536), change)


async def serve_airy() -> None:
    from random import Random

    import anyio
    import structlog

    from airy import topics
    from airy.actors.runtime import Child, run_tree
    from airy.app.edge import build_edge
    from airy.app.garbage_collection import rare_collections
    from airy.app.services import Ports, build_services
    from airy.app.tree import build_tree
    from airy.app.tree_status import TreeStatus
    from airy.bus.memory import MemoryBus
    from airy.clock import RandomIds, SystemClock
    from airy.components import WebsocketSection
    from airy.config import Config, SecurityConfig
    from airy.http.server import HttpServer
    from airy.http_client import ConnectFailed, Response
    from airy.queue.sqlite.queue import SqliteQueue
    from airy.seal import Sealer
    from airy.secret import Secret
    from airy.store.sqlite import SqliteStore
    from tests.kit.builders import Chat, channel
    from tests.kit.downloads import WholeBodies
    from tests.kit.media import MemoryStorage

    async def nowhere(method: str, url: str, **_: object) -> Response:
        raise ConnectFailed(f"{method} {url}")

    async def no_samples() -> dict[str, float]:
        return {}

    clock, ids = SystemClock(), RandomIds(Random(0))
    store, queue = SqliteStore(":memory:"), SqliteQueue(":memory:", ids=ids)
    await store.open()
    await queue.open()
    config = Config(security=SecurityConfig(system_token=Secret(TOKEN))).with_sections(
        WebsocketSection(sessions_max=50_000)
    )
    bus = MemoryBus(topics.ALL, clock=clock)
    ports = Ports(
        clock=clock,
        ids=ids,
        bus=bus,
        store=store,
        queue=queue,
        sealer=Sealer({"k1": bytes(32)}),
        media=MemoryStorage(),
        provider_http=nowhere,
        webhook_http=nowhere,
        provider_files=WholeBodies(nowhere),
        attachment_files=WholeBodies(nowhere),
        wait_for_arrival=queue.wait_for_arrival,
    )
    services = build_services(config, ports)
    running = frozenset({"http", "api-communication", "api-admin", "api-websocket"})
    app, _ = build_edge(services, running, TreeStatus(services, running, {}), no_samples)  # type: ignore[arg-type]
    server = HttpServer(app, port=0, websocket_bytes_max=65_536)
    chat, number = Chat(), 0
    await bus.publish([topics.CHANNELS.record(channel().id, channel())])

    async def change(record: str) -> None:
        nonlocal number
        number += 1
        fact = chat.received(f"{number}")
        tag = topics.TAGS.record(TAG_ID, sample_tag(number))
        await bus.publish([tag if record == "tag" else topics.EVENTS.record(fact.conversation_id, fact)])

    class Control:
        async def run(self, ctx: Any) -> None:
            ctx.ready()
            assert server.address
            with ctx.waiting():
                await commands(server.address[1], change)

    log = structlog.wrap_logger(None, processors=[], wrapper_class=structlog.make_filtering_bound_logger(50))
    tree = build_tree(
        services, running, http_server=lambda: server, extra_children=[Child(name="control", start=Control)]
    )
    with rare_collections():
        await run_tree(tree, clock=clock, seed=1, stop=anyio.Event(), log=log)


async def run_server(server: Any, change: Callable[[str], Awaitable[None]]) -> None:
    from random import Random

    from airy.actors.runtime import Context
    from airy.clock import SystemClock

    ctx = Context("http", clock=SystemClock(), random=Random(0))
    task = asyncio.get_running_loop().create_task(server.run(ctx))
    while server.address is None:
        await asyncio.sleep(0.01)
    await commands(server.address[1], change)
    task.cancel()


TAG_ID = "3f0c2a3e-5b7d-4c8e-9f10-2a3b4c5d6e7f"


def sample_tag(number: int) -> Any:
    from airy.model.entity import Tag

    return Tag(id=TAG_ID, name=f"tag {number} {'x' * 800}", color="tag-red", updated_at_ms=number)


def sample_texts() -> list[str]:
    """About as long as what the other arms send."""
    from airy.model.change import ChangeKind
    from airy.model.change_builder import entity_change

    change = entity_change(ChangeKind.TAG_UPDATED, sample_tag(1), at_ms=1, write_id=None, version=1)
    return [change.body.decode() + " " * 150] * max(RECORDS.values())


# --- the report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=int, default=0, help="instead: memory per socket with so many idle sockets")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--server", choices=ARMS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if given.server:
        import anyio

        anyio.run(serve_bare if given.server == "bare" else serve_airy, backend_options={"use_uvloop": True})
        return
    if given.idle:
        idle = {arm: round(asyncio.run(drive(arm, given.idle, 0))["bytes_per_socket"]) for arm in ARMS}
        report(given, {"sockets": given.idle, "bytes_per_socket": idle})
        return
    rounds = [{arm: asyncio.run(drive(arm, given.sockets, given.records)) for arm in ARMS} for _ in range(given.rounds)]
    result: dict[str, object] = {"sockets": given.sockets, "rounds": given.rounds, "python": platform.python_version()}
    for record in RECORDS:
        result[f"{record}: us per change and socket"] = median_of(rounds, lambda each, arm, of=record: each[arm][of])
        result[f"{record}: times bare"] = median_of(
            rounds, lambda each, arm, of=record: each[arm][of] / each["bare"][of]
        )
        result[f"{record}: wall us"] = median_of(rounds, lambda each, arm, of=record: each[arm][f"{of}_wall"])
    report(given, result)


def median_of(
    rounds: list[dict[str, dict[str, float]]], value: Callable[[dict[str, dict[str, float]], str], float]
) -> dict[str, float]:
    return {arm: round(statistics.median(value(each, arm) for each in rounds), 2) for arm in ARMS}


def report(given: argparse.Namespace, result: dict[str, object]) -> None:
    if given.json:
        sys.stdout.write(f"{json.dumps(result)}\n")
        return
    for name, value in result.items():
        sys.stdout.write(f"{name}: {value}\n")


if __name__ == "__main__":
    main()

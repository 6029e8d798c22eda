"""What does the console cost while events arrive at a steady rate, and does it keep its size?

The console runs on a terminal of its own (a pseudo-terminal that is read), against a small server in another process
that answers its requests and sends `--rate` events per second. For each view: the share of one core and the resident
memory at the beginning and at the end of `--seconds`, after a warm-up in which its lists fill. The baseline is a
program that receives the same events with the same websocket client and decodes each one.
"""

import argparse
import asyncio
import fcntl
import json
import os
import platform
import pty
import random
import struct
import subprocess
import sys
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

VIEWS = ("tail", "conversations", "overview")
COLUMNS, ROWS = 120, 36
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
BURST_S = 0.02  # between two bursts of events
KINDS = ("message.created", "message.updated", "conversation.updated")
WORDS = ("rye", "bread", "sunday", "parking", "cake", "poppy", "rolls", "thank", "until", "six", "order", "tomorrow")


# --- the server


def event(number: int, chance: random.Random) -> bytes:
    """One event, as the instance writes it."""
    conversation = f"c0ffee{chance.randrange(1000):04}-0000-4000-8000-000000000000"
    kind = KINDS[number % len(KINDS)]
    payload: dict[str, Any] = {"id": conversation, "metadata": {"contact": {"display_name": f"Contact {number % 997}"}}}
    if kind.startswith("message"):
        text = " ".join(chance.choices(WORDS, k=8))
        message = {
            "id": f"m-{number}",
            "content": {"text": text},
            "sent_at": "2026-01-01T09:30:00.000Z",
            "delivery_state": "delivered",
            "from_contact": number % 2 == 0,
        }
        payload = {"conversation_id": conversation, "message": message}
    envelope = {
        "id": f"e{number}",
        "type": kind,
        "resume": str(number),
        "timestamp": time.time_ns() // 1_000_000,
        "payload": payload,
    }
    return json.dumps(envelope).encode()


async def serve(port: int, rate: int, seed: int) -> None:
    from aiohttp import ClientConnectionResetError, web

    from tests.kit.pictures import bakery

    instance = bakery()

    async def answer(request: web.Request) -> web.Response:
        response = await instance(
            request.method, f"http://bench{request.path}", headers=request.headers, body=await request.read() or None
        )
        return web.Response(status=response.status, body=response.body)

    async def events(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"type": "ready", "resume": "0"}))
        chance, number, started = random.Random(seed), 0, time.monotonic()
        with suppress(ClientConnectionResetError):  # the client has left
            while not socket.closed:
                due = int((time.monotonic() - started) * rate)
                while number < due:
                    number += 1
                    await socket.send_str(event(number, chance).decode())
                await asyncio.sleep(BURST_S)
        return socket

    app = web.Application()
    app.router.add_get("/events", events)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


# --- the baseline


async def decode(url: str) -> None:
    """Receive and decode, nothing else."""
    import msgspec

    from airy.tui.console.websocket_source import WebsocketSource

    async with WebsocketSource(url, None).open(None) as texts:
        async for text in texts:
            msgspec.json.decode(text)


# --- measuring


def used_s(process: int) -> float:
    """Processor time of a process, s."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def resident_bytes(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def on_terminal(command: list[str]) -> tuple[int, "Reader"]:
    """Starts `command` on a pseudo-terminal. Returns its process id, and what reads the terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm-256color", COLORTERM="truecolor")
        os.environ.pop("NO_COLOR", None)
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    reader = Reader(terminal)
    reader.start()
    return process, reader


class Reader(threading.Thread):
    """Counts what is written to a terminal."""

    def __init__(self, terminal: int) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._terminal = terminal

    def run(self) -> None:
        try:
            while data := os.read(self._terminal, 65_536):
                self.count += len(data)
        except OSError:
            return  # the terminal is gone


def measure(process: int, warm_up_s: float, seconds: float) -> dict[str, float]:
    """Share of one core, and memory, from the end of the warm-up on."""
    time.sleep(warm_up_s)
    before_s, started, sizes = used_s(process), time.monotonic(), [resident_bytes(process)]
    while time.monotonic() - started < seconds:
        time.sleep(1.0)
        sizes.append(resident_bytes(process))
    share = (used_s(process) - before_s) / (time.monotonic() - started)
    third = max(1, len(sizes) // 3)
    first, last = sum(sizes[:third]) / third, sum(sizes[-third:]) / third
    return {"core_share": share, "memory_mb": last / 1e6, "growth_mb": (last - first) / 1e6}


def of_view(view: str, url: str, arguments: argparse.Namespace) -> dict[str, float]:
    process, reader = on_terminal([sys.executable, "-m", "airy", "console", "--url", url, "--open", view])
    try:
        measured = measure(process, arguments.warm_up_s, arguments.seconds)
        measured["written_kb_per_s"] = reader.count / (arguments.warm_up_s + arguments.seconds) / 1e3
    finally:
        os.kill(process, 15)
        os.waitpid(process, 0)
    return measured


def of_baseline(url: str, arguments: argparse.Namespace) -> dict[str, float]:
    process = subprocess.Popen([sys.executable, __file__, "--decode", url])
    try:
        return measure(process.pid, min(2.0, arguments.warm_up_s), min(15.0, arguments.seconds))
    finally:
        process.kill()
        process.wait()


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    url = f"http://127.0.0.1:{arguments.port}"
    command = [sys.executable, __file__, "--serve", "--port", str(arguments.port), "--rate", str(arguments.rate)]
    server = subprocess.Popen([*command, "--seed", str(arguments.seed)], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        baseline = of_baseline(url, arguments)
        views = {view: of_view(view, url, arguments) for view in arguments.view or VIEWS}
    finally:
        server.kill()
        server.wait()
    for measured in views.values():
        measured["ratio"] = measured["core_share"] / baseline["core_share"]
    return {"rate": arguments.rate, "seconds": arguments.seconds, "baseline": baseline, "views": views}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=1_000, help="events per second")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured for each view")
    parser.add_argument("--warm-up-s", type=float, default=15.0)
    parser.add_argument("--view", action="append", choices=VIEWS)
    parser.add_argument("--port", type=int, default=18_733)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--decode", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.port, arguments.rate, arguments.seed))
    elif arguments.decode:
        asyncio.run(decode(arguments.decode))
    else:
        report(run(arguments), as_json=arguments.json)


def report(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"bench": "console", "python": platform.python_version(), **result}))
        return
    print(f"{result['rate']:,} events/s for {result['seconds']:.0f} s per view, Python {platform.python_version()}")
    print(f"  {'':14} {'of a core':>10} {'x decode':>9} {'memory':>9} {'growth':>9} {'written':>11}")
    base = result["baseline"]
    print(f"  {'decode only':14} {base['core_share']:>10.1%} {1:>9.1f} {base['memory_mb']:>6.1f} MB")
    for name, each in result["views"].items():
        print(
            f"  {name:14} {each['core_share']:>10.1%} {each['ratio']:>9.1f} {each['memory_mb']:>6.1f} MB"
            f" {each['growth_mb']:>+6.1f} MB {each['written_kb_per_s']:>6.1f} kB/s"
        )


if __name__ == "__main__":
    main()

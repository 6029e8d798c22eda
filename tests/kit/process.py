"""Airy as a child process, with a simulated Messenger and a webhook endpoint."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import anyio
import msgspec
from aiohttp import web

from airy.sim.graph import DEMO_PAGE, GraphOptions, GraphProvider
from airy.sim.provider import Behaviour, SimServer
from tests.kit.servers.ports import Port

TOKEN = "a-token-for-tests-0123456789"
READY_S = 240.0  # generous: processes start in parallel on a busy machine
STOP_S = 120.0  # guard against a hang; the process has its own bound
CALL_S = 60.0  # for one request
RETRY_S = 120.0  # how long 502, 503 and lost answers are retried
KEEP_ALIVE_S = 1.0  # below the 5 s after which a server closes an idle connection, even one with a request in flight
RETRYABLE_STATUSES = frozenset({502, 503})
LOG_CHARS = 4_000
CONFIG = """\
http: {{port: {port}}}
security:
  systemToken: {token}
  webhooks: {{allowPrivateAddresses: true, allowHttp: true, ports: []}}
bus: {{kafka: {{replication: 1, minInSync: 1}}}}
components:
  sources:
    facebook:
      appId: "990011"
      appSecret: app-secret
      webhookSecret: verify-me
      graphUrl: {graph}
"""


class AiryProcess:
    """`airy up` with its own data directory. Can be killed and started again."""

    def __init__(self, directory: Path, graph_url: str, port: int = 0, *, more: str = "") -> None:
        """`more`: further sections of the configuration."""
        self.directory = directory
        self._port = Port(port)
        self.url = f"http://{self._port}"
        self.log = directory / "airy.log"
        self._config = directory / "airy.yaml"
        self._config.write_text(CONFIG.format(port=self._port.number, token=TOKEN, graph=graph_url) + more)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def start(self, *options: str) -> None:
        data = str(self.directory / "data")
        command = self.command("up", "--no-console", "--data", data, *options)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, env=_environment())

    def command(self, verb: str, *words: str) -> list[str]:
        return [sys.executable, "-m", "airy", *verb.split(), "--config", str(self._config), *words]

    def run(self, verb: str, *words: str) -> str:
        """Run a command of the CLI to its end; its output. It must succeed."""
        done = subprocess.run(
            self.command(verb, *words),
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=_environment(),
            timeout=READY_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    async def ready(self, session: aiohttp.ClientSession) -> float:
        """Wait until it is ready; the seconds that took."""
        began = time.perf_counter()
        while time.perf_counter() - began < READY_S:
            assert self._child is not None
            if self._child.poll() is not None:
                break
            try:
                async with session.get(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        return time.perf_counter() - began
            except (aiohttp.ClientError, TimeoutError):
                pass
            await anyio.sleep(0.02)  # real time: waits for another process
        raise AssertionError(f"not ready: {self.tail()}")

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        assert self._child is not None
        self._child.send_signal(signal.SIGKILL)
        self._child.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)
        return self._child.wait(timeout=STOP_S)

    def close(self) -> None:
        """Kill it if a failed test left it running, and print the end of its log."""
        if self._child is not None and self._child.poll() is None:
            self.kill()
            print(f"the end of {self.log}:\n{self.tail()}")  # noqa: T201 - shown with what failed
        self._port.close()

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_CHARS:] if self.log.exists() else "(no log)"

    async def call(self, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any:
        """`POST path`; the answer as JSON. Raises `aiohttp.ClientError` for anything but 2xx."""
        sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **headers}
        async with session.post(f"{self.url}{path}", data=msgspec.json.encode(body), headers=sent) as answer:
            answer.raise_for_status()
            text = await answer.read()
            return msgspec.json.decode(text) if text else None


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("AIRY_")}


class Subscriber:
    """A webhook endpoint that records deliveries; `refusing` makes it answer 503."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes, dict[str, str]]] = []
        self.arrived: dict[str, float] = {}  # message id → time of the first delivery
        self.refusing = False
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Subscriber"]:
        app = web.Application()
        app.router.add_post("/hook", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
            yield self
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.refusing:
            return web.Response(status=503)
        headers = {name.lower(): text for name, text in request.headers.items()}
        self.received.append((headers["webhook-id"], body, headers))
        message = msgspec.json.decode(body)["payload"].get("message")
        if message:
            self.arrived.setdefault(message["id"], time.perf_counter())
        return web.Response(status=204)


@asynccontextmanager
async def messenger(
    behaviour: Behaviour | None = None, *, customers: int = 0
) -> AsyncIterator[tuple[SimServer[GraphProvider], str]]:
    sim = SimServer(GraphProvider, GraphOptions(behaviour=behaviour or Behaviour(), customers=customers))
    async with sim.serving() as url:
        yield sim, url


async def list_when_caught_up(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> list[Any]:
    """The listed items; repeated while the answer is 503, because the replica has not reached the position yet."""
    while True:  # the test's time-out is the bound
        async with session.post(url, headers=headers) as answer:
            if answer.status != 503:
                return list((await answer.json())["data"])
        await anyio.sleep(0.1)


async def position_of(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> str:
    """The position of a creating write; repeated with one idempotency key while the answer is 503."""
    sent = {**headers, "idempotency-key": secrets.token_hex(8)}
    while True:  # the test's time-out is the bound
        async with session.post(url, data=body, headers=sent) as answer:
            if answer.status != 503:
                assert answer.status == 201
                return answer.headers["x-airy-position"]
        await anyio.sleep(0.1)


class AiryApi(Protocol):
    """One process, or a cluster."""

    async def call(self, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any: ...


def http_session(total_s: float = CALL_S) -> aiohttp.ClientSession:
    """A session with long time-outs that does not reuse connections the server may be about to close."""
    connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_S)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=total_s))


async def call_retrying(airy: AiryApi, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any:
    """The final answer; 502, 503 and lost answers are retried with one idempotency key, for `RETRY_S`."""
    headers = {"idempotency-key": secrets.token_hex(8), **headers}
    until = time.perf_counter() + RETRY_S
    while True:
        try:
            return await airy.call(session, path, body, **headers)
        except aiohttp.ClientResponseError as error:
            if error.status not in RETRYABLE_STATUSES or time.perf_counter() > until:
                raise
        except (aiohttp.ClientError, TimeoutError):
            if time.perf_counter() > until:
                raise
        await anyio.sleep(0.1)  # real time: waits for another process


async def connect(airy: AiryApi, session: aiohttp.ClientSession) -> str:
    """Connect the simulated page; the channel's id."""
    body = {"page_id": DEMO_PAGE.id, "page_token": DEMO_PAGE.token}
    channel = await call_retrying(airy, session, "/channels.facebook.connect", body)
    return str(channel["id"])

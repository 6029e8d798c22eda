"""Processes, servers and proxy of a clustered installation; each can be killed, paused, stopped and restarted."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec

from airy.process import TEMPORARY_FAILURE
from tests.kit.cluster.reverse_proxy import ReverseProxy
from tests.kit.process import READY_S, TOKEN
from tests.kit.servers.child import suspend, tied
from tests.kit.servers.ports import Port

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api": ("api-communication", "api-admin", "api-contacts", "api-websocket", "media-resolver"),
    "sources-facebook": ("sources-facebook",),
    "webhook-publisher": ("webhook-publisher",),
    "webhook-consumer": ("webhook-consumer",),
}
"""Components by name of the process."""

STOP_S = 120.0  # bounds a hang: after 45 s a process exits by its guard
ANSWER_S = 8.0  # time-out of an endpoint; leases of a killed dispatcher expire half a minute after it
LOG_CHARS = 4_000


class Replica:
    """A process of `airy run COMPONENT…`."""

    def __init__(self, name: str, components: Sequence[str], directory: Path) -> None:
        self.name = name
        self._components = components
        self._directory = directory
        self._port = Port()
        self.url = f"http://{self._port}"
        self.log = directory / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def _process(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*tied(), *self.command],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                env=self.environment,
                start_new_session=True,  # Ctrl-C must not reach it: with our SIGTERM it would be a second signal
            )

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "airy", "run", *self._components]

    @property
    def environment(self) -> dict[str, str]:
        return {**_environment(), "AIRY_PORT": str(self._port.number)}

    def kill(self) -> None:
        """SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        suspend(self.pid)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def stopped(self) -> int:
        """Waits for the exit code; kills the process and raises if that takes too long."""
        try:
            return self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {STOP_S:g} s: {self.tail()}") from None

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.ask_to_stop()
        return self.stopped()

    def ended(self) -> int:
        """The exit code of a process that ends by itself."""
        try:
            return self._process.wait(timeout=READY_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} runs, and should have given up: {self.tail()}") from None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-LOG_CHARS:] if self.log.exists() else "(no log)"

    def close(self) -> None:
        if self.running:
            self.kill()
        self._port.close()


class Cluster:
    """`replicas` of every component. `start` starts all; `processes` has them by name."""

    def __init__(
        self,
        directory: Path,
        *,
        kafka: Sequence[str],
        redis: str,
        graph_url: str,
        replicas: int = 2,
        replication: int = 1,
        settings: Mapping[str, Any] | None = None,
        port: int = 0,
        components: Mapping[str, Sequence[str]] = COMPONENTS,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kafka = tuple(kafka)
        self.session_s = 6.0
        self.heartbeat_interval_s = 1.0
        self.shows_logs = True  # print the ends of logs after a failure, but not after Ctrl-C
        self.namespace = f"test-{secrets.token_hex(4)}"
        self.config = {
            "security": {
                "systemToken": TOKEN,
                "webhooks": {"allowPrivateAddresses": True, "allowHttp": True, "ports": []},
            },
            "data": {"directory": str(directory / "data")},
            "bus": {
                "kind": "kafka",
                "kafka": {
                    "bootstrap": list(kafka),
                    "namespace": self.namespace,
                    "replication": replication,
                    "minInSync": 1 if replication == 1 else 2,
                    "sessionS": self.session_s,
                    "rebalanceS": 15.0,
                    **(settings or {}),
                },
            },
            "status": {"heartbeatIntervalS": self.heartbeat_interval_s},
            "queue": {"kind": "redis", "redis": {"url": redis, "namespace": self.namespace}},
            "components": {
                "sources": {
                    "facebook": {
                        "appId": "990011",
                        "appSecret": "app-secret",
                        "webhookSecret": "verify-me",
                        "graphUrl": graph_url,
                    }
                },
                "webhook": {"consumer": {"timeoutS": ANSWER_S}},
            },
        }
        self.file = directory / "airy.yaml"
        self.file.write_text(msgspec.json.encode(self.config).decode())  # JSON is YAML
        self.processes = {
            f"{name}-{number}": Replica(f"{name}-{number}", run, directory)
            for name, run in components.items()
            for number in range(1, replicas + 1)
        }
        self.proxy = ReverseProxy(
            {
                "/": lambda: self.urls("api"),
                "/facebook": lambda: self.urls("sources-facebook"),
                "/channels.facebook": lambda: self.urls("sources-facebook"),
            },
            port,
        )

    @property
    def url(self) -> str:
        return self.proxy.url

    def urls(self, component: str) -> list[str]:
        return [replica.url for replica in self.of(component)]

    def of(self, component: str) -> list[Replica]:
        return [replica for name, replica in self.processes.items() if name.rpartition("-")[0] == component]

    @asynccontextmanager
    async def up(self) -> AsyncIterator["Cluster"]:
        """Creates the topics, starts everything, opens the proxy; stops and removes all afterwards."""
        await self.airy("topics", "apply", "--yes", patience_s=READY_S)
        try:
            for replica in self.processes.values():
                replica.start()
            async with aiohttp.ClientSession() as session, self.proxy.serving():
                await self.ready(session, starting=True)
                yield self
        except BaseException:
            for replica in self.processes.values() if self.shows_logs else ():
                print(f"--- {replica.name}, {'running' if replica.running else 'not running'}: {replica.tail()}")  # noqa: T201 - shown with what failed
            raise
        finally:
            for replica in self.processes.values():
                replica.close()

    async def airy(self, *words: str, patience_s: float = 0.0) -> str:
        """Runs an `airy` command until it succeeds, for at most `patience_s`. Returns its output."""
        command = [sys.executable, "-m", "airy", *words]
        until = time.perf_counter() + patience_s
        while True:
            done = await anyio.run_process(command, cwd=self.directory, check=False, env=_environment())
            if done.returncode != TEMPORARY_FAILURE or time.perf_counter() > until:
                break
        wrote = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, f"airy {' '.join(words)}: {wrote}"
        return wrote

    async def ready(
        self, session: aiohttp.ClientSession, replicas: Iterable[Replica] | None = None, *, starting: bool = False
    ) -> float:
        """Wait until all are ready; returns the seconds it took. A process that exits meanwhile is restarted only while
        `starting`, and only if it exited as temporarily unavailable: the servers may start slower than it waits.
        """
        began = time.perf_counter()
        for replica in replicas or self.processes.values():
            while not await _is_ready(session, replica):
                if not replica.running:
                    assert starting and replica.ended() == TEMPORARY_FAILURE, f"{replica.name} ended: {replica.tail()}"
                    replica.start()
                if time.perf_counter() > began + READY_S:
                    raise AssertionError(f"{replica.name} is not ready: {replica.tail()}")
                await anyio.sleep(0.05)  # real time: waits for another process
        return time.perf_counter() - began

    async def call(self, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any:
        """`POST path` through the proxy; returns the JSON. Raises `aiohttp.ClientError` unless 2xx."""
        return await call(session, f"{self.url}{path}", body, **headers)

    async def twin(self, replica: Replica) -> tuple[int, str]:
        """Starts the same process a second time. Returns its exit code and output."""
        with anyio.fail_after(READY_S):
            done = await anyio.run_process(
                replica.command, cwd=self.directory, check=False, stderr=subprocess.STDOUT, env=replica.environment
            )
        return done.returncode, done.stdout.decode()

    def store_of(self, replica: Replica) -> Path:
        """The store file it has locked."""
        locks = (self.directory / "data").glob("store*.lock")
        return next(lock for lock in locks if lock.read_text().strip() == str(replica.pid)).with_suffix(".db")

    def stop(self) -> dict[str, int]:
        """Stops all at once. Returns the exit codes."""
        running = {name: replica for name, replica in self.processes.items() if replica.running}
        for replica in running.values():
            replica.ask_to_stop()
        return {name: replica.stopped() for name, replica in running.items()}


class At:
    """The API of one replica, without the proxy."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def call(self, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any:
        return await call(session, f"{self.url}{path}", body, **headers)


async def call(session: aiohttp.ClientSession, url: str, body: object, **headers: str) -> Any:
    sent = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json", **headers}
    async with session.post(url, data=msgspec.json.encode(body), headers=sent) as answer:
        text = await answer.read()
        if not answer.ok:
            raise aiohttp.ClientResponseError(
                answer.request_info, answer.history, status=answer.status, message=text.decode()[:LOG_CHARS]
            )
        return msgspec.json.decode(text) if text else None


def _environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith("AIRY_")}


async def _is_ready(session: aiohttp.ClientSession, replica: Replica) -> bool:
    try:
        async with session.get(f"{replica.url}/readyz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False

"""Processes, servers and front of a clustered installation, each to be killed, paused, stopped and started again."""

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

from airy.process import LATER
from tests.kit.cluster.front import Front
from tests.kit.process import READY_S, TOKEN
from tests.kit.servers.child import suspend, tied
from tests.kit.servers.ports import Port

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api": ("api-communication", "api-admin"),
    "sources-facebook": ("sources-facebook",),
    "webhook-publisher": ("webhook-publisher",),
    "webhook-consumer": ("webhook-consumer",),
}
"""What runs in one process, by its name."""

STOP_S = 120.0  # against hanging: a process that has not ended after 45 s ends itself, badly
ANSWER_S = 8.0  # of an endpoint; what a killed dispatcher had in hand is free half a minute after that
LOG_CHARS = 4_000


class Replica:
    """One `airy run COMPONENT…`."""

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
                start_new_session=True,  # a Ctrl-C is for us alone: whoever hears it and our SIGTERM leaves at once
            )

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "airy", "run", *self._components]

    @property
    def environment(self) -> dict[str, str]:
        return {**_environment(), "AIRY_PORT": str(self._port.number)}

    def kill(self) -> None:
        """As a power cut: no goodbye."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        suspend(self.pid)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def stopped(self) -> int:
        """The exit code, once it has ended; kills and complains when that takes too long."""
        try:
            return self._process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {STOP_S:g} s: {self.tail()}") from None

    def stop(self) -> int:
        """As an operator would."""
        self.ask_to_stop()
        return self.stopped()

    def ended(self) -> int:
        """The exit code of one that ends by itself."""
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
    """`replicas` of every component. `start` starts them all; one at a time they are in `processes`."""

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
        self.beat_s = 1.0
        self.shows_logs = True  # their ends, when what they are for fails; a Ctrl-C is no failure
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
            "status": {"beatS": self.beat_s},
            "queue": {"kind": "redis", "redis": {"url": redis, "namespace": self.namespace}},
            "components": {
                "sources-facebook": {
                    "enabled": True,
                    "appId": "990011",
                    "appSecret": "app-secret",
                    "webhookSecret": "verify-me",
                    "graphUrl": graph_url,
                },
                "webhook-consumer": {"timeoutS": ANSWER_S},
            },
        }
        self.file = directory / "airy.yaml"
        self.file.write_text(msgspec.json.encode(self.config).decode())  # JSON is YAML
        self.processes = {
            f"{name}-{number}": Replica(f"{name}-{number}", run, directory)
            for name, run in components.items()
            for number in range(1, replicas + 1)
        }
        self.front = Front(
            {
                "/": lambda: self.urls("api"),
                "/facebook": lambda: self.urls("sources-facebook"),
                "/channels.facebook": lambda: self.urls("sources-facebook"),
            },
            port,
        )

    @property
    def url(self) -> str:
        return self.front.url

    def urls(self, component: str) -> list[str]:
        return [replica.url for replica in self.of(component)]

    def of(self, component: str) -> list[Replica]:
        return [replica for name, replica in self.processes.items() if name.rpartition("-")[0] == component]

    @asynccontextmanager
    async def up(self) -> AsyncIterator["Cluster"]:
        """Topics made, everything started and ready, the front open; nothing of it left afterwards."""
        await self.airy("topics", "apply", "--yes", patience_s=READY_S)
        try:
            for replica in self.processes.values():
                replica.start()
            async with aiohttp.ClientSession() as session, self.front.serving():
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
        """A command of ours against this cluster; what it wrote. It has to succeed, within `patience_s` at last."""
        command = [sys.executable, "-m", "airy", *words]
        until = time.perf_counter() + patience_s
        while True:
            done = await anyio.run_process(command, cwd=self.directory, check=False, env=_environment())
            if done.returncode != LATER or time.perf_counter() > until:
                break
        wrote = (done.stdout + done.stderr).decode()
        assert done.returncode == 0, f"airy {' '.join(words)}: {wrote}"
        return wrote

    async def ready(
        self, session: aiohttp.ClientSession, replicas: Iterable[Replica] | None = None, *, starting: bool = False
    ) -> float:
        """Wait until they say they are; how long that took, in seconds. Who ends meanwhile is started again only while
        `starting`, and if that is what it ended for: the servers may be slower than it waits.
        """
        began = time.perf_counter()
        for replica in replicas or self.processes.values():
            while not await _is_ready(session, replica):
                if not replica.running:
                    assert starting and replica.ended() == LATER, f"{replica.name} ended: {replica.tail()}"
                    replica.start()
                if time.perf_counter() > began + READY_S:
                    raise AssertionError(f"{replica.name} is not ready: {replica.tail()}")
                await anyio.sleep(0.05)  # the machine's clock: another process is waited for
        return time.perf_counter() - began

    async def call(self, session: aiohttp.ClientSession, path: str, body: object, **headers: str) -> Any:
        """`POST path` at the front; the answer as JSON. Raises `aiohttp.ClientError` for anything but 2xx."""
        return await call(session, f"{self.url}{path}", body, **headers)

    async def twin(self, replica: Replica) -> tuple[int, str]:
        """The same process a second time, beside the first; its exit code and what it wrote."""
        with anyio.fail_after(READY_S):
            done = await anyio.run_process(
                replica.command, cwd=self.directory, check=False, stderr=subprocess.STDOUT, env=replica.environment
            )
        return done.returncode, done.stdout.decode()

    def store_of(self, replica: Replica) -> Path:
        """The file of its store: it is the one that holds the lock beside it."""
        locks = (self.directory / "data").glob("store*.lock")
        return next(lock for lock in locks if lock.read_text().strip() == str(replica.pid)).with_suffix(".db")

    def stop(self) -> dict[str, int]:
        """All at once, as an operator would; the exit codes."""
        running = {name: replica for name, replica in self.processes.items() if replica.running}
        for replica in running.values():
            replica.ask_to_stop()
        return {name: replica.stopped() for name, replica in running.items()}


class At:
    """One address of an API: a replica, without the front."""

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

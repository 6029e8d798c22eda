"""Faults planted for `airy doctor`, and what it has to say about each."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from airy.app.doctor.catalogue import CHECKS
from airy.app.doctor.check import Finding
from airy.app.doctor.examination import Examined, examine
from airy.app.doctor.gather import Question, gather
from airy.app.doctor.gather_machine import read_config
from airy.clock import SystemClock
from airy.http_client import ConnectFailed, HttpClient, Response
from tests.kit.servers.ports import Port


@dataclass(frozen=True)
class Planted:
    """A fault, the check that has to find it, and words of its cause and of the next step."""

    fault: str
    check: str
    cause: str
    step: str
    plant: Callable[["Patient"], None]
    state: str = "problem"

    def __str__(self) -> str:
        return self.fault


class Patient:
    """An installation in a directory of its own, which listens on a port that is free."""

    def __init__(self, directory: Path, port: int, exits: ExitStack) -> None:
        self.exits = exits
        self.directory = directory
        self.data = directory / "data"
        self.port = port
        self.file = directory / "airy.yaml"
        self.settings = ""
        self.public_url = ""
        self.env: dict[str, str] = {"TERM": "xterm"}
        self.url: str | None = None
        self.token: str | None = None
        self.http: HttpClient = nothing_answers

    async def examined(self) -> list[Examined]:
        public = f", publicUrl: '{self.public_url}'" if self.public_url else ""
        if not self.file.exists():
            self.file.touch(0o600)
        self.file.write_text(
            f"http: {{port: {self.port}{public}}}\ndata: {{directory: {self.data}}}\n{self.settings}\n"
        )
        question = Question(config=read_config(self.file, self.env), url=self.url, token=self.token, env=self.env)
        return examine(CHECKS, await gather(question, self.http, SystemClock()))


def free_port() -> int:
    with Port() as port:
        return port.number


async def nothing_answers(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] = {},
    body: bytes | None = None,
    connect_s: float = 5.0,
    total_s: float = 15.0,
    body_bytes_max: int = 1_048_576,
) -> Response:
    raise ConnectFailed("the connection failed: Connection refused")


def wrong(results: list[Examined]) -> dict[str, Finding]:
    """The first warning or problem of each check that has one."""
    return {
        result.check.name: finding
        for result in results
        for finding in reversed(result.findings)
        if finding.state in ("warning", "problem")
    }


def assert_found(planted: Planted, results: list[Examined]) -> None:
    """The cause and the next step are named, and nothing else is reported: no consequence, no false alarm."""
    found = wrong(results)
    assert set(found) == {planted.check}
    finding = found[planted.check]
    assert finding.state == planted.state
    assert planted.cause in finding.text
    assert planted.step in finding.step
    assert "\n" not in finding.text + finding.step

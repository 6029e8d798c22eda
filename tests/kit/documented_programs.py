"""Runs the commands and programs of a page of docs/ against a process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from tests.kit.process import READY_S
from tests.kit.servers.ports import Port

DOCS = Path(__file__).parents[2] / "docs"
ADDRESS = "127.0.0.1:8080"  # on the pages
RUN_S = 120
SHELL = ["bash", "-euo", "pipefail", "-c"]
PYTHON = [sys.executable, "-W", "error", "-c"]

Demonstration = tuple[Path, str]
"""Its directory and its address."""


def blocks(page: str, language: str) -> str:
    """All code of one language, in order: later blocks use the names of earlier ones."""
    text = (DOCS / page).read_text()
    return "\n\n".join(re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


def run(
    command: list[str], demonstration: Demonstration, code: str, environment: Mapping[str, str] | None = None
) -> str:
    directory, address = demonstration
    assert ADDRESS in code
    given = [*command, code.replace(ADDRESS, address)]
    done = subprocess.run(
        given, cwd=directory, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done.stdout


def languages(page: str) -> set[str]:
    return set(re.findall(r"^```(\w*)$", (DOCS / page).read_text(), re.MULTILINE))


@contextmanager
def installation(directory: Path, config: str, *options: str) -> Iterator[Demonstration]:
    """An instance with the configuration of a page."""
    with closing(Port()) as port, (directory / "airy.log").open("wb") as log:
        (directory / "airy.yaml").write_text(config.replace(ADDRESS, str(port)))
        command = [sys.executable, "-m", "airy", "up", "--no-console", *options]
        environment = {name: text for name, text in os.environ.items() if not name.startswith("AIRY_")}
        environment |= {"AIRY_PORT": str(port.number)}
        running = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_ready(directory, str(port), running)
            yield directory, str(port)
        finally:
            running.terminate()
            assert running.wait(timeout=60) == 0, (directory / "airy.log").read_text()[-4_000:]


def _wait_until_ready(directory: Path, address: str, running: "subprocess.Popen[bytes]") -> None:
    asking = f"import urllib.request; urllib.request.urlopen('http://{address}/readyz').close()"
    until = time.perf_counter() + READY_S
    while running.poll() is None and time.perf_counter() < until:
        if subprocess.run([sys.executable, "-c", asking], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)  # real time: waits for another process
    raise AssertionError((directory / "airy.log").read_text()[-4_000:])

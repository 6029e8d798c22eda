"""Every command and every program of docs/api.md works against a real process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.process import READY_S
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
ADDRESS = "127.0.0.1:8080"  # on the page
RUN_S = 120


def blocks(language: str) -> str:
    """All code of one language, in order: later blocks use the names of earlier ones."""
    return "\n\n".join(re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The directory and the address of `airy up --demo`, once a contact has written."""
    directory = tmp_path_factory.mktemp("demonstration")
    with closing(Port()) as port, (directory / "airy.log").open("wb") as log:
        command = [sys.executable, "-m", "airy", "up", "--demo", "--no-console"]
        environment = {name: text for name, text in os.environ.items() if not name.startswith("AIRY_")}
        environment |= {"AIRY_PORT": str(port.number)}
        running = subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=log)
        try:
            _wait_for_a_conversation(directory, str(port), running)
            yield directory, str(port)
        finally:
            running.terminate()
            assert running.wait(timeout=60) == 0, (directory / "airy.log").read_text()[-4_000:]


def _wait_for_a_conversation(directory: Path, address: str, running: "subprocess.Popen[bytes]") -> None:
    until = time.perf_counter() + READY_S
    asking = blocks("python").partition("conversation = ")[0].replace(ADDRESS, address)
    asking += "\nassert call('conversations.list')['data']"
    while running.poll() is None and time.perf_counter() < until:
        done = subprocess.run([sys.executable, "-c", asking], cwd=directory, capture_output=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.1)  # real time: waits for another process
    raise AssertionError((directory / "airy.log").read_text()[-4_000:])


def run(command: list[str], demonstration: tuple[Path, str], code: str) -> str:
    directory, address = demonstration
    assert ADDRESS in code
    given = code.replace(ADDRESS, address)
    done = subprocess.run([*command, given], cwd=directory, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-4_000:]
    return done.stdout


def test_the_commands_of_the_page_work(demonstration: tuple[Path, str]) -> None:
    shown = run(["bash", "-euo", "pipefail", "-c"], demonstration, blocks("sh"))
    assert '"delivery_state":"pending"' in shown
    assert "event: ready" in shown
    assert '"code"' not in shown, "no answer is a problem"


def test_the_programs_of_the_page_work(demonstration: tuple[Path, str]) -> None:
    run([sys.executable, "-W", "error", "-c"], demonstration, blocks("python"))


def test_every_block_of_the_page_is_run() -> None:
    """`console` shows the command that starts the demonstration, which the fixture runs."""
    assert set(re.findall(r"^```(\w*)$", PAGE.read_text(), re.MULTILINE)) == {"", "console", "python", "sh"}

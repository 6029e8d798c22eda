"""The walk-through of docs/sources/custom.md works against a real process, with the configuration of the page."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit.documented_programs import PYTHON, SHELL, Demonstration, blocks, languages, run
from tests.kit.process import READY_S
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]

PAGE = "sources/custom.md"
ACTIONS_PORT = "8900"  # on the page
AFTERWARDS = """
import time
until = time.monotonic() + 60
while not SENT and time.monotonic() < until:
    time.sleep(0.05)
assert list(SENT.values()) == ["out-1"], "the answer that waited for the program"
refused = Request("http://127.0.0.1:8900/act", b"{}", {"X-Airy-Content-Signature": "00"})
try:
    urlopen(refused)
    raise AssertionError("a call that is not signed was taken")
except OSError as error:
    assert error.code == 403
    error.close()
admin = open(".airy/system-token").read().strip()
headers = {"Authorization": f"Bearer {admin}", "Content-Type": "application/json"}
def asked(path, body):
    with urlopen(Request(f"{AIRY}/{path}", json.dumps(body).encode(), headers)) as response:
        return json.load(response)["data"]
(conversation,) = asked("conversations.list", {})
assert conversation["metadata"]["contact"]["display_name"] == "Mary J.", conversation
states = {}
while "pending" in states.values() or len(states) < 3:
    messages = asked("messages.list", {"conversation_id": conversation["id"]})
    states = {each["content"]["text"]: each["delivery_state"] for each in messages}
assert states == dict.fromkeys(("Thank you!", "On its way.", "Where is my order?"), "delivered"), states
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[tuple[Demonstration, str]]:
    """An instance with the page's configuration, and the port of the source's program."""
    with closing(Port()) as port, closing(Port()) as actions, (tmp_path / "airy.log").open("wb") as log:
        (tmp_path / "airy.yaml").write_text(blocks(PAGE, "yaml").replace(ACTIONS_PORT, str(actions.number)))
        command = [sys.executable, "-m", "airy", "up", "--no-console"]
        environment = {name: text for name, text in os.environ.items() if not name.startswith("AIRY_")}
        environment |= {"AIRY_PORT": str(port.number)}
        running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_ready(tmp_path, str(port), running)
            yield (tmp_path, str(port)), str(actions.number)
        finally:
            running.terminate()
            assert running.wait(timeout=60) == 0, (tmp_path / "airy.log").read_text()[-4_000:]


def _wait_until_ready(directory: Path, address: str, running: "subprocess.Popen[bytes]") -> None:
    asking = f"import urllib.request; urllib.request.urlopen('http://{address}/readyz').close()"
    until = time.perf_counter() + READY_S
    while running.poll() is None and time.perf_counter() < until:
        if subprocess.run([sys.executable, "-c", asking], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)  # real time: waits for another process
    raise AssertionError((directory / "airy.log").read_text()[-4_000:])


def test_the_walk_through_of_the_page_works(installation: tuple[Demonstration, str]) -> None:
    place, port = installation
    shown = run(SHELL, place, blocks(PAGE, "sh").replace(ACTIONS_PORT, port))
    assert '"tier":"gold"' in shown
    assert '"delivery_state":"pending"' in shown
    assert '"code"' not in shown, "no answer is a problem"
    said = run(PYTHON, place, (blocks(PAGE, "python") + AFTERWARDS).replace(ACTIONS_PORT, port))
    assert said == "to customer-88 {'text': 'On its way.'}\n"


def test_every_block_of_the_page_is_run() -> None:
    """`json` shows the body of a call, which the program receives."""
    assert languages(PAGE) == {"", "json", "python", "sh", "yaml"}

"""Every command and every program of docs/api.md and docs/events.md works against a real process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.kit import javascript
from tests.kit.documented_programs import ADDRESS, PYTHON, SHELL, Demonstration, blocks, languages, run
from tests.kit.process import READY_S
from tests.kit.servers.fixtures import needed
from tests.kit.servers.missing import program
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]


FOLLOW = """
received, failed = [], []

async def handle(event):
    received.append(event["id"])
    if len(received) == 3 and not failed:
        failed.append(event["id"])
        raise ConnectionResetError("the connection is lost while an event is handled")
    if len(received) == 6:
        raise asyncio.CancelledError

async def read_everything(position):
    raise AssertionError("nothing was missed")

try:
    asyncio.run(asyncio.wait_for(follow(handle, read_everything), 60))
except asyncio.CancelledError:
    pass
assert received[3] == received[2] == failed[0], "it continues with the event that was not handled"
assert len(set(received)) == len(received) - 1, "and no other one is repeated"
"""
BEFORE_STOMP = """
const { Client } = require("@stomp/stompjs");
global.WebSocket = require("ws");
const token = require("fs").readFileSync(".airy/demo/system-token", "utf8").trim();
function handle(event) {
  if (!event.payload || !event.id) throw new Error("no event: " + JSON.stringify(event));
  console.log(event.type);
  process.exit(0);
}
"""
AGENT_THAT_WRITES = f"""
airy() {{
  curl -sS http://{ADDRESS}/"$1" -H "Authorization: Bearer $(cat .airy/demo/system-token)" \\
    -H 'Content-Type: application/json' -d "$2"
}}
CONVERSATION=$(airy conversations.list '{{"page_size": 1}}' | grep -oE '"id":"[^"]+"' | head -1 | cut -d'"' -f4)
while sleep 1; do
  airy messages.send "{{\\"conversation_id\\": \\"$CONVERSATION\\", \\"message\\": {{\\"text\\": \\"Yes.\\"}}}}"
done > /dev/null &
trap "kill $!" EXIT
"""


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demonstration]:
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
    asking = blocks("api.md", "python").partition("conversation = ")[0].replace(ADDRESS, address)
    asking += "\nassert call('conversations.list')['data']"
    while running.poll() is None and time.perf_counter() < until:
        done = subprocess.run([sys.executable, "-c", asking], cwd=directory, capture_output=True, check=False)
        if done.returncode == 0:
            return
        time.sleep(0.1)  # real time: waits for another process
    raise AssertionError((directory / "airy.log").read_text()[-4_000:])


def test_the_commands_of_the_api_page_work(demonstration: Demonstration) -> None:
    shown = run(SHELL, demonstration, blocks("api.md", "sh"))
    assert '"delivery_state":"pending"' in shown
    assert "event: ready" in shown
    assert '"code"' not in shown, "no answer is a problem"


def test_the_programs_of_the_api_page_work(demonstration: Demonstration) -> None:
    run(PYTHON, demonstration, blocks("api.md", "python"))


def test_the_commands_of_the_page_of_the_command_line_work(demonstration: Demonstration) -> None:
    directory, _ = demonstration
    (directory / "airy").write_text(f'#!/bin/sh\nexec {sys.executable} -m airy "$@"\n')
    (directory / "airy").chmod(0o755)
    environment = os.environ | {"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}"}

    shown = run(SHELL, demonstration, blocks("cli.md", "sh"), environment)

    assert shown.count("Your order is on its way.") == 2
    assert "message.created" in shown


def test_the_command_of_the_events_page_prints_events(demonstration: Demonstration) -> None:
    """The contacts of the demonstration may be silent for ten seconds, so the test writes meanwhile."""
    shown = run(SHELL, demonstration, AGENT_THAT_WRITES + blocks("events.md", "sh"))
    assert "event: ready" in shown
    assert '"type":"message.created"' in shown


def test_the_program_of_the_events_page_continues_where_it_was(demonstration: Demonstration) -> None:
    shown = run(PYTHON, demonstration, blocks("events.md", "python") + FOLLOW)
    assert shown.count("connects again") == 1


def test_the_stomp_client_of_the_events_page_receives_events(demonstration: Demonstration) -> None:
    with needed():
        node, environment = program("node", "nodejs"), javascript.environment()
    shown = run([node, "-e"], demonstration, BEFORE_STOMP + blocks("events.md", "js"), environment)
    assert re.fullmatch(r"[a-z]+\.[a-z]+\n", shown)


def test_every_block_of_the_pages_is_run() -> None:
    """`console` shows the command that starts the demonstration, which the fixture runs."""
    assert languages("api.md") == {"", "console", "python", "sh"}
    assert languages("events.md") == {"", "js", "python", "sh"}

"""The walk-through and all commands of docs/simulators.md work against a real simulator and a real process."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from airy.sim.provider.options import SendFault, WebhookFault
from tests.kit.documented_programs import DOCS, SHELL, blocks, installation, languages, run
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]

PAGE = "simulators.md"
PORT = "8090"  # of the simulator, on the page


def test_the_commands_of_the_page_work(tmp_path: Path) -> None:
    with closing(Port()) as port:
        command = [sys.executable, "-m", "airy", "sim", "telegram", "--port", str(port.number)]
        with subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ), stdout=subprocess.DEVNULL) as simulator:
            try:
                config = blocks(PAGE, "yaml").replace(PORT, str(port.number))
                with installation(tmp_path, config, "--ephemeral") as place:
                    shown = run(SHELL, place, blocks(PAGE, "sh").replace(PORT, str(port.number)))
            finally:
                simulator.terminate()

    assert '"violations":[]' in shown
    assert '"outcome":"refused"' in shown


def test_every_block_of_the_page_is_run() -> None:
    """`console` shows the commands that the test starts."""
    assert languages(PAGE) == {"", "console", "sh", "yaml"}


def test_every_fault_is_on_the_page() -> None:
    text = (DOCS / PAGE).read_text()
    assert [fault for fault in (*SendFault, *WebhookFault) if f"`{fault}`" not in text] == []

"""`make kafka`: a broker that ends with its program."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kit.servers.fixtures import needed
from tests.kit.servers.kafka import prepared

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("sign", "code", "last"), [(signal.SIGTERM, 0, "stopped"), (signal.SIGKILL, -signal.SIGKILL, "stop       Ctrl-C")]
)
def test_the_broker_ends_with_its_program_even_when_that_is_killed(
    tmp_path: Path, sign: signal.Signals, code: int, last: str
) -> None:
    with needed():
        prepared()
    command = [sys.executable, "-m", "tests.kit.servers.kafka", "--folder", str(tmp_path / "kafka")]
    said = tmp_path / "said"
    with said.open("w") as output, subprocess.Popen(command, cwd=ROOT, stdout=output) as program:
        host, port = told(said, program)
        socket.create_connection((host, port)).close()
        assert runs(tmp_path / "kafka")

        program.send_signal(sign)

    assert program.returncode == code
    assert said.read_text().splitlines()[-1] == last
    while runs(tmp_path / "kafka"):  # bounded by the test's time-out
        time.sleep(0.02)


def told(said: Path, program: "subprocess.Popen[bytes]") -> tuple[str, int]:
    """The printed address, after the last line of output."""
    while "Ctrl-C" not in said.read_text():
        assert program.poll() is None
        time.sleep(0.02)
    host, _, port = said.read_text().split()[1].partition(":")
    return host, int(port)


def runs(folder: Path) -> bool:
    """Whether the broker of this folder runs; its port may be reused once it does not."""
    settings = str(folder / "node-1.properties").encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if settings in (process / "cmdline").read_bytes():
                return True
        except OSError:
            continue  # it has ended
    return False

"""The built wheel, installed in a clean environment, runs."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import airy
from tests.kit.servers.ports import Port

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    """Its output; a failure shows it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "AIRY_"))}
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The directory of a clean environment with the wheel and the locked packages."""
    directory = tmp_path
    pip = ("-m", "pip", "--disable-pip-version-check")
    alone = ("--no-build-isolation", "--no-deps", "--no-index")
    run(sys.executable, *pip, "wheel", *alone, "-w", directory, ROOT, cwd=directory)
    run(sys.executable, "-m", "venv", "--without-pip", directory / "env", cwd=directory)
    install = (sys.executable, *pip, "--python", directory / "env/bin/python", "install", "--quiet", "--no-compile")
    lock = ("--retries", "10", "--require-hashes", "--only-binary", ":all:", "-r", ROOT / "requirements.lock")
    run(*install, *lock, cwd=directory)
    (wheel,) = directory.glob("airy-*.whl")
    run(*install, "--no-deps", "--no-index", wheel, cwd=directory)
    return directory


def test_the_installed_program_has_its_reference_configuration_starts_serves_and_stops(installed: Path) -> None:
    """One test, because the installation is slow."""
    assert run(installed / "env/bin/airy", "version", cwd=installed) == f"airy {airy.__version__}\n"
    (shipped,) = installed.glob("env/lib/python3*/site-packages/airy/airy.yaml")
    assert shipped.read_text() == (ROOT / "airy.yaml").read_text()
    command, log = [installed / "env/bin/airy", "up", "--ephemeral", "--no-console"], installed / "log"
    with Port() as port, log.open("wb") as told:
        env = {"PATH": os.environ["PATH"], "AIRY_PORT": str(port.number)}
        with subprocess.Popen(command, cwd=installed, env=env, stderr=told) as child:
            try:
                assert wait_until_ready(f"http://{port}/readyz", child), log.read_text()
                for path in ("/schema", "/schema/explorer/swagger-ui-bundle.js"):
                    assert wait_until_ready(f"http://{port}{path}", child), path
                child.send_signal(signal.SIGTERM)
                assert child.wait(120) == 0, log.read_text()
            finally:
                child.kill()
    assert not (installed / ".airy").exists(), "an ephemeral run leaves nothing"


def wait_until_ready(url: str, child: subprocess.Popen[bytes]) -> bool:
    """Bounded by the test's time-out."""
    while child.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return bool(answer.status == 200)
        except OSError:  # refused, not ready, or timed out
            time.sleep(0.1)  # another process: there is no event to wait for
    return False

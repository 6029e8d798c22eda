"""JavaScript packages that tests drive, pinned by `tests/javascript/package-lock.json`: installed once into the user's
cache with npm, then used offline. The registry is configured per machine.

`python -m tests.kit.javascript` installs them ahead of time.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.kit.servers.kafka_artefacts import cache, locked
from tests.kit.servers.missing import Missing, program

SCRIPTS = Path(__file__).parent.parent / "javascript"
INSTALL_S = 600


def environment() -> Mapping[str, str]:
    """For `node`, so that scripts find the packages. Raises `Missing`."""
    return {**os.environ, "NODE_PATH": str(packages() / "node_modules")}


def command(script: str, *arguments: str) -> list[str]:
    return [program("node", "nodejs"), str(SCRIPTS / script), *arguments]


def packages(within: Path | None = None) -> Path:
    """The folder with the packages, installed if necessary. Raises `Missing`."""
    lock = (SCRIPTS / "package-lock.json").read_bytes()
    root = within or cache()
    folder = root / f"javascript-{hashlib.sha256(lock).hexdigest()[:8]}"
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f"{folder.name}.lock"):  # one process installs, the others wait for it
        if not folder.exists():
            _install(folder)
    return folder


def _install(folder: Path) -> None:
    npm = program("npm", "npm")
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(SCRIPTS / name, building / name)
        arguments = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(arguments, cwd=building, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if done.returncode != 0:
            raise Missing(f"npm could not install the packages of {SCRIPTS}; is the network there?\n{done.stderr}")
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


if __name__ == "__main__":
    try:
        print(packages())  # noqa: T201 -- its only output
    except Missing as missing:
        sys.exit(str(missing))

"""Runs the commands and programs of a page of docs/ against a process."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

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

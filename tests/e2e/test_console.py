"""The console as a person uses it: in a terminal, on the demonstration, with keys alone."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.servers.fixtures import needed
from tests.kit.servers.missing import program
from tests.kit.servers.ports import Port
from tests.kit.tmux import Terminal

AIRY = [sys.executable, "-m", "airy"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(360)]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    with needed():
        program("tmux", "tmux")
    with Port() as port:
        number = port.number
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
    data = str(tmp_path / "data")
    return {**kept, "AIRY_PORT": str(number), "AIRY_DATA": data, "LANG": "C.UTF-8", "TERM": "screen-256color"}


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Iterator[Terminal]:
    """`airy up --demo` in a terminal."""
    command = [*AIRY, "up", "--demo", "--data", environment["AIRY_DATA"]]
    with Terminal(command, tmp_path, environment) as terminal:
        yield terminal


def test_airy_alone_says_how_to_start_an_instance_if_there_is_none(tmp_path: Path, environment: dict[str, str]) -> None:
    with Terminal(AIRY, tmp_path, environment) as terminal:
        terminal.until("no instance answers at")
        terminal.until("airy up --demo")
        terminal.until("exit code 75")


def test_a_conversation_is_found_answered_and_seen_delivered_and_leaving_stops_the_system(
    terminal: Terminal, tmp_path: Path, environment: dict[str, str]
) -> None:
    terminal.until("● live")
    terminal.until("store", "/s")
    terminal.press("2")
    terminal.until("Ines Kuhn")
    terminal.press("/")
    terminal.write("display_name:ines")
    terminal.press("Enter")
    terminal.until("filter: display_name:ines")
    terminal.until("Ines Kuhn facebook OPEN")

    terminal.press("i")
    terminal.write("From the terminal")
    terminal.press("Enter")
    terminal.until("← From the terminal", ("delivered", "read"))

    terminal.press("Escape")
    terminal.until_gone("answer: Enter sends")  # a key directly behind Escape would be one with Alt
    terminal.press("3")
    terminal.until("message.created")
    with Terminal(AIRY, tmp_path, environment) as another:
        another.until("● live", "read-only")
        another.press("q")
        another.until("exit code 0")
    terminal.press("q")
    terminal.until("exit code 0")

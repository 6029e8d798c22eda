"""The console as a person uses it: in a terminal, on the demonstration, with keys alone."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from airy import topics
from airy.app.log_transfer.open_log import open_log
from airy.bus.dead_letter import make_dead_letter
from airy.bus.record import Record
from airy.clock import SystemClock
from airy.config import Config, DataConfig
from airy.webhooks.dead_letter import dead_letter_record
from tests.kit.builders import dead, webhook
from tests.kit.servers.fixtures import needed
from tests.kit.servers.missing import program
from tests.kit.servers.ports import Port
from tests.kit.tmux import Terminal

KIND = "tag.updated"  # the demonstration has none
RAW = topics.source_events("facebook")
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


@pytest.fixture
def endpoint(environment: dict[str, str]) -> int:
    """The port of a webhook's endpoint that is down. The log has a dead delivery to it, and a dead letter."""
    with Port() as port:
        number = port.number

    async def append() -> None:
        now_ms = SystemClock().now_ms()
        hook = replace(webhook(f"http://127.0.0.1:{number}/hook", events=(KIND,)), name="crm", updated_at_ms=now_ms)
        failed = dead(1, hook.id, died_at_ms=now_ms, reason="10 attempts failed; the last: connection refused")
        delivery = replace(failed, kind=KIND)
        letters = topics.dead_letters_of(RAW.name)
        assert letters is not None
        original = Record(RAW.name, 0, 7, b"page-1", b'{"object": "page", ', (), now_ms)
        async with open_log(Config(data=DataConfig(directory=environment["AIRY_DATA"]))) as bus:
            await bus.publish([topics.WEBHOOKS.record(hook.id, hook), dead_letter_record(delivery)])
            await bus.publish([make_dead_letter(letters, original, "not JSON: line 1", 1)])

    anyio.run(append)
    return number


def test_a_failed_webhook_and_a_dead_letter_are_found_and_replayed(
    endpoint: int, terminal: Terminal, tmp_path: Path, environment: dict[str, str]
) -> None:
    terminal.until("● live")
    terminal.press("5")
    terminal.until("crm", "● ok")
    terminal.press("/")
    terminal.write("crm")
    terminal.press("Enter")
    terminal.until("filter: crm")
    terminal.until_gone("demo bot")
    terminal.until(KIND, "connection refused")

    listen = [*AIRY, "listen", "--port", str(endpoint), "--path", "/hook"]
    with Terminal(listen, tmp_path, environment) as receiver:
        receiver.until("listening at")
        terminal.press("p")
        terminal.until("Send the dead delivery of crm again?")
        terminal.press("y")
        receiver.until("event 1", "200")
        terminal.until("no dead deliveries")
        terminal.press("a")
        terminal.until("✓ delivered", KIND)

    terminal.press("6")
    terminal.until("▲ open", "not JSON: line 1")
    terminal.press("p")
    terminal.until("to its topic again?")
    terminal.press("y")
    terminal.until_gone("not JSON: line 1")  # its body is none: what replaces it has the router's reason
    terminal.press("s")
    terminal.until("↻ replayed", "not JSON")
    terminal.press("q")
    terminal.until("exit code 0")


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
